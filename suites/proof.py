"""Proof of a finding: repair exactly what it names, see the pairs pass, break it again, see them fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from probes.judge.repair import break_argv

from clusters.errors import ExecTransportError
from clusters.providers.base import Cluster
from probes.model import VIP, Finding, Judgement, Observation, Pair, Repair, State

Reprobe = Callable[[Collection[Pair]], Observation]


def proved(cluster: Cluster, judgement: Judgement, reprobe: Reprobe) -> Judgement:
    """The judgement with `proved` set on each finding that a repair of entries can prove.

    Whatever happens, the entries are broken again when this returns or raises: the cause still stands, and undo
    finds what it expects. Raises ExecTransportError where a repair command cannot be run or fails.
    """
    findings = tuple(
        _prove(cluster, finding, affected(finding, judgement), reprobe)
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


def _prove(cluster: Cluster, finding: Finding, pairs: Sequence[Pair], reprobe: Reprobe) -> Finding:
    if not (finding.entries and finding.repair and pairs):
        return finding
    try:
        _run_all(cluster, finding.repair)
        mended = _all_in(reprobe(pairs), State.PASS)
    finally:
        _run_all(cluster, [break_argv(entry) for entry in reversed(finding.entries)])
    broken = _all_in(reprobe(pairs), State.FAIL)
    return replace(finding, proved=mended and broken)


def _all_in(observation: Observation, state: State) -> bool:
    return all(one.state is state for one in observation.pairs)


def _run_all(cluster: Cluster, commands: Iterable[Repair]) -> None:
    for command in commands:
        done = cluster.run(command.node, command.argv)
        if done.status != 0:
            said = (done.stderr or done.stdout).strip()
            raise ExecTransportError(
                f"on node {command.node} `{' '.join(command.argv)}` ended with {done.status}: {said}"
            )
