"""`probe`, `audit` and `diagnose`: look and judge, change nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from suites.cli.options import add_name, add_probing, add_seed, new_run_id, seed_of
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.report.json import verdict_document
from suites.report.terminal import render
from suites.session import opened

if TYPE_CHECKING:
    from suites.measuring import Look, Probing

EXIT: Final = {"pass": 0, "fail": 1, "unknown": 3}


def _probing_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_probing(parser)
    add_seed(parser)


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)


def _probe(args: argparse.Namespace, context: Context) -> Reply:
    seed = seed_of(args)
    with opened(args.name) as cluster:
        from suites import measuring  # noqa: PLC0415  # the prober may start threads: open first

        seen = measuring.look_by_probing(cluster, _probing(args, seed), context.console.progress)
        return _reply(seen, seed=seed, full=args.full, colour=context.colour)


def _audit(args: argparse.Namespace, context: Context) -> Reply:
    with opened(args.name) as cluster:
        from suites import measuring  # noqa: PLC0415  # as above

        return _reply(measuring.look_at_tables(cluster), seed=0, full=False, colour=context.colour)


def _diagnose(args: argparse.Namespace, context: Context) -> Reply:
    seed = seed_of(args)
    with opened(args.name) as cluster:
        from suites import measuring  # noqa: PLC0415  # as above

        seen = measuring.look(cluster, _probing(args, seed), context.console.progress)
        return _reply(seen, seed=seed, full=args.full, colour=context.colour)


def _probing(args: argparse.Namespace, seed: int) -> Probing:
    from suites.measuring import Probing  # noqa: PLC0415  # as above

    return Probing(
        protocols=args.protocols,
        count=args.count,
        timeout_s=args.timeout,
        seed=seed,
        full=args.full,
    )


def _reply(seen: Look, *, seed: int, full: bool, colour: bool) -> Reply:
    from suites.measuring import grid_parts, judged  # noqa: PLC0415  # as above

    result = judged(seen)
    document = verdict_document(
        run_id=new_run_id(),
        seed=seed,
        inventory=seen.inventory,
        judgement=result.judgement,
        timing=result.timing,
        observation=seen.observation,
        grids=grid_parts(seen),
        full=full,
    )
    return Reply(
        exit_code=EXIT[document["verdict"]],
        document=document,
        text=render(document, colour=colour),
    )


PROBE = Verb(arguments=_probing_arguments, run=_probe)
AUDIT = Verb(arguments=_audit_arguments, run=_audit)
DIAGNOSE = Verb(arguments=_probing_arguments, run=_diagnose)
