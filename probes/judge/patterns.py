"""The shapes that a measurement has, in the vocabulary of the design."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from probes.judge.scene import Scene
from probes.model import VIP, Finding, Observation, PairResult, State

_WRONG = frozenset({"servfail", "nxdomain", "rcode", "wrong-answer", "malformed", "truncated"})


def patterns(
    scene: Scene, observation: Observation | None, findings: Sequence[Finding]
) -> tuple[str, ...]:
    """Every shape that applies, the general ones first."""
    if observation is None:
        return ()
    found = list(_of_prober(observation))
    if scene.measured and not scene.failing:
        return ("healthy", *found)
    found += _of_edges(scene, findings)
    found += _of_pairs(scene)
    if any(one.replicas for one in findings):
        found.append("replica")
    return tuple(dict.fromkeys(found))


def _of_prober(observation: Observation) -> Iterator[str]:
    if observation.trouble or any(one.unknown for one in observation.pairs):
        yield "measuring side broken"


def _of_edges(scene: Scene, findings: Iterable[Finding]) -> Iterator[str]:
    edges = {edge for one in findings for edge in one.edges} or _failing_edges(scene)
    if not edges:
        return
    common = set.intersection(*(set(edge) for edge in edges))
    if len(common) > 1:
        yield "pair"
    elif common:
        if any(a in common for a, _ in edges):
            yield "node-as-source"
        if any(b in common for _, b in edges):
            yield "node-as-target"
    if any((b, a) not in edges for a, b in edges):
        yield "one-way"


def _failing_edges(scene: Scene) -> set[tuple[str, str]]:
    """Directed node pairs of failing one-way pairs."""
    return {
        (scene.node(one.pair.src), scene.node(one.pair.dst))
        for one in scene.oneways
        if one.state is State.FAIL
    }


def _of_pairs(scene: Scene) -> Iterator[str]:
    if scene.failing and all(one.pair.dst == VIP for one in scene.failing):
        yield "VIP only"
    direct = [one for one in scene.direct() if one.pair.protocol != "oneway"]
    if _disagree(direct, lambda one: (one.pair.src, one.pair.dst, one.pair.family)):
        yield "by protocol"
    if _disagree(scene.measured, lambda one: (one.pair.src, one.pair.dst, one.pair.protocol)):
        yield "by family"
    if any(one.ok > 0 and one.pair.dst != VIP for one in scene.failing):
        yield "flapping"
    if any(_WRONG & one.errors.keys() for one in scene.failing):
        yield "wrong answer"


def _disagree(results: Iterable[PairResult], key: Callable[[PairResult], object]) -> bool:
    """Whether pairs that are alike but for one thing do not all fail or all pass."""
    states: dict[object, set[State]] = defaultdict(set)
    for one in results:
        states[key(one)].add(one.state)
    return any(len(seen) > 1 for seen in states.values())
