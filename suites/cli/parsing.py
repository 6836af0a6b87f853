"""Command line words to typed values; every complaint is one line that names the field."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from typing import Final, NoReturn

from clusters.errors import UsageError
from clusters.places import checked_name

_SPOKEN: Final = 20


class Parser(argparse.ArgumentParser):
    """A parser whose errors are UsageError, one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        verb = self.prog.removeprefix("graymesh ")
        raise UsageError(f"{verb}: {message.removeprefix('argument ')}")


def verb_parser(verb: str, summary: str) -> Parser:
    """A parser for one verb: no abbreviations, `--json` known everywhere."""
    parser = Parser(prog=f"graymesh {verb}", description=summary, allow_abbrev=False)
    parser.add_argument(
        "--json",
        metavar="FILE|-",
        help="write the result as one JSON document to FILE, or with - alone to stdout",
    )
    return parser


def cluster_name(text: str) -> str:
    """A cluster's name: it becomes part of a path and of a socket's name."""
    try:
        return checked_name(text)
    except UsageError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number within bounds."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {text!r}")
        return value

    return parse


def seconds(text: str) -> float:
    """A positive time in seconds, at most an hour."""
    value = _float(text)
    if value is None or not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 3600, got {text!r}")
    return value


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"expected {spoken(choices)}, got {text!r}")
        return text

    return parse


def several_of(choices: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A comma list of distinct words out of a few."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(word for word in text.split(",") if word))
        strange = [word for word in words if word not in choices]
        if strange or not words:
            got = strange[0] if strange else text
            raise argparse.ArgumentTypeError(f"expected some of {','.join(choices)}, got {got!r}")
        return words

    return parse


def key_values(verb: str, words: Sequence[str]) -> dict[str, str]:
    """`key=value` words as a mapping. Raises UsageError for a word without `=` and for a repeated key."""
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{verb}: expected key=value, got {word!r}")
        if key in values:
            raise UsageError(f"{verb}: parameter {key!r} is given twice")
        values[key] = value
    return values


def known(kind: str, name: str, names: Collection[str]) -> None:
    """Raise UsageError that lists what there is, unless `name` is one of `names`."""
    if name not in names:
        raise UsageError(f"unknown {kind} {name!r}; expected {spoken(tuple(names))}")


def spoken(words: Sequence[str]) -> str:
    """Words as a sentence has them: "a, b or c"; of very many only the first ones."""
    if not words:
        return "nothing"
    if len(words) > _SPOKEN:
        return f"one of {', '.join(words[:_SPOKEN])} … ({len(words)} in all)"
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
