"""What the tables alone say must arrive and must be lost, and which entries are at fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clusters.state import ClusterState
from probes import defects
from probes.corrections import corrected
from probes.defects import Defect
from probes.forwarding import Outcome, World, travel
from probes.tables import Prefix, family_of, prefix
from probes.textbook import Textbook
from probes.truth import End, Truth, establish

_RANK: Final = (Outcome.LOST, Outcome.UNKNOWN, Outcome.ARRIVES)
_DIRECT: Final = 2  # nodes on the direct way
_Key = tuple[str, str, frozenset[object]]  # node, family, what singles the places out


class Leg(NamedTuple):
    """One direction between two groups of places whose packets meet the same entries.

    `path` are the nodes on the way; it ends where the packet does. `defects` are the entries whose correction is
    needed, and together enough, for it to arrive; empty where the tables cannot say.
    """

    src: str
    dst: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    outcome: Outcome
    reason: str
    path: tuple[str, ...]
    defects: tuple[Defect, ...] = ()

    @property
    def edge(self) -> tuple[str, str]:
        """The directed node pair."""
        return self.src, self.dst


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Every leg that does not simply arrive by the direct way, and where each place belongs."""

    textbook: Textbook
    legs: Mapping[tuple[_Key, _Key], Leg]
    sources: Mapping[tuple[str, str], _Key]
    targets: Mapping[tuple[str, str], _Key]

    @property
    def truth(self) -> Truth:
        """What the nodes are."""
        return self.textbook.truth

    def leg(self, src: str, dst: str, family: str = "ipv4") -> Leg | None:
        """The leg from one pod or replica to another; None where it arrives by the direct way."""
        start, end = self.sources.get((src, family)), self.targets.get((dst, family))
        return None if start is None or end is None else self.legs.get((start, end))

    def lost(self) -> tuple[Leg, ...]:
        """The legs whose packets must be lost."""
        return tuple(leg for leg in self.legs.values() if leg.outcome is Outcome.LOST)

    def edges(self) -> tuple[tuple[str, str], ...]:
        """The directed node pairs on which at least some pods' packets must be lost, sorted."""
        return between_nodes(self.lost())


def between_nodes(legs: Iterable[Leg]) -> tuple[tuple[str, str], ...]:
    """The directed node pairs of legs, sorted; what stays on one node is on none."""
    return tuple(sorted({leg.edge for leg in legs if leg.src != leg.dst}))


def predict(state: ClusterState) -> Prediction:
    """Follow a packet from every node to every other node's pods through everybody's tables.

    Pods of one node are taken together unless some entry singles one out. Only reads; no I/O.
    """
    truth = establish(state)
    sources, targets = _grouped(truth)
    legs = {}
    world, textbook = World(truth, truth.tables), Textbook(truth)
    for start, froms in sources.items():
        for end, tos in targets.items():
            if start[1] != end[1] or textbook.arrives(froms[0], tos[0]):
                continue
            leg = _leg(world, froms, tos)
            if leg is not None:
                legs[start, end] = leg
    return Prediction(
        textbook=textbook, legs=legs, sources=_places(sources), targets=_places(targets)
    )


def at_fault(world: World, src: End, dst: End) -> tuple[Defect, ...]:
    """The smallest set of differing entries on the wanted path whose correction lets the packet arrive.

    Taken out one by one, in the order of the path, is whatever is not needed. Empty where no correction helps.
    """
    found = tuple(dict.fromkeys(_suspects(world.truth, src, dst)))
    reached = _rank(world, found, src, dst)
    if reached <= _rank(world, (), src, dst):
        return ()
    for defect in found:
        fewer = tuple(one for one in found if one != defect)
        if _rank(world, fewer, src, dst) >= reached:
            found = fewer
    return found


def _rank(world: World, found: Iterable[Defect], src: End, dst: End) -> int:
    fixed = corrected(world, (defect.entry for defect in found))
    return _RANK.index(travel(fixed, src, dst).outcome)


