"""`exec`: a command in the network namespace of a node or pod."""

from __future__ import annotations

import argparse
import sys

from clusters.errors import SetupError, UsageError
from clusters.providers.base import Cluster, Executes
from clusters.topology import Inventory
from suites.cli.options import add_name
from suites.cli.parsing import spoken
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb
from suites.session import opened

_CAPTURED_S = 3600.0  # with --json the output is collected; nobody could answer a prompt


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("place", metavar="node/NAME|pod/NAME", help="where to run it")
    parser.usage = "graymesh exec [--name N] [--json FILE|-] node/NAME|pod/NAME -- CMD…"


def _run(args: argparse.Namespace, _context: Context) -> Reply:
    if not args.command:
        raise UsageError("exec: expected a command after --, as in node/n0 -- ip neigh")
    with opened(args.name) as cluster:
        place = _place(args.place, cluster.inventory())
        if args.json is None:
            return _handed_over(cluster, place, args.command)
        return _collected(cluster, args.place, place, args.command)


def _handed_over(cluster: Cluster, place: str, command: tuple[str, ...]) -> Reply:
    """The command has this process's terminal and streams."""
    if not isinstance(cluster, Executes):
        raise SetupError(f"{cluster.provider} cannot run commands in its nodes")
    sys.stdout.flush()
    return Reply(exit_code=cluster.exec_argv(place, command), document={}, text="")


def _collected(cluster: Cluster, word: str, place: str, command: tuple[str, ...]) -> Reply:
    done = cluster.run(place, command, timeout_s=_CAPTURED_S)
    sys.stderr.write(done.stderr)
    return Reply(
        exit_code=done.status,
        document={
            "schema": "graymesh/exec/1",
            "place": word,
            "argv": list(done.argv),
            "status": done.status,
            "stdout": done.stdout,
            "stderr": done.stderr,
        },
        text=done.stdout,
    )


def _place(word: str, inventory: Inventory) -> str:
    """The node, pod or replica that `node/NAME` or `pod/NAME` means. Raises UsageError that lists them."""
    kind, slash, name = word.partition("/")
    names = {
        "node": [one.name for one in inventory.nodes],
        "pod": [one.name for one in (*inventory.pods, *inventory.replicas)],
    }
    if not slash or kind not in names:
        raise UsageError(f"exec: expected node/NAME or pod/NAME, got {word!r}")
    if name not in names[kind]:
        raise UsageError(f"exec: {kind}: expected {spoken(names[kind])}, got {name!r}")
    return name


EXEC = Verb(arguments=_arguments, run=_run, takes_command=True)
