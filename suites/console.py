"""What a person sees on stderr while a verb works."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"


@dataclass(slots=True, kw_only=True)
class Console:
    """Progress on stderr: one live line where it is a terminal, plain lines else.

    Writing never fails: a closed stderr must not end a run that has something to undo.
    """

    stream: TextIO
    live: bool
    _shown: bool = False

    def step(self, text: str) -> None:
        """Say that a step began or ended; stays visible."""
        self._write(f"{self._clear()}{text}\n")

    def progress(self, text: str) -> None:
        """Say how far a long step is; replaced by the next thing said, and left out of a log file."""
        if self.live:
            self._write(f"{_CLEAR_LINE}{text}")
            self._shown = True

    def error(self, text: str) -> None:
        """Say in one line what went wrong."""
        self.step(f"graymesh: {' '.join(text.split())}")

    def finish(self) -> None:
        """Leave no half line behind."""
        self._write(self._clear())

    def _clear(self) -> str:
        shown, self._shown = self._shown, False
        return _CLEAR_LINE if shown else ""

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()
