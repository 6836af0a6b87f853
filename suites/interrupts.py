"""Signals that end a run: raised once as KeyboardInterrupt, held back while clean-up works."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

from clusters.errors import InterruptedRunError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The first signal raises KeyboardInterrupt in the main thread; every later one is ignored.

    KeyboardInterrupt, because whoever handles expected errors on the way must not take it for one of them. Later ones
    are ignored because the first has started the clean-up, which has its own deadline: an impatient second Ctrl-C
    must not leave a broken cluster behind.
    """

    def __init__(self) -> None:
        self._first: str | None = None
        self._acknowledged = False
        self._shields = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[Interrupts]:
        """Handle the signals inside the block; afterwards the handlers are those from before."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Hold signals back inside the block; one that came is raised after it, unless the block failed."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt where a signal came and nobody has acknowledged it.

        Python drops what a signal handler raises inside a callback of the interpreter (a finalizer, for one).
        """
        if self._first is not None and not self._acknowledged and not self._shields:
            raise KeyboardInterrupt(self._first)

    def acknowledge(self) -> InterruptedRunError:
        """Take note of the signal, so that it is raised no more; the error that stands for it."""
        self._acknowledged = True
        return InterruptedRunError(f"interrupted by {self._first or signal.SIGINT.name}")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = signal.Signals(number).name
            self.check()
