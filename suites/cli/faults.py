"""`inject`, `undo` and `recover`: the ledgered ways to break and to mend."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from chaos.engine import Engine, recover
from chaos.model import Injection, RecoverReport, UndoReport
from chaos.registry import FAULTS
from clusters.errors import ClusterBusyError, GraymeshError, UsageError
from clusters.ledger import Ledger
from clusters.places import names_with_state
from clusters.providers.base import Cluster
from clusters.providers.registry import PROVIDERS
from suites.cli.options import add_name, command_line, new_run_id
from suites.cli.parsing import key_values, known, seconds
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.report.errors import error_part
from suites.report.run_document import change_row, injected_row
from suites.session import claimed


def _inject_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fault", metavar="FAULT", help="see list faults")
    parser.add_argument("params", nargs="*", metavar="key=value", help="what the fault takes")
    add_name(parser)
    parser.add_argument(
        "--revert-after", type=seconds, metavar="S", help="undo by itself after so many seconds"
    )


def _inject(args: argparse.Namespace, context: Context) -> Reply:
    known("fault", args.fault, FAULTS)
    params = key_values("inject", args.params)
    with claimed(args.name, f"inject {args.fault}") as cluster:
        context.console.progress(f"injecting {args.fault}")
        injection = _engine(cluster).inject(args.fault, params, revert_after_s=args.revert_after)
    return _injected(injection, args.name)


def _engine(cluster: Cluster) -> Engine:
    return Engine(cluster, ledger=Ledger.of(cluster.name), run_id=new_run_id())


def _injected(injection: Injection, name: str) -> Reply:
    params = " ".join(f"{key}={value}" for key, value in injection.params.items())
    named = () if name == "default" else ("--name", name)
    return Reply(
        exit_code=0,
        document={
            "schema": "graymesh/injection/1",
            "injection": injected_row(injection),
            "changes": [change_row(one) for one in injection.changes],
        },
        text="\n".join(
            [
                f"{injection.fault} {params} is in ({injection.kind}, {injection.id})",
                *(f"  read back: {line}" for line in injection.proof),
                f"undo it: {command_line('undo', *named)}",
            ]
        ),
    )


def _undo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("injections", nargs="*", metavar="ID", help="only these (everything)")
    add_name(parser)


def _undo(args: argparse.Namespace, context: Context) -> Reply:
    with claimed(args.name, "undo") as cluster, context.interrupts.shielded():
        engine = _engine(cluster)
        chosen = args.injections
        reports = tuple(map(engine.undo, chosen)) if chosen else engine.undo_all()
    return Reply(
        exit_code=0,
        document={"schema": "graymesh/undo/1", "undone": [_undo_row(one) for one in reports]},
        text="\n".join(_undo_lines(reports)) or "nothing was injected",
    )


def _undo_row(report: UndoReport) -> dict[str, object]:
    return {
        "id": report.id,
        "fault": report.fault,
        "foreign": list(report.foreign),
        "differences": list(report.differences),
    }


def _undo_lines(reports: Iterable[UndoReport]) -> Iterable[str]:
    for one in reports:
        yield f"{one.fault} ({one.id}) is undone"
        yield from (f"  left alone, not graymesh's: {line}" for line in one.foreign)
        yield from (f"  remains: {line}" for line in one.differences)


def _recover_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser, default=None)
    parser.add_argument(
        "--all", action="store_true", help="every cluster (so it is without --name)"
    )


def _recover(args: argparse.Namespace, context: Context) -> Reply:
    """Finish what a killed graymesh left: on one cluster, or on all that left anything.

    With --name, a cluster that another run holds is an error; else it is left alone, for that run cleans up itself.
    """
    if args.name is not None:
        if args.all:
            raise UsageError("recover: --name and --all exclude each other")
        _must_exist(args.name)
        return _recovered([_recover_one(args.name, context)], [], {})
    reports: list[RecoverReport] = []
    busy: list[str] = []
    failed: dict[str, GraymeshError] = {}
    for name in names_with_state():
        try:
            reports.append(_recover_one(name, context))
        except ClusterBusyError as exc:
            busy.append(str(exc))
        except GraymeshError as exc:
            failed[name] = exc
    return _recovered(reports, busy, failed)


def _recover_one(name: str, context: Context) -> RecoverReport:
    context.console.progress(f"recovering {name}")
    with context.interrupts.shielded():
        return recover(name)


def _must_exist(name: str) -> None:
    running = [one.name for provider in PROVIDERS.values() for one in provider.list()]
    if name not in running and name not in names_with_state():
        raise UsageError(
            f"name: no cluster is called {name!r}, and none of that name left anything"
        )


def _recovered(
    reports: list[RecoverReport], busy: list[str], failed: dict[str, GraymeshError]
) -> Reply:
    worst = max(failed.values(), key=lambda exc: exc.exit_code, default=None)
    lines = [line for one in reports for line in _recover_lines(one)]
    return Reply(
        exit_code=worst.exit_code if worst else 0,
        document={
            "schema": "graymesh/recover/1",
            "clusters": [
                {
                    "cluster": one.cluster,
                    "undone": [_undo_row(report) for report in one.undone],
                    "note": one.note,
                }
                for one in reports
            ],
            "busy": busy,
            "failed": {name: error_part(exc) for name, exc in failed.items()},
        },
        text="\n".join([*lines, *busy]) or "there was nothing to recover",
        error="; ".join(str(exc) for exc in failed.values()) or None,
    )


def _recover_lines(report: RecoverReport) -> Iterable[str]:
    yield f"{report.cluster}: {report.note or f'{len(report.undone)} undone'}"
    yield from (f"  {line}" for line in _undo_lines(report.undone))


INJECT = Verb(arguments=_inject_arguments, run=_inject)
UNDO = Verb(arguments=_undo_arguments, run=_undo)
RECOVER = Verb(arguments=_recover_arguments, run=_recover)
