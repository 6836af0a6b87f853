"""From the words of the command line to one verb; only that verb's module is imported."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from clusters.errors import GraymeshError, UsageError
from suites.cli.boundary import Boundary
from suites.cli.parsing import spoken, verb_parser
from suites.cli.reply import Reply, deliver, failed, json_target
from suites.cli.verb import Context, Verb
from suites.console import Console
from suites.interrupts import Interrupts


class Place(NamedTuple):
    """Where a verb lives."""

    module: str
    attribute: str
    summary: str


VERBS: Final[Mapping[str, Place]] = {
    "doctor": Place("machine", "DOCTOR", "what this machine can run, and the fix for each no"),
    "up": Place("lifecycle", "UP", "make a cluster"),
    "down": Place("lifecycle", "DOWN", "remove a cluster"),
    "list": Place("machine", "LIST", "list clusters, faults or scenarios"),
    "probe": Place("measure", "PROBE", "measure every pair of pods and replicas"),
    "audit": Place("measure", "AUDIT", "compare all nodes' tables; sends no packet"),
    "diagnose": Place("measure", "DIAGNOSE", "probe and audit: findings with repair commands"),
    "inject": Place("faults", "INJECT", "break something, provably"),
    "undo": Place("faults", "UNDO", "undo what was injected"),
    "recover": Place("faults", "RECOVER", "finish the clean-up that a killed graymesh left"),
    "run": Place("runs", "RUN", "run scenarios"),
    "exec": Place("execute", "EXEC", "run a command in a node's or pod's network namespace"),
    "node-image": Place(
        "images", "NODE_IMAGE", "build, list or remove the offline kind node image"
    ),
    "report": Place("runs", "REPORT", "show the report of a run folder again"),
}


def dispatch(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the verb that `argv` names and return the exit code. Prints, never raises."""
    console = Console(stream=sys.stderr, live=sys.stderr.isatty())
    interrupts = Interrupts()
    colour = sys.stdout.isatty() and not environ.get("NO_COLOR")
    context = Context(console=console, interrupts=interrupts, colour=colour)
    boundary = Boundary(console=console, debug=environ.get("GRAYMESH_DEBUG") == "1")
    with boundary, interrupts.installed():
        boundary.exit_code = _run(argv, context)
    console.finish()
    return boundary.exit_code


def _run(argv: Sequence[str], context: Context) -> int:
    if argv and argv[0] in {"-h", "--help"}:
        sys.stdout.write(usage())
        return 0
    name, verb = find(argv)
    args = _parsed(name, verb, argv[1:])
    with json_target(args.json) as target:
        reply = _ran(verb, args, context)
        if reply.error is not None:
            context.console.error(reply.error)
        deliver(reply, target)
    return reply.exit_code


def _ran(verb: Verb, args: argparse.Namespace, context: Context) -> Reply:
    try:
        return verb.run(args, context)
    except GraymeshError as exc:
        return failed(exc)
    except KeyboardInterrupt:
        return failed(context.interrupts.acknowledge())


def find(argv: Sequence[str]) -> tuple[str, Verb]:
    """The verb that the first word names. Raises UsageError that lists the verbs."""
    if not argv:
        raise UsageError(f"no verb given; expected {spoken(tuple(VERBS))}")
    name = argv[0]
    if name not in VERBS:
        raise UsageError(f"unknown verb {name!r}; expected {spoken(tuple(VERBS))}")
    place = VERBS[name]
    verb = getattr(importlib.import_module(f"suites.cli.{place.module}"), place.attribute)
    if not isinstance(verb, Verb):
        raise TypeError(f"{place.module}:{place.attribute} is no verb")
    return name, verb


def _parsed(name: str, verb: Verb, words: Sequence[str]) -> argparse.Namespace:
    """The verb's options; what follows `--` is the namespace's `command`, as it stands."""
    parser = verb_parser(name, VERBS[name].summary)
    verb.arguments(parser)
    dashes = words.index("--") if "--" in words else len(words)
    command = tuple(words[dashes + 1 :])
    if command and not verb.takes_command:
        raise UsageError(f"{name}: takes no command after --")
    return parser.parse_intermixed_args(list(words[:dashes]), argparse.Namespace(command=command))


def usage() -> str:
    """What `graymesh --help` prints."""
    width = max(len(name) for name in VERBS)
    lines = [f"  {name:<{width}}  {place.summary}" for name, place in VERBS.items()]
    return "\n".join(
        [
            "usage: graymesh VERB [options]   (graymesh VERB --help, graymesh --version)",
            "",
            *lines,
            "",
        ]
    )
