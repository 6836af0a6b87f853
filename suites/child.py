"""graymesh in a process of its own: one process can join one cluster's user namespace, once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from clusters.commands import exec_argv
from clusters.errors import SetupError

# -P: the directory the user stands in may hold packages of the same names.
_COMMAND: Final = (sys.executable, "-P", "-m", "suites")
_STDOUT: Final = 1
_STDERR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a call ended with. `said` is what it wrote to stderr where that was kept, else empty."""

    exit_code: int
    document: Mapping[str, object]
    said: str


def call(words: Sequence[str], *, quiet: bool) -> Called:
    """Run one verb to its end and read its document; `quiet` keeps what it says on stderr instead of showing it.

    Signals go to the child, which cleans up by itself; exit code 130 says that one came. For the main thread.
    Raises SetupError where the child leaves no document.
    """
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(_kept(_STDOUT))
        err = stack.enter_context(_kept(_STDERR)) if quiet else None
        exit_code = exec_argv([*_COMMAND, *words, "--json", "-"])
        said = _text(err) if err else ""
        document = _document(_text(out), said or f"`graymesh {words[0]}` ended with {exit_code}")
    return Called(exit_code=exit_code, document=document, said=said)


@contextlib.contextmanager
def _kept(descriptor: int) -> Iterator[IO[bytes]]:
    """Send what is written to a descriptor into memory for the block: a full disk must not keep `recover` from working."""
    before = os.dup(descriptor)
    try:
        with os.fdopen(os.memfd_create("graymesh-child"), "w+b") as file:
            os.dup2(file.fileno(), descriptor)
            try:
                yield file
            finally:
                os.dup2(before, descriptor)
    finally:
        os.close(before)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _document(text: str, said: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise SetupError(said.strip()) from exc
    if not isinstance(document, dict):
        raise SetupError(said.strip())
    return document
