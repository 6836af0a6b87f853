"""The phases of a run: named, timed, and what ended them."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from clusters.errors import GraymeshError
from suites.console import Console
from suites.interrupts import Interrupts
from suites.record import PhaseRecord, Record
from suites.report.folder import RunFolder


class UnexpectedError(GraymeshError):
    """A bug of graymesh or a refusal of the system in the middle of a run; the clean-up still runs."""


@dataclass(slots=True)
class Note:
    """What a phase wants said about itself."""

    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Phases:
    """Runs the phases of one run and keeps the account of them."""

    record: Record
    console: Console
    interrupts: Interrupts
    folder: RunFolder | None
    _started_s: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def run_phase(self, name: str) -> Iterator[Note]:
        """One phase. Whatever ends it is recorded and raised as a GraymeshError: UnexpectedError for what nobody foresaw."""
        note, started_s = Note(), time.monotonic()
        self._event("phase-begins", name)
        self.console.progress(f"{name} …")
        try:
            yield note
            self.interrupts.check()
        except KeyboardInterrupt as exc:
            error = self.interrupts.acknowledge()
            self._end(name, started_s, "interrupted", str(error))
            raise error from exc
        except GraymeshError as exc:
            self._end(name, started_s, "failed", str(exc))
            raise
        except (
            Exception
        ) as exc:  # one of the two allowed: an unforeseen error must not skip undo and report
            self._end(name, started_s, "failed", traceback.format_exc())
            raise UnexpectedError(f"unexpected in phase {name}: {exc!r}") from exc
        self._end(name, started_s, "done", note.detail)

    def _end(
        self,
        name: str,
        started_s: float,
        outcome: Literal["done", "failed", "interrupted"],
        detail: str,
    ) -> None:
        duration_s = time.monotonic() - started_s
        phase = PhaseRecord(
            name=name,
            started_s=started_s - self._started_s,
            duration_s=duration_s,
            outcome=outcome,
            detail=detail,
        )
        self.record.phases.append(phase)
        self._event(f"phase-{outcome}", name, detail)
        first = f": {detail.splitlines()[0]}" if detail and outcome == "done" else ""
        self.console.step(f"{name} {outcome} in {duration_s:.2f} s{first}")

    def _event(self, event: str, phase: str, detail: str = "") -> None:
        if self.folder is not None:
            self.folder.event(event, phase=phase, detail=detail)
