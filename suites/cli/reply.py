"""What a verb hands back, and how it reaches stdout and the `--json` file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clusters.errors import GraymeshError, SetupError, UsageError
from suites.report.errors import error_part

_CLAIM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A verb's result: exit code, JSON document, text for a person, and the error line where one ended it."""

    exit_code: int
    document: Mapping[str, object]
    text: str
    error: str | None = None


def failed(error: GraymeshError) -> Reply:
    """The reply of a verb that an expected error ended."""
    return Reply(
        exit_code=error.exit_code,
        document={"schema": "graymesh/error/1", "error": error_part(error)},
        text="",
        error=str(error),
    )


@contextlib.contextmanager
def json_target(path: str | None) -> Iterator[TextIO | None]:
    """Open where the document goes *before* the work starts; None where there is none.

    Raises UsageError where the path cannot be written, SetupError where there is no room for a document.
    """
    if path is None:
        yield None
    elif path == "-":
        yield sys.stdout
    else:
        file = _claimed(path)
        try:
            yield file
        finally:
            with contextlib.suppress(
                OSError
            ):  # said already, by the write that could not be flushed
                file.close()


def _claimed(path: str) -> TextIO:
    there = Path(path).exists()
    try:
        file = open(path, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # the caller closes it
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise UsageError(f"--json: cannot write {path!r}: {reason}") from exc
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.posix_fallocate(file.fileno(), 0, _CLAIM_BYTES)
            file.truncate(0)
    except OSError as exc:
        file.close()
        if not there:
            Path(path).unlink(missing_ok=True)
        raise SetupError(f"--json: cannot write {path!r}: {exc.strerror}") from exc
    return file


def deliver(reply: Reply, target: TextIO | None) -> None:
    """Write the document to its target, and the text to stdout unless the document stands there.

    A reader that went away is no error. Raises SetupError where the file could not take it all.
    """
    if target is not None:
        _write(target, json.dumps(reply.document, ensure_ascii=False) + "\n")
    if target is not sys.stdout and reply.text:
        _write(sys.stdout, reply.text if reply.text.endswith("\n") else reply.text + "\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # What Python would flush at exit goes nowhere, without a message about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as exc:
        raise SetupError(f"cannot write {stream.name!r}: {exc.strerror}") from exc
