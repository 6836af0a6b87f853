"""Verdict values to the `graymesh/verdict/1` document, purely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from clusters.topology import Inventory, Node, Pod
from probes.model import (
    Entry,
    Finding,
    Judgement,
    Note,
    Observation,
    Pair,
    PairResult,
    State,
)
from suites.report.document import (
    ClusterPart,
    EntryRow,
    FindingRow,
    GridPart,
    NodeRow,
    NoteRow,
    PairRow,
    PodRow,
    TimingPart,
    Totals,
    VerdictDocument,
)


class Grids(NamedTuple):
    """What was seen as grids, where it was probed."""

    replicas: GridPart | None = None
    oneway: GridPart | None = None


_NO_GRIDS: Final = Grids()


def verdict_document(
    *,
    run_id: str,
    seed: int,
    inventory: Inventory,
    judgement: Judgement,
    timing: TimingPart,
    observation: Observation | None = None,
    grids: Grids = _NO_GRIDS,
    full: bool = False,
) -> VerdictDocument:
    """The document of one judgement; `full` lists every pair, else only those that do not pass."""
    results = observation.pairs if observation else ()
    return {
        "schema": "graymesh/verdict/1",
        "run_id": run_id,
        "seed": seed,
        "verdict": judgement.verdict.value,
        "cluster": cluster_part(inventory),
        "totals": totals(results),
        "pairs": [pair_row(one) for one in results if full or one.state is not State.PASS],
        "findings": [_finding(one) for one in judgement.findings],
        "notes": [_note(one) for one in judgement.notes],
        "timing": timing,
        "grid": grids.replicas,
        "oneway": grids.oneway,
        "patterns": list(judgement.patterns),
        "reasons": list(judgement.reasons),
        "unpredicted": _pairs(judgement.unpredicted),
        "unfulfilled": _pairs(judgement.unfulfilled),
        "trouble": list(observation.trouble) if observation else [],
        "probe_timeout_s": observation.timeout_s if observation else None,
    }


def cluster_part(inventory: Inventory) -> ClusterPart:
    """The cluster as it should be."""
    return {
        "provider": inventory.provider,
        "name": inventory.name,
        "vip": inventory.vip if inventory.vips else None,
        "nodes": [_node(one) for one in inventory.nodes],
        "pods": [_pod(one) for one in inventory.pods],
        "replicas": [_pod(one) for one in inventory.replicas],
        "dialect": inventory.dialect,
    }


def totals(results: Sequence[PairResult]) -> Totals:
    """Sums over all measured pairs, whether listed or not."""
    states = Counter(one.state for one in results)
    return {
        "pairs": len(results),
        "sent": sum(one.sent for one in results),
        "ok": sum(one.ok for one in results),
        "pass": states[State.PASS],
        "fail": states[State.FAIL],
        "unknown": states[State.UNKNOWN],
    }


def pair_row(result: PairResult) -> PairRow:
    """One pair with its counts."""
    pair = result.pair
    row: PairRow = {
        "src": pair.src,
        "dst": pair.dst,
        "protocol": pair.protocol,
        "family": pair.family,
        "sent": result.sent,
        "ok": result.ok,
        "state": result.state.value,
        "errors": dict(sorted(result.errors.items())),
    }
    if result.latency:
        row["latency_us"] = {
            "min": result.latency.min_us,
            "median": result.latency.median_us,
            "p99": result.latency.p99_us,
        }
    if result.answered_by:
        row["answered_by"] = dict(sorted(result.answered_by.items()))
    if result.unknown is not None:
        row["unknown"] = result.unknown
    return row


def _node(node: Node) -> NodeRow:
    return {
        "name": node.name,
        "underlay": list(node.underlay),
        "pod_cidrs": list(node.pod_cidrs),
        "vtep": {"device": node.vtep.device, "mac": node.vtep.mac},
    }


def _pod(pod: Pod) -> PodRow:
    return {"name": pod.name, "node": pod.node, "ips": list(pod.ips)}


def _finding(finding: Finding) -> FindingRow:
    return {
        "id": finding.id,
        "confidence": round(finding.confidence, 4),
        "edges": [list(edge) for edge in finding.edges],
        "replicas": list(finding.replicas),
        "nodes": list(finding.nodes),
        "entries": _entries(finding.entries),
        "explains": {"pairs": len(finding.explained), "of": finding.of},
        "evidence": list(finding.evidence),
        "repair": [{"node": one.node, "argv": list(one.argv)} for one in finding.repair],
        "proved": finding.proved,
        "summary": finding.summary,
        "pods": list(finding.pods),
    }


def _note(note: Note) -> NoteRow:
    return {"id": note.id, "entries": _entries(note.entries), "summary": note.summary}


def _entries(entries: Iterable[Entry]) -> list[EntryRow]:
    return [
        {
            "observer": one.observer,
            "owner": one.owner,
            "table": one.table,
            "key": one.key,
            "have": one.have,
            "want": one.want,
        }
        for one in entries
    ]


def _pairs(pairs: Iterable[Pair]) -> list[list[str]]:
    return [list(pair) for pair in pairs]
