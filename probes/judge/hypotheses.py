"""What could lose frames where no table shows it, and which measured pairs each such cause would have to lose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from probes.judge.scene import ONEWAY, Scene
from probes.model import PairResult, State

_LOSSY = 0.5  # share of pairs that may pass where most failing pairs lose only in part


class Kind(IntEnum):
    """Kinds of cause; where two explain the same, the earlier one is the simpler."""

    SERVING = 0  # a replica answers on no transport
    SERVING_UDP = 1
    SERVING_TCP = 2
    EDGE = 3  # what one node sends to another
    PATH = 4  # the same, of unknown direction
    OUT = 5  # what one node sends to any other
    IN = 6
    DARK = 7  # both
    POD_IN = 8  # what a pod should receive
    POD_OUT = 9
    POD = 10  # both, or unknown
    POD_FAR_IN = 11  # the same, from other nodes alone
    POD_FAR_OUT = 12
    POD_FAR = 13
    PROTO_EDGE = 14  # one protocol, from one node to another
    PROTO_POD_OUT = 15  # what a pod asks
    PROTO_POD_IN = 16  # what a pod is asked
    PROTO_POD = 17  # both
    PROTO_OUT = 18
    PROTO_IN = 19
    PAIR = 20  # two places, every protocol
    PAIR_PROTO = 21


NODE_KINDS = frozenset({Kind.EDGE, Kind.PATH, Kind.OUT, Kind.IN, Kind.DARK})
_NEAR_AND_FAR = {
    Kind.POD_IN: Kind.POD_FAR_IN,
    Kind.POD_OUT: Kind.POD_FAR_OUT,
    Kind.POD: Kind.POD_FAR,
}
POD_KINDS = frozenset({*_NEAR_AND_FAR, *_NEAR_AND_FAR.values()})
PROTO_POD_KINDS = frozenset({Kind.PROTO_POD_OUT, Kind.PROTO_POD_IN, Kind.PROTO_POD})
_BRIDGED = frozenset({Kind.OUT, Kind.IN, Kind.DARK})
OUTWARD = frozenset({Kind.OUT, Kind.POD_OUT, Kind.POD_FAR_OUT})
_DIRECTED = frozenset({*OUTWARD, Kind.IN, Kind.POD_IN, Kind.POD_FAR_IN})
_Key = tuple[Kind, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One possible cause. `must` are the measured pairs that it would lose, `within` those that it loses as well.

    Pairs inside a node cross its bridge only, and its packet filter where bridged frames go through that (as
    Kubernetes has it): they speak for a cause in that node where every one fails, and never against it.
    """

    kind: Kind
    subject: tuple[str, ...]
    must: tuple[PairResult, ...] = field(repr=False)
    nodes: frozenset[str] = frozenset()  # every node that the pairs touch
    within: tuple[PairResult, ...] = field(default=(), repr=False)

    @property
    def failing(self) -> tuple[PairResult, ...]:
        """Those that do fail."""
        return (*(one for one in self.must if one.state is State.FAIL), *self.within)

    @property
    def spared(self) -> int:
        """How many pass nevertheless."""
        return sum(one.state is not State.FAIL for one in self.must)

    def holds(self) -> bool:
        """Whether so many of its pairs fail that it can be the cause."""
        failing = self.failing
        partly = sum(one.ok > 0 for one in failing)
        allowed = _LOSSY if 2 * partly > len(failing) else 0.0
        return self.spared <= allowed * len(self.must)


def conceivable(scene: Scene) -> tuple[Hypothesis, ...]:
    """Every cause that the measurement leaves possible and that loses something."""
    if all(one.state is State.PASS for one in scene.direct()):
        return ()
    buckets: dict[_Key, list[PairResult]] = defaultdict(list)
    for one in scene.direct():
        for key in _keys(scene, one):
            buckets[key].append(one)
    found, bridged = [], _all_lost_inside(scene)
    for (kind, subject), must in buckets.items():
        if any(one.state is State.FAIL for one in must):
            nodes = {scene.node(end) for one in must for end in one.pair[:2]}
            hypothesis = Hypothesis(
                kind=kind,
                subject=subject,
                must=tuple(must),
                nodes=frozenset(nodes),
                within=bridged.get(subject[0], ()) if kind in _BRIDGED else (),
            )
            if hypothesis.holds() and _distinct(scene, hypothesis, buckets):
                found.append(hypothesis)
    return tuple(found)


def _all_lost_inside(scene: Scene) -> dict[str, tuple[PairResult, ...]]:
    """The pairs inside a node, of those nodes where every one fails."""
    inside: dict[str, list[PairResult]] = defaultdict(list)
    for one in scene.direct():
        node = scene.node(one.pair.src)
        if node == scene.node(one.pair.dst):
            inside[node].append(one)
    return {
        node: tuple(found)
        for node, found in inside.items()
        if all(one.state is State.FAIL for one in found)
    }


