"""The fault `peer-entry`: one entry that one node keeps about another is wrong, missing, or there twice."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address
from types import MappingProxyType
from typing import Final, NamedTuple

from chaos import claims, overlay
from chaos.model import Arguments, Kind, Parameter, Plan, Slot, Step, TablesGoal, View, Want
from chaos.shapes import new_mac
from chaos.tables import entries, fdb, neigh, route
from clusters.errors import UsageError
from clusters.flannel.plan import overlay_address

_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SPARE_METRIC: Final = 100  # of a second route, behind the first one's 0
_PROTO: Final = "proto 3"  # boot: what `ip route` writes, and flanneld


class PeerEntry:
    """One kernel entry of the observer about the owner is not what it should be; nothing else is touched.

    Story: an entry pinned by hand in an earlier incident, a lost event, a flush, a network manager's cleaning.
    mode=wrong: the neighbour has a MAC that nobody owns, the FDB sends to a third node, the route goes via an address
    that nobody has. mode=missing: the entry is gone. mode=duplicate: a second entry beside the right one, which loses
    nothing. `value=` chooses the MAC, underlay address or gateway instead.
    Signature: frames from the observer to the owner are lost and nothing else; with strict reverse-path filter a missing
    route loses the other direction too. A wrong or missing neighbour or FDB entry dies at the sender.
    Source: catalogue 3, 22, 23, 24, 15, 58; measured on flannel 0.28.10 (scenarios b1 to b5).
    """

    name = "peer-entry"
    summary = "one neighbour, FDB or route entry about a peer is wrong, missing or duplicated"
    kind = Kind.REVERSIBLE
    parameters = (
        Parameter(name="observer", expected="the node that keeps the entry", takes="node"),
        Parameter(name="owner", expected="the node that the entry is about", takes="node"),
        Parameter(
            name="table",
            expected="neigh, fdb or route",
            takes="choice",
            choices=("neigh", "fdb", "route"),
        ),
        Parameter(
            name="mode",
            expected="wrong, missing or duplicate",
            takes="choice",
            choices=("wrong", "missing", "duplicate"),
            required=False,
            default="wrong",
        ),
        Parameter(
            name="value",
            expected="a MAC, underlay address or gateway",
            takes="text",
            required=False,
        ),
    )
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Write or delete the entry; undo gives back what was there."""
        case = _Case(
            view=view,
            observer=args.one("observer"),
            owner=args.one("owner"),
            mode=args.one("mode"),
            value=args.maybe("value"),
            rng=rng,
        )
        if case.observer == case.owner:
            raise case.wrong(f"owner={case.owner}: a node keeps no entry about itself")
        if case.mode == "missing" and case.value is not None:
            raise case.wrong(f"value={case.value}: a missing entry has none")
        table = args.one("table")
        turns = _TABLES[table](case)
        return Plan(
            claims=(claims.table(case.observer, case.owner, table),),
            steps=(
                Step(
                    do=case.goal(*(Want(turn.slot, turn.after) for turn in turns)),
                    undo=case.goal(*(_undone(case, turn) for turn in turns)),
                ),
            ),
        )


class _Turn(NamedTuple):
    """What becomes of one slot."""

    slot: Slot
    before: str | None
    after: str | None


class _Case(NamedTuple):
    """The entry in question."""

    view: View
    observer: str
    owner: str
    mode: str
    value: str | None
    rng: random.Random

    @property
    def device(self) -> str:
        return overlay.device(self.view, self.observer)

    @property
    def on_miss(self) -> bool:
        """Whether the observer's agent writes neighbours when the kernel asks, from memory."""
        return overlay.generation(self.view).answers_misses

    def goal(self, *wants: Want) -> TablesGoal:
        return TablesGoal(node=self.observer, device=self.device, wants=wants)

    def turn(self, slot: Slot, after: str | None) -> _Turn:
        """From what the slot holds to `after`. Raises UsageError where that is no change."""
        before = entries(self.view.state.nodes[self.observer]).get(slot)
        if before == after:
            raise self.wrong(
                f"{slot.table} {slot.key} of {self.observer} is {before or 'absent'} already"
            )
        return _Turn(slot, before, after)

    def mac(self) -> str:
        """The MAC asked for, or one that nobody owns."""
        if self.value is None:
            return new_mac(self.rng, [each.mac for each in self.view.leases])
        if not _MAC.fullmatch(self.value):
            raise self.wrong(f"value={self.value}: expected a MAC such as 0a:de:ad:00:00:01")
        return self.value

    def address(self) -> str | None:
        """The IPv4 address asked for."""
        if self.value is None:
            return None
        try:
            return str(IPv4Address(self.value))
        except ValueError:
            raise self.wrong(f"value={self.value}: expected an IPv4 address") from None

    def third_nodes(self) -> list[str]:
        nodes = [each.name for each in self.view.inventory.nodes]
        return [each for each in nodes if each not in {self.observer, self.owner}]

    def wrong(self, text: str) -> UsageError:
        return UsageError(f"fault {PeerEntry.name}: {text}")


