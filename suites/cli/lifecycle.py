"""`up` and `down`."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from clusters.errors import GraymeshError, UsageError
from clusters.lock import held
from clusters.places import remove_state_dir
from clusters.providers.registry import PROVIDERS, provider_of
from clusters.topology import Inventory
from suites.cli.options import DEFAULT_NAME, add_name, add_owner, add_shape, command_line, spec_of
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.report.errors import error_part
from suites.report.json import cluster_part
from suites.session import opened, provider_named


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_shape(parser)
    add_owner(parser)


def _up(args: argparse.Namespace, context: Context) -> Reply:
    spec = replace(spec_of(args, name=args.name), owner_pid=args.owner_pid)
    started_s = time.perf_counter()
    with held(spec.name, "up"):
        provider_named(spec.provider).up(spec, progress=context.console.progress)
    up_s = time.perf_counter() - started_s
    with opened(spec.name) as cluster:
        inventory = cluster.inventory()
    return Reply(
        exit_code=0,
        document={
            "schema": "graymesh/up/1",
            "cluster": cluster_part(inventory),
            "up_s": round(up_s, 4),
        },
        text=_described(inventory, up_s),
    )


def _described(inventory: Inventory, up_s: float) -> str:
    name = () if inventory.name == "default" else ("--name", inventory.name)
    placed = ", ".join(f"{one.name} on {one.node}" for one in inventory.replicas)
    shape = f"{len(inventory.nodes)} nodes, {len(inventory.pods)} pods ({inventory.dialect})"
    return (
        f"{inventory.provider} {inventory.name} is up after {up_s:.2f} s: {shape}\n"
        f"replicas: {placed}; VIP {inventory.vip}\n"
        f"next: {command_line('diagnose', *name)}, {command_line('down', *name)}"
    )


UP = Verb(arguments=_up_arguments, run=_up)


def _down_arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser, default=None)
    parser.add_argument("--all", action="store_true", help="every cluster of this user")


def _down(args: argparse.Namespace, context: Context) -> Reply:
    """Remove one cluster, or all; one that cannot be removed does not keep the others."""
    if args.all and args.name:
        raise UsageError("down: --name and --all exclude each other")
    if not args.all:
        name = args.name or DEFAULT_NAME
        _remove(name, context)
        return _downed([name], {})
    gone: list[str] = []
    failed: dict[str, GraymeshError] = {}
    for summary in (one for provider in PROVIDERS.values() for one in provider.list()):
        try:
            _remove(summary.name, context)
            gone.append(summary.name)
        except GraymeshError as exc:
            failed[summary.name] = exc
    return _downed(gone, failed)


def _remove(name: str, context: Context) -> None:
    provider = provider_of(name)
    with held(name, "down"), context.interrupts.shielded():
        context.console.progress(f"removing {name}")
        provider.down(name)
        remove_state_dir(name)


def _downed(gone: list[str], failed: dict[str, GraymeshError]) -> Reply:
    worst = max(failed.values(), key=lambda exc: exc.exit_code, default=None)
    return Reply(
        exit_code=worst.exit_code if worst else 0,
        document={
            "schema": "graymesh/down/1",
            "down": gone,
            "failed": {name: error_part(exc) for name, exc in failed.items()},
        },
        text="\n".join(f"{name} is gone" for name in gone) or "there was nothing to remove",
        error="; ".join(str(exc) for exc in failed.values()) or None,
    )


DOWN = Verb(arguments=_down_arguments, run=_down)
