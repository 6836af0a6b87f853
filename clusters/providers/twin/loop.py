"""The holder's event loop: descriptors that became ready, moments that have come, nothing else."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Callback = Callable[[], None]


@dataclass(slots=True)
class Loop:
    """Single-threaded; a callback must not block for long."""

    _selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    _timers: list[tuple[float, int, Callback]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _stopped: bool = False

    def watch(self, fd: int, readable: Callback) -> None:
        """Call back whenever `fd` can be read; replaces what was watched of it before."""
        self._set(fd, selectors.EVENT_READ, readable)

    def watch_writable(self, fd: int, writable: Callback) -> None:
        """Call back whenever `fd` can be written; replaces what was watched of it before."""
        self._set(fd, selectors.EVENT_WRITE, writable)

    def _set(self, fd: int, events: int, callback: Callback) -> None:
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; call before closing it. Idempotent."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def after(self, seconds: float, callback: Callback) -> None:
        """Call back once, `seconds` from now."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))

    def stop(self) -> None:
        """Let `run` return after the present callback."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        while not self._stopped:
            for key, _events in self._selector.select(self._wait_s()):
                if self._watched(key):
                    key.data()
            self._run_due()

    def _watched(self, key: selectors.SelectorKey) -> bool:
        """Whether no earlier callback of this turn has ended or changed this watch."""
        return self._selector.get_map().get(key.fd) is key

    def _wait_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_due(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()