def _undone(case: _Case, turn: _Turn) -> Want:
    """What was there; where agents answer misses it may also have aged away meanwhile."""
    ours = (turn.after, None) if case.on_miss else (turn.after,)
    return Want(turn.slot, turn.before, ours)


def _neigh(case: _Case) -> tuple[_Turn, ...]:
    lease = overlay.lease(case.view, case.owner)
    gateway = overlay_address(lease.pod_cidr)
    if case.mode == "duplicate":
        beside = gateway if case.on_miss else str(IPv4Address(gateway) + 1)
        mac = case.mac() if case.value else lease.mac
        return (case.turn(neigh(case.device, beside), f"{mac} permanent"),)
    if not case.on_miss:
        after = None if case.mode == "missing" else f"{case.mac()} permanent"
        return (case.turn(neigh(case.device, gateway), after),)
    if case.mode == "missing":
        raise case.wrong("mode=missing: an agent that answers misses writes it again at once")
    mac = case.mac()
    inventory = case.view.inventory
    return tuple(  # pinned for each pod; the right value comes back as the agent would write it
        _Turn(neigh(case.device, pod.ips[0]), f"{lease.mac} reachable", f"{mac} permanent")
        for pod in (*inventory.pods, *inventory.replicas)
        if pod.node == case.owner
    )


def _fdb(case: _Case) -> tuple[_Turn, ...]:
    lease = overlay.lease(case.view, case.owner)
    if case.mode == "duplicate":
        return (case.turn(fdb(case.device, case.mac()), f"{lease.underlay} permanent"),)
    if case.mode == "missing":
        return (case.turn(fdb(case.device, lease.mac), None),)
    elsewhere = case.address()
    if elsewhere is None:
        others = case.third_nodes()
        if not others:
            raise case.wrong("value= is missing: with two nodes there is no third to send to")
        elsewhere = case.view.inventory.node(others[0]).underlay[0]
    return (case.turn(fdb(case.device, lease.mac), f"{elsewhere} permanent"),)


def _route(case: _Case) -> tuple[_Turn, ...]:
    if case.on_miss:
        raise case.wrong(
            f"table=route: {case.view.inventory.dialect} keeps one route for all peers, none for each"
        )
    cidr = overlay.lease(case.view, case.owner).pod_cidr
    via = case.address()
    if case.mode == "duplicate":
        beside = via or overlay_address(cidr)
        text = f"via {beside} dev {case.device} onlink {_PROTO}"
        return (case.turn(route(cidr, _SPARE_METRIC), text),)
    if case.mode == "missing":
        return (case.turn(route(cidr), None),)
    gateway = via or _unowned_gateway(case)
    turn = case.turn(route(cidr), f"via {gateway} dev {case.device} onlink {_PROTO}")
    asked = neigh(case.device, gateway)
    if entries(case.view.state.nodes[case.observer]).get(asked):
        return (turn,)
    return (turn, _Turn(asked, None, None))  # the kernel will have asked for it: that goes too


def _unowned_gateway(case: _Case) -> str:
    """The overlay address of the last podCIDR that no node has, as of a node that is gone."""
    inventory = case.view.inventory
    used = {each.pod_cidr for each in case.view.leases}
    length = IPv4Network(next(iter(used))).prefixlen
    cluster = IPv4Network(
        next(c for c in inventory.cluster_cidrs if ip_address(c.partition("/")[0]).version == 4)
    )
    free = (s for s in reversed(list(cluster.subnets(new_prefix=length))) if str(s) not in used)
    chosen = next(free, None)
    if chosen is None:
        raise case.wrong("value= is missing: every podCIDR of the cluster is in use")
    return str(chosen.network_address)


_TABLES: Final[Mapping[str, Callable[[_Case], tuple[_Turn, ...]]]] = MappingProxyType(
    {"neigh": _neigh, "fdb": _fdb, "route": _route}
)
