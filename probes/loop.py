"""The event loop of a sweep: descriptors and what is called when they are ready."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from probes.pulse import Pulse

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
_BATCH: Final = 256
_LONGEST_SLEEP_S: Final = 0.05

Callback = Callable[[int], None]  # called with the event mask


class Driver(Protocol):
    """One protocol's part in a wave. Times are CLOCK_REALTIME nanoseconds."""

    def launch(self, now_ns: int) -> bool:
        """Send a bounded piece of what is left; True where more could be sent at once."""

    def expire(self, now_ns: int) -> None:
        """Give up on what has been waited for long enough."""

    def due_ns(self) -> int | None:
        """When `launch` or `expire` is wanted next; None when nothing is under way."""

    def close(self) -> None:
        """Close what belongs to this wave only."""


class Loop:
    """One epoll object with a callback per descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def watch(self, fd: int, callback: Callback, events: int = READ) -> None:
        """Call `callback` whenever one of `events`, or an error, is there."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched descriptor."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that stays open."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def closing(self, fd: int) -> None:
        """Stop watching a descriptor that is closed at once (which takes it out of the epoll set)."""
        del self._callbacks[fd]

    def dispatch(self, timeout_s: float) -> bool:
        """Wait, then call back for what is ready. True where nothing more is known to be ready."""
        ready = self._epoll.poll(timeout_s, _BATCH)
        callbacks = self._callbacks
        for fd, events in ready:
            callback = callbacks.get(fd)
            if callback is not None:
                callback(events)
        return len(ready) < _BATCH

    def close(self) -> None:
        """Let go of the epoll object."""
        self._epoll.close()


def run(
    first: Sequence[Driver],
    then: Sequence[Driver],
    loop: Loop,
    pulse: Pulse,
    enough: Callable[[int], bool],
) -> None:
    """Drive a wave to its end, or until `enough` (asked with the time in ns) says so while only answers are awaited.

    `then` sends when `first` has nothing to send now. Answers that are there are always read before anything
    expires, so a prober that stood still does not take what waits in its sockets for lost.
    """
    asleep_s = 0.0
    while True:
        now_ns = pulse.beat(asleep_s)
        more = _launch(first, now_ns) or _launch(then, now_ns)
        due = [due_ns for part in (first, then) for driver in part if (due_ns := driver.due_ns())]
        if not more and (not due or enough(now_ns)):
            return
        asleep_s = 0.0 if more else _sleep_s(min(due), pulse.beat())
        if loop.dispatch(asleep_s):
            now_ns = pulse.beat(asleep_s)
            asleep_s = 0.0
            for driver in (*first, *then):
                driver.expire(now_ns)


def _launch(drivers: Sequence[Driver], now_ns: int) -> bool:
    launched = [driver.launch(now_ns) for driver in drivers]  # every one gets its turn
    return any(launched)


def _sleep_s(due_ns: int, now_ns: int) -> float:
    return min(max((due_ns - now_ns) / 1e9, 0.0), _LONGEST_SLEEP_S)
