"""A run's record to its document, purely."""

from __future__ import annotations

import shlex

from chaos.model import Change, Injection
from clusters.topology import Inventory
from probes.model import Judgement, State
from suites.record import Record
from suites.report.document import ChangeRow, InjectedRow, ScenarioPart, VerdictDocument
from suites.report.errors import error_part
from suites.report.json import verdict_document


def run_document(record: Record) -> VerdictDocument:
    """The document of the observing phase (or of the control that failed) with the scenario's part added."""
    request = record.request
    document = verdict_document(
        run_id=request.run_id,
        seed=request.seed,
        inventory=record.inventory or _nothing(record),
        judgement=record.judgement or _not_judged(record),
        timing=record.timing,
        observation=record.observation,
        grids=record.grids,
        full=request.full,
    )
    document["scenario"] = _scenario(record)
    if record.error is not None:
        document["error"] = error_part(record.error)
    return document


def _nothing(record: Record) -> Inventory:
    request = record.request
    return Inventory(
        provider=request.spec.provider,
        name=request.name or request.spec.name,
        vips=(),
        nodes=(),
        pods=(),
        replicas=(),
        dialect=request.spec.dialect,
    )


def _not_judged(record: Record) -> Judgement:
    reason = str(record.error) if record.error else "nothing was judged"
    return Judgement(verdict=State.UNKNOWN, findings=(), notes=(), reasons=(reason,))


def _scenario(record: Record) -> ScenarioPart:
    return {
        "name": record.request.scenario.name,
        "seed": record.request.seed,
        "expectation": record.expectation,
        "phases": [
            {
                "name": one.name,
                "started_s": round(one.started_s, 4),
                "duration_s": round(one.duration_s, 4),
                "outcome": one.outcome,
                "detail": one.detail,
            }
            for one in record.phases
        ],
        "injected": [injected_row(one) for one in record.injected],
        "changes": [change_row(change) for one in record.injected for change in one.changes],
        "convergence": list(record.convergence),
        "recovered_s": record.recovered_s,
        "assertions": [
            {"name": one.name, "outcome": one.outcome, "message": one.message}
            for one in record.assertions
        ],
        "unexpected": [list(pair) for pair in record.unexpected],
        "repeat": shlex.join(["graymesh", *record.request.words]),
        "exit_code": record.exit_code,
    }


def injected_row(injection: Injection) -> InjectedRow:
    """One fault as it was injected."""
    return {
        "id": injection.id,
        "fault": injection.fault,
        "kind": injection.kind.value,
        "params": dict(injection.params),
        "proof": list(injection.proof),
    }


def change_row(change: Change) -> ChangeRow:
    """What a fault changed on one node."""
    before, after = change.before, change.after
    return {
        "node": change.node,
        "mac": {"before": before.mac, "after": after.mac},
        "underlay": {"before": before.underlay, "after": after.underlay},
        "pod_cidr": {"before": before.pod_cidr, "after": after.pod_cidr},
        "rebooted": change.rebooted,
    }