def _keys(scene: Scene, one: PairResult) -> Iterator[_Key]:
    """Everything that, broken, would make this pair fail."""
    src, dst, protocol, _ = one.pair
    a, b = scene.node(src), scene.node(dst)
    if a != b:
        yield from _between_nodes(a, b, protocol)
    for kind, place in _of_pods(src, dst, protocol):
        yield kind, (place,)
        if a != b:
            yield _NEAR_AND_FAR[kind], (place,)
    yield Kind.PAIR_PROTO, (src, dst, protocol)
    yield Kind.PAIR, tuple(sorted((src, dst)))
    if protocol == ONEWAY:
        return
    yield Kind.PROTO_POD_OUT, (src, protocol)
    yield Kind.PROTO_POD_IN, (dst, protocol)
    yield Kind.PROTO_POD, (src, protocol)
    yield Kind.PROTO_POD, (dst, protocol)
    if protocol.startswith("dns-"):
        yield Kind.SERVING, (dst,)
        yield Kind.SERVING_UDP if protocol == "dns-udp" else Kind.SERVING_TCP, (dst,)


def _of_pods(src: str, dst: str, protocol: str) -> Iterator[tuple[Kind, str]]:
    yield from ((Kind.POD_OUT, src), (Kind.POD_IN, dst), (Kind.POD, src), (Kind.POD, dst))
    if protocol != ONEWAY:
        yield from ((Kind.POD_IN, src), (Kind.POD_OUT, dst))


def _between_nodes(a: str, b: str, protocol: str) -> Iterator[_Key]:
    directions = ((a, b),) if protocol == ONEWAY else ((a, b), (b, a))
    for sender, receiver in directions:
        yield Kind.EDGE, (sender, receiver)
        yield Kind.OUT, (sender,)
        yield Kind.IN, (receiver,)
    yield Kind.DARK, (a,)
    yield Kind.DARK, (b,)
    if protocol != ONEWAY:
        yield Kind.PATH, (min(a, b), max(a, b))
        yield Kind.PROTO_EDGE, (a, b, protocol)
        yield Kind.PROTO_OUT, (a, protocol)
        yield Kind.PROTO_IN, (b, protocol)


def _distinct(
    scene: Scene, hypothesis: Hypothesis, buckets: Mapping[_Key, list[PairResult]]
) -> bool:
    """Whether the measurement can tell this kind of cause from narrower ones at all."""
    kind = hypothesis.kind
    if kind in {Kind.SERVING, Kind.SERVING_UDP, Kind.SERVING_TCP}:
        return _serving(scene, hypothesis)
    if kind is Kind.EDGE:
        return _one_way_seen(scene, hypothesis.subject, buckets)
    if kind is Kind.PATH:
        return not _one_way_asked(scene, hypothesis.subject, buckets)
    if kind in {Kind.PROTO_EDGE, Kind.PAIR, Kind.PAIR_PROTO}:
        return True
    return _spread(scene, hypothesis) and (
        kind not in _DIRECTED or _points(scene, hypothesis, outward=kind in OUTWARD)
    )


def _one_way_asked(
    scene: Scene, ends: tuple[str, ...], buckets: Mapping[_Key, list[PairResult]]
) -> bool:
    """Whether any direction between two nodes was measured by itself."""
    return any(
        _oneways(scene, buckets.get((Kind.EDGE, edge), ()), edge[0]) for edge in (ends, ends[::-1])
    )


def _one_way_seen(
    scene: Scene, edge: tuple[str, ...], buckets: Mapping[_Key, list[PairResult]]
) -> bool:
    """The direction was measured and fails; or was not measured, while the other one passes."""
    oneway = _oneways(scene, buckets.get((Kind.EDGE, edge), ()), edge[0])
    back = _oneways(scene, buckets.get((Kind.EDGE, edge[::-1]), ()), edge[1])
    if oneway:
        return State.FAIL in oneway
    return bool(back) and State.FAIL not in back


def _oneways(scene: Scene, results: Iterable[PairResult], sender: str) -> set[State]:
    return {
        one.state
        for one in results
        if one.pair.protocol == ONEWAY and scene.node(one.pair.src) == sender
    }


def _spread(scene: Scene, hypothesis: Hypothesis) -> bool:
    """Whether it concerns more than one counterpart (else the narrower cause says the same)."""
    centre = hypothesis.subject[0]
    if hypothesis.kind in POD_KINDS | PROTO_POD_KINDS:
        ends = ((one.pair.src, one.pair.dst) for one in hypothesis.must)
    else:
        ends = ((scene.node(one.pair.src), scene.node(one.pair.dst)) for one in hypothesis.must)
    return len({end for pair in ends for end in pair if end != centre}) > 1


def _points(scene: Scene, hypothesis: Hypothesis, *, outward: bool) -> bool:
    """Whether one-way pairs show that direction lost, and the other one not."""
    centre = hypothesis.subject[0]
    whole = hypothesis.kind not in POD_KINDS
    lost, other = False, False
    for one in scene.oneways:
        ends = one.pair[:2]
        src, dst = map(scene.node, ends) if whole else ends
        if centre in {src, dst} and src != dst:
            along = (src == centre) is outward
            lost = lost or (along and one.state is State.FAIL)
            other = other or (not along and one.state is State.PASS)
    return lost and other


def _serving(scene: Scene, hypothesis: Hypothesis) -> bool:
    """Whether it is the server and not the way to it: its host answers, or several nodes or its errors say so."""
    (replica,) = hypothesis.subject
    if any(kind not in _SILENT for one in hypothesis.failing for kind in one.errors):
        return True
    pings = [
        one.state
        for one in scene.direct()
        if one.pair.dst == replica and one.pair.protocol == "icmp"
    ]
    if State.PASS in pings:
        return True
    return not pings and len({scene.node(one.pair.src) for one in hypothesis.must}) > 1


_SILENT = frozenset({"timeout", "unreachable-host", "unreachable-net"})
