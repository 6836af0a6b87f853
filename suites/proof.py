"""Proof of a finding: repair exactly what it names, see the pairs pass, break it again, see them fail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from chaos.engine import Engine
from clusters.state import ClusterState
from probes.judge.repair import break_argv
from probes.model import VIP, Finding, Judgement, Observation, Pair, State

Reprobe = Callable[[Collection[Pair]], Observation]


def proved(
    engine: Engine, judgement: Judgement, state: ClusterState, reprobe: Reprobe
) -> Judgement:
    """The judgement with `proved` set on each finding that a repair of entries can prove.

    `state` is what the judgement was made from. The fault stands again when this returns or raises. Raises FaultNotAppliedError where a repair command fails,
    UndoError where the fault cannot be brought back.
    """
    findings = tuple(
        _prove(engine, finding, state, affected(finding, judgement), reprobe)
        for finding in judgement.findings
    )
    return replace(judgement, findings=findings)


def affected(finding: Finding, judgement: Judgement) -> tuple[Pair, ...]:
    """The pairs that this finding alone explains.

    Without VIP pairs where there are others: while some replicas are in reach a VIP query may succeed by its draw,
    which proves nothing either way.
    """
    elsewhere = {
        pair for other in judgement.findings if other is not finding for pair in other.explained
    }
    alone = tuple(pair for pair in finding.explained if pair not in elsewhere)
    return tuple(pair for pair in alone if pair.dst != VIP) or alone


def _prove(
    engine: Engine,
    finding: Finding,
    state: ClusterState,
    pairs: Collection[Pair],
    reprobe: Reprobe,
) -> Finding:
    if not (finding.entries and finding.repair and pairs):
        return finding
    breaks = [one for entry in reversed(finding.entries) for one in break_argv(entry, state)]
    with engine.repaired(finding.repair, breaks):
        mended = _all_in(reprobe(pairs), State.PASS)
    broken = _all_in(reprobe(pairs), State.FAIL)
    return replace(finding, proved=mended and broken)


def _all_in(observation: Observation, state: State) -> bool:
    return bool(observation.pairs) and all(one.state is state for one in observation.pairs)
