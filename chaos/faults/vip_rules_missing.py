"""The fault `vip-rules-missing`: a node has lost its rules for the DNS service address."""

from __future__ import annotations

import random
import re
from typing import Literal

from chaos import claims
from chaos.filters import parsed
from chaos.model import Arguments, Kind, Plan, Rule, RulesGoal, Step, View
from chaos.parameters import VICTIM
from clusters.errors import UsageError

_TABLE = "nat"
_JUMP = re.compile(r"-j KUBE-SVC-\S+$")


class VipRulesMissing:
    """One node does not translate the service address: what its pods send there goes nowhere.

    Story: kube-proxy hangs or panicked on that node, or a firewall reload flushed its chains.
    Signature: from that node alone the service address fails always, over UDP and TCP, while every replica answers
    there by its own address. A flow that was tracked before goes on.
    Source: catalogue 42, the variant without rules; kubernetes issues 38372, 28674.
    """

    name = "vip-rules-missing"
    summary = "a node loses the rules that translate the DNS service address"
    kind = Kind.REVERSIBLE
    parameters = (VICTIM,)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Delete the jumps to the service's chains; undo inserts them where they were."""
        victim = args.one("victim")
        steps = [step for vip in view.inventory.vips if (step := _without_jumps(view, victim, vip))]
        if not steps:
            raise UsageError(
                f"fault {self.name}: node {victim} has no rules for {view.inventory.vip} to lose"
            )
        return Plan(claims=(claims.vip(victim),), steps=tuple(steps))


def _without_jumps(view: View, victim: str, vip: str) -> Step | None:
    tool: Literal["iptables", "ip6tables"] = "ip6tables" if ":" in vip else "iptables"
    rules = tuple(r for r in parsed(view.rules(victim, tool, _TABLE)) if _is_jump(r, vip))

    def goal(*, present: bool) -> RulesGoal:
        return RulesGoal(node=victim, tool=tool, table=_TABLE, rules=rules, present=present)

    return Step(do=goal(present=False), undo=goal(present=True)) if rules else None


def _is_jump(rule: Rule, vip: str) -> bool:
    """Whether the rule sends the service's packets into the service's chain; the chain's own rules are left."""
    destined = re.search(rf"-d {re.escape(vip)}(/\d+)? ", rule.spec)
    return bool(destined and _JUMP.search(rule.spec)) and not rule.chain.startswith("KUBE-SVC-")
