"""`run` and `report`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final, cast

from clusters.errors import UsageError
from clusters.providers.base import ClusterSpec
from suites.child import call
from suites.cli.options import (
    add_name,
    add_probing,
    add_seed,
    add_shape,
    new_run_id,
    probing_words,
    seed_of,
    shape_given,
    shape_words,
    spec_of,
)
from suites.cli.parsing import known
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.record import RunRequest
from suites.report.document import VerdictDocument
from suites.report.folder import RunFolder, read_verdict
from suites.report.run_document import run_document
from suites.report.terminal import render
from suites.runner import run
from suites.scenario import Scenario
from suites.scenarios import SCENARIOS

# Which run's exit code stands for all: the first of these that occurs.
_WORST_FIRST: Final = (130, 5, 4, 2, 1, 3, 0)
_INTERRUPTED: Final = 130


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="see list scenarios")
    add_name(parser, default=None)
    add_shape(parser)
    add_probing(parser)
    add_seed(parser)
    parser.add_argument(
        "--prove", action="store_true", help="repair and break again what was found"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep result, events and evidence here"
    )


def _run(args: argparse.Namespace, context: Context) -> Reply:
    for name in args.scenarios:
        known("scenario", name, SCENARIOS)
    if args.name is not None and shape_given(args):
        raise UsageError(f"run: {shape_given(args)[0]} is for a fresh cluster, not with --name")
    seed = seed_of(args)
    chosen = [SCENARIOS[name] for name in args.scenarios]
    requests = [_request(args, scenario, seed) for scenario in chosen]
    if len(requests) == 1:
        return _single(requests[0], args.out, context)
    return _several(requests, args.out, context)


def _request(args: argparse.Namespace, scenario: Scenario, seed: int) -> RunRequest:
    run_id = new_run_id()
    spec = spec_of(args, name=args.name or run_id, dialect=scenario.dialects[0])
    if args.name is None:
        scenario.check_spec(spec)
        spec = replace(spec, owner_pid=os.getpid(), replica_nodes=_placed(scenario, spec, seed))
    shape = ("--name", args.name) if args.name else shape_words(spec)
    proving = ("--prove",) if args.prove else ()
    return RunRequest(
        scenario=scenario,
        run_id=run_id,
        seed=seed,
        spec=spec,
        words=("run", scenario.name, *shape, *probing_words(args), "--seed", str(seed), *proving),
        name=args.name,
        prove=args.prove,
        full=args.full,
        protocols=args.protocols,
        count=args.count,
        timeout_s=args.timeout,
    )


def _placed(scenario: Scenario, spec: ClusterSpec, seed: int) -> tuple[int, ...] | None:
    if scenario.place is None:
        return None
    return scenario.place(spec, Random(seed))  # noqa: S311  # a choice of nodes, not a secret


def _single(request: RunRequest, out: Path | None, context: Context) -> Reply:
    folder = RunFolder(out, request.run_id) if out else None
    context.console.step(f"{request.run_id}: {request.scenario.name}, seed {request.seed}")
    record = run(request, console=context.console, interrupts=context.interrupts, folder=folder)
    document = run_document(record)
    if folder is not None:
        folder.finish(document)
        if folder.incomplete:
            context.console.step(f"the run folder is incomplete: {folder.incomplete}")
    return Reply(
        exit_code=record.exit_code,
        document=document,
        text=render(document, colour=context.colour),
        error=str(record.error) if record.error else None,
    )


def _several(requests: Sequence[RunRequest], out: Path | None, context: Context) -> Reply:
    """Each in a process of its own, one after the other; an interrupted one is the last."""
    documents: list[VerdictDocument] = []
    codes: list[int] = []
    for request in requests:
        called = call(_words(request, out), quiet=False)
        documents.append(cast("VerdictDocument", called.document))
        codes.append(called.exit_code)
        if called.exit_code == _INTERRUPTED:
            break
    return Reply(
        exit_code=next((code for code in _WORST_FIRST if code in codes), max(codes)),
        document={"schema": "graymesh/runs/1", "runs": documents},
        text="\n".join(render(one, colour=context.colour) for one in documents),
    )


def _words(request: RunRequest, out: Path | None) -> tuple[str, ...]:
    kept = ("--out", str(out / request.scenario.name)) if out else ()
    return (*request.words, *kept)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN_DIR", help="what run --out made")


def _report(args: argparse.Namespace, context: Context) -> Reply:
    document = read_verdict(args.folder)
    return Reply(exit_code=0, document=document, text=render(document, colour=context.colour))


RUN = Verb(arguments=_run_arguments, run=_run)
REPORT = Verb(arguments=_report_arguments, run=_report)
