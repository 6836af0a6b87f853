"""The run folder: events while a run goes, the result and its evidence at the end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from clusters.errors import SetupError, UsageError
from suites.report.document import VerdictDocument
from suites.report.junit import junit
from suites.report.terminal import render

VERDICT: Final = "verdict.json"
_EVENTS: Final = "events.jsonl"
_ROOM: Final = ".room"
_ROOM_BYTES: Final = 1 << 20


class RunFolder:
    """One run's directory.

    Made before anything else, with room set aside for the result, so that a run which cannot be recorded does not
    start. What fails to be written later (a disk that fills up) does not end the run: `incomplete` says so.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        """Create or take over the directory.

        Raises UsageError where it cannot be written or holds something else, SetupError where there is no room.
        """
        self.path = path
        self.incomplete: str | None = None
        self._run_id = run_id
        self._started_s = time.monotonic()
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(path)
            _set_room_aside(path / _ROOM)
            (path / _EVENTS).write_text("")
        except OSError as exc:
            _leave_nothing(path)
            raise _unusable(path, exc) from exc

    def event(self, name: str, **fields: str | float | None) -> None:
        """Append one state change, with seconds since the run's begin."""
        at_s = round(time.monotonic() - self._started_s, 4)
        line = {"at_s": at_s, "time": time.time(), "run_id": self._run_id, "event": name, **fields}
        self._keep(_EVENTS, json.dumps(line) + "\n", append=True)

    def evidence(self, name: str, document: Mapping[str, object]) -> None:
        """Keep one piece of evidence as `evidence/NAME.json`."""
        self._keep(f"evidence/{name}.json", json.dumps(document, indent=1) + "\n")

    def finish(self, document: VerdictDocument) -> None:
        """Write the result in its three forms."""
        (self.path / _ROOM).unlink(missing_ok=True)
        self._keep(VERDICT, json.dumps(document, indent=1) + "\n")
        self._keep("junit.xml", junit([document]))
        self._keep("report.txt", render(document))

    def _keep(self, name: str, text: str, *, append: bool = False) -> None:
        target = self.path / name
        try:
            target.parent.mkdir(exist_ok=True)
            with target.open("a" if append else "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as exc:
            self.incomplete = self.incomplete or f"{target}: {exc.strerror}"


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if names and _EVENTS not in names:
        raise UsageError(
            f"--out: {str(path)!r} holds other files; expected a new or empty directory"
        )


def _set_room_aside(path: Path) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)


def _leave_nothing(path: Path) -> None:
    """Take back a directory that could only be half made."""
    with contextlib.suppress(OSError):
        (path / _ROOM).unlink(missing_ok=True)
        path.rmdir()  # only if it is empty, so never an earlier run's


def _unusable(path: Path, exc: OSError) -> SetupError | UsageError:
    text = f"--out: cannot write {str(path)!r}: {exc.strerror}"
    full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    return SetupError(text) if full else UsageError(text)


def read_verdict(path: Path) -> VerdictDocument:
    """The document of a run folder. Raises UsageError where there is none, or it is damaged or of a newer schema."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # slow to import, used here only

    source = path / VERDICT
    try:
        return TypeAdapter(VerdictDocument).validate_json(source.read_bytes())
    except OSError as exc:
        raise UsageError(f"{str(path)!r} is no run folder: {source.name}: {exc.strerror}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"{str(source)!r} is no graymesh/verdict/1 document: {where}: {first['msg']}"
        ) from exc
