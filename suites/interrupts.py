"""Signals that end a run: raised once as an error, held back while clean-up works."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

from clusters.errors import InterruptedRunError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The first signal raises InterruptedRunError in the main thread; every later one is ignored.

    Later ones are ignored because the first has started the clean-up, which has its own deadline: an
    impatient second Ctrl-C must not leave a broken cluster behind.
    """

    def __init__(self) -> None:
        self._first: str | None = None
        self._raised = False
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
        self._raise_pending()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = signal.Signals(number).name
        self._raise_pending()

    def _raise_pending(self) -> None:
        if self._first is None or self._raised or self._shields:
            return
        self._raised = True
        raise InterruptedRunError(f"interrupted by {self._first}")
