"""Deadlines and polling; the only module that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from clusters.errors import DeadlineExceededError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute moment on the monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    def sooner(self, seconds: float) -> Deadline:
        """A child's deadline: at most `seconds` from now, never later than this one."""
        return Deadline(min(self.at_s, time.monotonic() + seconds))


def poll_until(
    look: Callable[[], _T],
    *,
    until: Callable[[_T], bool] = bool,
    awaited: str,
    deadline: Deadline,
    every_s: float = 0.02,
) -> _T:
    """Call `look` until `until` accepts what it returns; return that.

    Raises DeadlineExceededError that says what was awaited, for how long, and what was last seen.
    """
    started_s = time.monotonic()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: not until(seen)),
        stop=tenacity.stop_when_event_set(_Expired(deadline)),  # type: ignore[arg-type]  # duck-typed Event
        wait=lambda _state: min(every_s, deadline.left_s()),
        sleep=time.sleep,
    )
    try:
        return retrying(look)
    except tenacity.RetryError as exc:
        seen = exc.last_attempt.result()
        waited_s = time.monotonic() - started_s
        raise DeadlineExceededError(
            f"waited {waited_s:.1f} s for {awaited}; last seen: {seen!r}"
        ) from None


def pause(seconds: float) -> None:
    """Let `seconds` pass, where passing time is the point (a rate, a hold), not a guess at readiness."""
    time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Expired:
    deadline: Deadline

    def is_set(self) -> bool:
        return self.deadline.left_s() <= 0.0