def _suspects(truth: Truth, src: End, dst: End) -> Iterator[Defect]:
    """Everything that differs on the wanted path, in the order in which a packet meets it."""
    family = family_of(dst.ip)
    start, end = truth.owner(src.node, family), truth.owner(dst.node, family)
    ways = ((start, end, src.ip, dst.ip), (end, start, dst.ip, src.ip))
    for own, peer, here, there in ways:
        tables = truth.tables.get(own.node)
        if tables is not None:
            yield from defects.of_node(truth, tables, own)
            yield from defects.of_pod(truth, tables, own, here)
            yield from defects.of_peer(truth, tables, own, peer, there)


def _leg(world: World, sources: tuple[End, ...], targets: tuple[End, ...]) -> Leg | None:
    src, dst = sources[0], targets[0]
    way = travel(world, src, dst)
    if way.outcome is Outcome.ARRIVES and len(way.path) <= _DIRECT:
        return None
    return Leg(
        src.node,
        dst.node,
        tuple(end.place for end in sources),
        tuple(end.place for end in targets),
        way.outcome,
        way.reason,
        way.path,
        () if way.outcome is Outcome.ARRIVES else at_fault(world, src, dst),
    )


_Groups = dict[_Key, tuple[End, ...]]


def _grouped(truth: Truth) -> tuple[_Groups, _Groups]:
    """Places as senders and as receivers, by what treats them alike."""
    narrow = _narrow_prefixes(truth)
    named = {ip for tables in truth.tables.values() for ip in tables.local}
    kept = _singled_out(truth)
    sources: _Groups = {}
    targets: _Groups = {}
    for end in truth.ends:
        family = family_of(end.ip)
        if (end.node, family) not in truth.owners:
            continue
        marks = _marks(truth, end, narrow, named)
        _add(sources, (end.node, family, marks), end)
        own = frozenset({end.ip} & kept)
        _add(targets, (end.node, family, marks | own), end)
    return sources, targets


def _add(groups: _Groups, key: _Key, end: End) -> None:
    groups[key] = (*groups.get(key, ()), end)


def _marks(truth: Truth, end: End, narrow: Iterable[Prefix], named: set[str]) -> frozenset[object]:
    """What singles a pod out among those of its node: narrower routes, its address taken, an address of elsewhere."""
    marks: set[object] = {one for one in narrow if one.covers(end.ip)}
    owner = truth.owner(end.node, family_of(end.ip))
    if end.ip in named or not prefix(owner.cidr).covers(end.ip):
        marks.add(end.ip)
    return frozenset(marks)


def _singled_out(truth: Truth) -> frozenset[str]:
    """Pod addresses that neighbour entries are about, in a way that can decide where packets go."""
    found = set()
    for (node, _), own in truth.owners.items():
        tables = truth.tables.get(node)
        if tables is not None:
            found |= {ip for device, ip in tables.neigh if device != own.bridge}
            found |= {
                ip
                for device, ip in tables.neigh
                if device == own.bridge and truth.strange_pod_mac(tables, device, ip)
            }
    return frozenset(found)


def _narrow_prefixes(truth: Truth) -> tuple[Prefix, ...]:
    """Prefixes of any route that are part of a podCIDR but not all of it."""
    whole = [prefix(owner.cidr) for owner in truth.owners.values()]
    bounds = {(one.family, one.length, one.head) for one in whole}
    shortest = min((one.length for one in whole), default=0)
    found = {
        key
        for tables in truth.tables.values()
        for rib in tables.ribs.values()
        for key in rib.rows
        if key.length > shortest and key not in bounds
    }
    return tuple(key for key in found if any(key.within(one) for one in whole))


def _places(groups: _Groups) -> dict[tuple[str, str], _Key]:
    return {(end.place, key[1]): key for key, ends in groups.items() for end in ends if end.place}
