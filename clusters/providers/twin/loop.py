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

    def watch(self, fd: int, readable: Callback, writable: Callback | None = None) -> None:
        """Call `readable` whenever `fd` can be read, `writable` (where given) whenever it can be written."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, (readable, writable))
        else:
            self._selector.register(fd, events, (readable, writable))

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
            for key, events in self._selector.select(self._wait_s()):
                readable, writable = key.data
                if events & selectors.EVENT_READ:
                    readable()
                if writable and events & selectors.EVENT_WRITE and self._watched(key):
                    writable()
            self._run_due()

    def _watched(self, key: selectors.SelectorKey) -> bool:
        return self._selector.get_map().get(key.fd) is key

    def _wait_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_due(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()
