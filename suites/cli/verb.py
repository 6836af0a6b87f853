"""What a verb is: its options, and what it does with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from suites.cli.reply import Reply
from suites.console import Console
from suites.interrupts import Interrupts


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every verb is given: where to report progress, signals, whether stdout takes colour."""

    console: Console
    interrupts: Interrupts
    colour: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """`arguments` adds the verb's options to a parser; `run` does the work; a command may follow `--`."""

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Context], Reply]
    takes_command: bool = False


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """For a verb that takes only what every verb takes."""
