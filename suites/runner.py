"""One run of one scenario, from set-up to tear-down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from clusters.errors import GraymeshError
from clusters.providers.base import Cluster
from suites.console import Console
from suites.interrupts import Interrupts
from suites.phases import Phases
from suites.record import Record, RunRequest
from suites.report.folder import RunFolder
from suites.session import claimed, fresh


def run(
    request: RunRequest, *, console: Console, interrupts: Interrupts, folder: RunFolder | None
) -> Record:
    """Run it; the record says how it went. Expected errors are in the record, none is raised.

    Whatever happens, what was injected is undone, and a cluster made for the run is gone afterwards; where that
    fails, the record's error says so (exit code 5).
    """
    record = Record(request=request)
    phases = Phases(record=record, console=console, interrupts=interrupts, folder=folder)
    try:
        with _cluster(request, phases, interrupts) as cluster:
            from suites.ordeal import Ordeal  # noqa: PLC0415  # the prober may start threads: open first

            Ordeal(cluster=cluster, record=record, phases=phases).run()
    except GraymeshError as exc:
        record.fail(exc)
    except KeyboardInterrupt:  # between two phases
        record.fail(interrupts.acknowledge())
    return record


@contextlib.contextmanager
def _cluster(request: RunRequest, phases: Phases, interrupts: Interrupts) -> Iterator[Cluster]:
    who = f"run {request.scenario.name} ({request.run_id})"
    stack = contextlib.ExitStack()
    try:
        with phases.run_phase("set-up") as note:
            if request.name is None:
                progress = phases.console.progress
                making = fresh(request.spec, who, interrupts=interrupts, progress=progress)
            else:
                making = claimed(request.name, who)
            cluster = stack.enter_context(making)
            note.detail = f"{cluster.provider} {cluster.name}"
        yield cluster
    finally:
        with phases.run_phase("tear-down"):
            stack.close()
