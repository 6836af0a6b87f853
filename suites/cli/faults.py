"""`inject`, `undo` and `recover`: the ledgered ways to break and to mend."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final, cast

from chaos.engine import Engine, recover
from chaos.model import Injection, RecoverReport, UndoReport
from chaos.registry import FAULTS
from clusters.errors import ClusterBusyError, UsageError
from clusters.ledger import Ledger
from clusters.places import names_with_state
from clusters.providers.base import Cluster
from clusters.providers.registry import PROVIDERS
from suites.child import call
from suites.cli.options import add_name, command_line, new_run_id
from suites.cli.parsing import key_values, known, seconds
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.report.document import ErrorPart, RecoverRow, UndoRow
from suites.report.run_document import change_row, injected_row
from suites.session import claimed

_RECOVERED: Final = "graymesh/recover/1"


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
    rows = [_undo_row(one) for one in reports]
    return Reply(
        exit_code=0,
        document={"schema": "graymesh/undo/1", "undone": rows},
        text="\n".join(_undo_lines(rows)) or "nothing was injected",
    )


def _undo_row(report: UndoReport) -> UndoRow:
    return {
        "id": report.id,
        "fault": report.fault,
        "foreign": list(report.foreign),
        "differences": list(report.differences),
    }


def _undo_lines(rows: Iterable[UndoRow]) -> Iterable[str]:
    for one in rows:
        yield f"{one['fault']} ({one['id']}) is undone"
        yield from (f"  left alone, not graymesh's: {line}" for line in one["foreign"])
        yield from (f"  remains: {line}" for line in one["differences"])


def _recover_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser, default=None)
    parser.add_argument(
        "--all", action="store_true", help="every cluster (so it is without --name)"
    )


def _recover(args: argparse.Namespace, context: Context) -> Reply:
    """Finish what a killed graymesh left: on one cluster, or on all that left anything.

    With --name, a cluster that another run holds is an error; else it is left alone, for that run cleans up itself.
    """
    if args.name is None:
        return _recover_all(context)
    if args.all:
        raise UsageError("recover: --name and --all exclude each other")
    _must_exist(args.name)
    with context.interrupts.shielded():
        report = recover(args.name)
    return Reply(
        exit_code=0,
        document={
            "schema": _RECOVERED,
            "clusters": [_recover_row(report)],
            "busy": [],
            "failed": {},
        },
        text="\n".join(_recover_lines(_recover_row(report))),
    )


def _must_exist(name: str) -> None:
    running = [one.name for provider in PROVIDERS.values() for one in provider.list()]
    if name not in running and name not in names_with_state():
        raise UsageError(
            f"name: no cluster is called {name!r}, and none of that name left anything"
        )


def _recover_all(context: Context) -> Reply:
    """Each cluster in a process of its own: one process can join one user namespace only."""
    rows: list[RecoverRow] = []
    busy: list[str] = []
    failed: dict[str, ErrorPart] = {}
    for name in names_with_state():
        context.console.progress(f"recovering {name}")
        called = call(["recover", "--name", name], quiet=True)
        error = cast("ErrorPart | None", called.document.get("error"))
        if error is None:
            rows += cast("list[RecoverRow]", called.document["clusters"])
        elif error["kind"] == ClusterBusyError.__name__:
            busy.append(error["message"])
        elif error["kind"] == UsageError.__name__:
            continue  # its revert timer was quicker: by now there is neither a cluster nor anything left of it
        else:
            failed[name] = error
    lines = [*(line for row in rows for line in _recover_lines(row)), *busy]
    return Reply(
        exit_code=max((one["exit_code"] for one in failed.values()), default=0),
        document={"schema": _RECOVERED, "clusters": rows, "busy": busy, "failed": failed},
        text="\n".join(lines) or "there was nothing to recover",
        error="; ".join(one["message"] for one in failed.values()) or None,
    )


def _recover_row(report: RecoverReport) -> RecoverRow:
    return {
        "cluster": report.cluster,
        "undone": [_undo_row(one) for one in report.undone],
        "note": report.note,
    }


def _recover_lines(row: RecoverRow) -> Iterable[str]:
    yield f"{row['cluster']}: {row['note'] or str(len(row['undone'])) + ' undone'}"
    yield from (f"  {line}" for line in _undo_lines(row["undone"]))


INJECT = Verb(arguments=_inject_arguments, run=_inject)
UNDO = Verb(arguments=_undo_arguments, run=_undo)
RECOVER = Verb(arguments=_recover_arguments, run=_recover)
