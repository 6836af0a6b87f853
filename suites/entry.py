"""The `graymesh` command: answers --version at once, hands everything else to the verbs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; only `--help` of a verb ends by SystemExit."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words == ["--version"]:
        return _print_version()
    # Linear algebra threads are never used here, and one more thread would forbid joining a user namespace.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # an arrow must not end a run on a terminal without one
    from suites.cli.dispatch import dispatch  # noqa: PLC0415  # --version must not pay for it

    return dispatch(words, os.environ)


def _print_version() -> int:
    from importlib.metadata import version  # noqa: PLC0415  # not needed by any verb

    sys.stdout.write(f"graymesh {version('graymesh')}\n")
    return 0
