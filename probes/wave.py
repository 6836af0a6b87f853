"""The probes that are sent together: one row each, filled in by the protocols, in numpy arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from probes.decide import fails_at
from probes.mmsg import I64
from probes.outcome import Outcome, by_errno


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Rows are probes; those of target t are `first[t]` to `first[t + 1]`.

    `token` is random, so that no answer to an earlier wave or to another prober is taken for one of these.
    Times are CLOCK_REALTIME nanoseconds, the clock of the kernel's receive timestamps; 0 = never.
    """

    token: int
    timeout_ns: int
    first: I64
    target: I64
    sent_ns: I64
    done_ns: I64
    outcome: npt.NDArray[np.uint8]
    reasons: dict[int, str] = field(default_factory=dict)  # target → why its probes are void
    answered: list[tuple[int, str]] = field(
        default_factory=list
    )  # (target, replica) of VIP answers

    @classmethod
    def of(cls, counts: Sequence[int] | I64, *, token: int, timeout_s: float) -> Wave:
        """A wave with `counts[t]` probes for target t, none sent yet."""
        sizes = np.asarray(counts, np.int64)
        first = np.concatenate(([0], np.cumsum(sizes)))
        total = int(first[-1])
        return cls(
            token=token,
            timeout_ns=int(timeout_s * 1e9),
            first=first,
            target=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
            sent_ns=np.zeros(total, np.int64),
            done_ns=np.zeros(total, np.int64),
            outcome=np.zeros(total, np.uint8),
        )

    def probes_of(self, target: int) -> range:
        """The rows of one target."""
        return range(int(self.first[target]), int(self.first[target + 1]))

    def count(self, target: int) -> int:
        """How many probes one target has."""
        return int(self.first[target + 1] - self.first[target])

    def arrived(self, probes: I64, times_ns: I64) -> int:
        """Mark those of `probes` that are still pending as answered at these times; return how many were.

        An answer that came later than the timeout after its probe leaves the probe pending: it times out.
        """
        fresh = self.outcome[probes] == Outcome.PENDING
        fresh &= times_ns - self.sent_ns[probes] <= self.timeout_ns
        if not fresh.all():
            probes, times_ns = probes[fresh], times_ns[fresh]
        self.outcome[probes] = Outcome.OK
        self.done_ns[probes] = times_ns
        return len(probes)

    def void(self, probe: int, reason: str) -> None:
        """Take one probe out of the sample: the prober could not send or count it."""
        self.outcome[probe] = Outcome.VOID
        self.reasons.setdefault(int(self.target[probe]), reason)

    def refused(self, probe: int, now_ns: int, code: int | None) -> Outcome:
        """The kernel answered a send or receive of this probe with that errno."""
        outcome = by_errno(code)
        if outcome is Outcome.VOID:
            self.void(probe, f"the prober's own socket: {os.strerror(code or 0)}")
        else:
            self.sent_ns[probe] = self.sent_ns[probe] or now_ns
            self.outcome[probe] = outcome
        return outcome

    def void_losses(self, mask: npt.NDArray[np.bool_], reason: str) -> None:
        """Take the lost probes among `mask` out of the sample."""
        lost = mask & ((self.outcome == Outcome.TIMEOUT) | (self.outcome == Outcome.PENDING))
        self.outcome[lost] = Outcome.VOID
        for target in np.unique(self.target[lost]).tolist():
            self.reasons.setdefault(target, reason)

    def settled(self, now_ns: int) -> bool:
        """Whether all is sent and every target that still awaits answers has failed already."""
        pending = self.outcome == Outcome.PENDING
        if (self.sent_ns[pending] == 0).any():
            return False
        due = pending & (self.sent_ns + self.timeout_ns < now_ns)
        lost = self._per_target(due | (self.outcome >= Outcome.TIMEOUT))
        return not (self._per_target(pending & ~due)[lost < self._fatal()] > 0).any()

    def close(self, now_ns: int) -> None:
        """What is pending was sent and not answered in time, or not waited for to the end, or never sent."""
        pending = self.outcome == Outcome.PENDING
        unsent = pending & (self.sent_ns == 0)
        self.outcome[pending & (self.sent_ns + self.timeout_ns >= now_ns)] = Outcome.VOID
        self.outcome[pending & (self.sent_ns + self.timeout_ns < now_ns)] = Outcome.TIMEOUT
        if unsent.any():
            self.void_losses(unsent, "the prober did not come to send it")

    def _per_target(self, probes: npt.NDArray[np.bool_]) -> I64:
        return np.bincount(self.target[probes], minlength=len(self.first) - 1)

    def _fatal(self) -> I64:
        """How many losses fail each target."""
        sizes, where = np.unique(np.diff(self.first), return_inverse=True)
        return np.array([fails_at(size) for size in sizes.tolist()], np.int64)[where]
