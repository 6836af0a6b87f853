"""The fault `underlay-drop`: encapsulated packets between two nodes are lost, one way or both."""

from __future__ import annotations

import random
from typing import Literal

from chaos import claims
from chaos.filters import parsed
from chaos.model import Arguments, Kind, Parameter, Plan, Rule, RulesGoal, Step, View
from chaos.parameters import PEERS, VICTIM, apart
from chaos.shapes import directed

_TABLE = "raw"  # before connection tracking, so that no half-open entry is left
_OWNER = "graymesh"


class UnderlayDrop:
    """A firewall or security group between two nodes drops VXLAN, perhaps one way only; all else passes.

    Story: somebody filters UDP 8472 between segments; nodes ping each other, the API is fine, pods do not meet.
    Signature: every table is right. Direct probes show both directions dead; a one-way probe counted at the receiver
    shows which it is. The receiver's device sees nothing: no otherhost, no error counter.
    Source: catalogue 27; rke2 issue 6307, flannel issue 2388; measured on flannel 0.28.10 (scenario e).
    """

    name = "underlay-drop"
    summary = "VXLAN packets between the victim and chosen peers are dropped, one way or both"
    kind = Kind.REVERSIBLE
    parameters = (
        VICTIM,
        PEERS,
        Parameter(
            name="direction",
            expected="in, out or both: what is lost, seen from the victim",
            takes="choice",
            choices=("in", "out", "both"),
            required=False,
            default="in",
        ),
    )
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """One rule for each directed pair, at the receiver, carrying the injection's id; undo deletes exactly these."""
        apart(self, args)
        pairs = directed(args.one("victim"), args.many("peers"), args.one("direction"))
        receivers = dict.fromkeys(receiver for _, receiver in pairs)
        return Plan(
            claims=tuple(claims.underlay(*pair) for pair in pairs),
            steps=tuple(
                _drop(view, receiver, [s for s, r in pairs if r == receiver], tag)
                for receiver in receivers
            ),
        )


def _drop(view: View, receiver: str, senders: list[str], tag: str) -> Step:
    addresses = [view.inventory.node(sender).underlay[0] for sender in senders]
    tool: Literal["iptables", "ip6tables"] = "ip6tables" if ":" in addresses[0] else "iptables"
    prefix = 128 if tool == "ip6tables" else 32
    port = view.inventory.node(receiver).vtep.port
    owner = f'-m comment --comment "{_OWNER} {tag}"'
    rules = tuple(
        Rule("PREROUTING", 1, f"-s {each}/{prefix} -p udp -m udp --dport {port} {owner} -j DROP")
        for each in addresses
    )
    saved = view.rules(receiver, tool, _TABLE)

    def goal(*, present: bool) -> RulesGoal:
        return RulesGoal(
            node=receiver,
            tool=tool,
            table=_TABLE,
            rules=rules,
            present=present,
            fresh_table=_has_only_ours(saved),
        )

    return Step(do=goal(present=True), undo=goal(present=False))


def _has_only_ours(saved: str) -> bool:
    """Whether the table is absent, or there for other injections' rules alone."""
    rules = parsed(saved)
    return not saved or (bool(rules) and all(f'"{_OWNER} ' in rule.spec for rule in rules))
