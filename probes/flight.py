"""What is under way of one protocol: how much may be, and when it has been waited for long enough."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Sent(Protocol):
    """Something sent, awaiting its answer."""

    sent_ns: int
    young: bool  # counts towards the window
    open: bool


_T = TypeVar("_T", bound=Sent)


@dataclass(slots=True, kw_only=True)
class Flight(Generic[_T]):
    """Bounds what is under way to `window`, so that no buffer on the way overflows.

    What stays unanswered for `age_ns` no longer counts: it is lost, or out of every buffer, and a dead
    destination must not hold up the rest. It expires after `timeout_ns`.
    """

    window: int
    age_ns: int
    timeout_ns: int
    young: int = 0
    under_way: int = 0
    _ageing: deque[_T] = field(default_factory=deque)
    _expiring: deque[_T] = field(default_factory=deque)

    def room(self, now_ns: int) -> int:
        """How many more may be sent now."""
        ageing, before_ns = self._ageing, now_ns - self.age_ns
        while ageing and (not ageing[0].open or ageing[0].sent_ns <= before_ns):
            oldest = ageing.popleft()
            if oldest.young:
                oldest.young = False
                self.young -= 1
        return max(self.window - self.young, 0)

    def add(self, item: _T) -> None:
        """One more is under way."""
        self.young += 1
        self.under_way += 1
        self._ageing.append(item)
        self._expiring.append(item)

    def done(self, item: _T) -> None:
        """That one is over, whatever became of it."""
        item.open = False
        self.under_way -= 1
        if item.young:
            item.young = False
            self.young -= 1

    def expired(self, now_ns: int) -> list[_T]:
        """Those waited for long enough; the caller calls `done` for each."""
        found: list[_T] = []
        expiring = self._expiring
        while expiring and (not expiring[0].open or expiring[0].sent_ns + self.timeout_ns < now_ns):
            oldest = expiring.popleft()
            if oldest.open:
                found.append(oldest)
        return found

    def due_ns(self) -> int | None:
        """When the oldest expires; None when nothing is under way."""
        expiring = self._expiring
        while expiring and not expiring[0].open:
            expiring.popleft()
        return expiring[0].sent_ns + self.timeout_ns + 1 if expiring else None

    def opens_ns(self) -> int | None:
        """When the oldest that counts stops doing so; None when nothing counts."""
        return self._ageing[0].sent_ns + self.age_ns if self._ageing else None
