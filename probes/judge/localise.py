"""The fewest causes without any trace in the tables that account for failing pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from probes.judge.hypotheses import (
    NODE_KINDS,
    OUTWARD,
    POD_KINDS,
    Hypothesis,
    Kind,
    conceivable,
)
from probes.judge.scene import ONEWAY, Scene
from probes.model import VIP, Pair, PairResult

PAIR_LEVEL: Final = frozenset({Kind.PAIR, Kind.PAIR_PROTO})
_SHARE: Final = 0.5
_LOCAL_ERRORS: Final = frozenset({"prohibited"})


class Localised(NamedTuple):
    """A chosen cause; `alike` are others that explain exactly the same, `alone` what only this one explains."""

    chosen: Hypothesis
    alike: tuple[Hypothesis, ...]
    alone: tuple[PairResult, ...]


def localised(scene: Scene, residual: Collection[Pair]) -> Iterator[Localised]:
    """Greedily: whatever explains most of what is left, then of the rest."""
    left = {pair for pair in residual if pair.dst != VIP}
    candidates = conceivable(scene) if left else ()
    while left:
        best = _best(scene, candidates, left)
        if best is None:
            return
        yield best
        left -= {one.pair for one in best.chosen.failing}


def _best(
    scene: Scene, candidates: Iterable[Hypothesis], left: Collection[Pair]
) -> Localised | None:
    scored: dict[tuple[int, int], list[Hypothesis]] = {}
    for one in candidates:
        gain = sum(result.pair in left for result in one.failing)
        if gain:
            scored.setdefault((gain, -one.spared), []).append(one)
    if not scored:
        return None
    equals = sorted(scored[max(scored)], key=lambda one: (one.kind, one.subject))
    chosen = _preferred(scene, equals)
    alike = tuple(one for one in equals if one != chosen and one.must == chosen.must)
    return Localised(chosen, alike, tuple(one for one in chosen.failing if one.pair in left))


def _preferred(scene: Scene, equals: list[Hypothesis]) -> Hypothesis:
    """The simplest; between a node's way and its only pod, the one that counters or errors speak for."""
    first = equals[0]
    if first.kind in NODE_KINDS:
        inside = (
            one
            for one in equals
            if one.kind in POD_KINDS and one.must == first.must and _inside(scene, one)
        )
        return next(inside, first)
    return first


def _inside(scene: Scene, hypothesis: Hypothesis) -> bool:
    """Whether packets are lost inside the pod or at its port: by errors, by the bridge's ports and counters."""
    pod = hypothesis.subject[0]
    errors: Counter[str] = Counter()
    for one in hypothesis.failing:
        if one.pair.src == pod:
            errors.update(one.errors)
    if sum(errors[kind] for kind in _LOCAL_ERRORS) > _SHARE * errors.total():
        return True
    if scene.ports_down(scene.node(pod)):
        return True
    if hypothesis.kind in OUTWARD:
        sent = _through_bridge(scene, pod, "rx_packets")
        return sent is not None and sent < _SHARE * _lost(hypothesis.failing)
    came = _through_bridge(scene, pod, "tx_packets")
    return came is not None and came > _SHARE * _lost(hypothesis.failing)


def _lost(results: Iterable[PairResult]) -> int:
    return sum(one.sent - one.ok for one in results)


def _through_bridge(scene: Scene, pod: str, counter: str) -> int | None:
    """Packets that passed the bridge of the pod's node beyond those that measured pairs account for."""
    node = scene.node(pod)
    own = scene.owner(node)
    if own is None or scene.before is None or node not in scene.before.nodes:
        return None
    known = 0
    for one in scene.measured:
        src, dst = one.pair.src, one.pair.dst
        if dst == VIP:
            known += one.sent * (scene.node(src) == node)
        elif scene.node(src) != scene.node(dst) and node in {scene.node(src), scene.node(dst)}:
            outward = scene.node(src) == node
            relevant = one.pair.protocol != ONEWAY or outward is (counter == "rx_packets")
            known += one.ok * relevant
    return scene.grown(node, counter, own.bridge) - known
