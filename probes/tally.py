"""What was counted over all waves of a sweep, per target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from probes.decide import more, verdict
from probes.mmsg import I64
from probes.model import Latency, PairResult, State
from probes.outcome import Outcome
from probes.plan import Target
from probes.wave import Wave

_KINDS = len(Outcome)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts by target and outcome, latencies, and who answered, summed over waves."""

    counts: I64  # targets by outcomes
    reasons: dict[int, str] = field(default_factory=dict)
    answered: Counter[tuple[int, str]] = field(default_factory=Counter)
    distrusted: dict[int, str] = field(default_factory=dict)  # target → why it is unknown
    _delays: list[tuple[I64, I64]] = field(default_factory=list)

    @classmethod
    def of(cls, targets: int) -> Tally:
        """Nothing counted yet."""
        return cls(counts=np.zeros((targets, _KINDS), np.int64))

    def add(self, wave: Wave) -> None:
        """Count a closed wave."""
        cells = wave.target * _KINDS + wave.outcome
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)
        self.reasons.update(wave.reasons)
        self.answered.update(wave.answered)
        ok = wave.outcome == Outcome.OK
        self._delays.append((wave.target[ok], wave.done_ns[ok] - wave.sent_ns[ok]))

    @property
    def ok(self) -> I64:
        """Answers in time, per target."""
        return self.counts[:, Outcome.OK]

    @property
    def sent(self) -> I64:
        """Probes that count, per target."""
        total: I64 = self.counts.sum(axis=1) - self.counts[:, Outcome.VOID]
        return total

    def undecided(self, wanted: I64) -> I64:
        """How many more probes each target needs: to be decided, or to have at least what was `wanted`."""
        sent, ok = self.sent, self.ok
        extra = np.where(sent < wanted, wanted - sent, 0)
        for target in np.flatnonzero(ok < sent).tolist():
            lost = int(sent[target] - ok[target])
            if verdict(int(sent[target]), lost) is State.FAIL:
                extra[target] = 0
            else:
                extra[target] = max(int(extra[target]), more(int(sent[target]), lost))
        return extra

    def failing(self) -> list[int]:
        """Targets that would be judged failed now."""
        sent, ok = self.sent, self.ok
        found: list[int] = np.flatnonzero(ok < sent).tolist()
        return [t for t in found if verdict(int(sent[t]), int(sent[t] - ok[t])) is State.FAIL]

    def results(self, targets: Sequence[Target]) -> tuple[PairResult, ...]:
        """One result per target, in their order."""
        latencies = self._latencies(len(targets))
        answered = _by_target(self.answered)
        sent, ok = self.sent, self.ok
        wanted = np.array([target.probes for target in targets], np.int64)
        judged = set(np.flatnonzero((ok < sent) | (sent < wanted)).tolist()) | set(self.distrusted)
        errors = self._errors()
        found = []
        for index, (target, n, k) in enumerate(
            zip(targets, sent.tolist(), ok.tolist(), strict=True)
        ):
            state, reason = State.PASS, None
            if index in judged:
                state, reason = self._judge(index, n, k, target.probes)
            found.append(
                PairResult(
                    pair=target.pair,
                    sent=n,
                    ok=k,
                    state=state,
                    errors=errors.get(index, {}),
                    latency=latencies[index],
                    answered_by=answered.get(index, {}),
                    unknown=reason,
                )
            )
        return tuple(found)

    def _judge(self, index: int, sent: int, ok: int, wanted: int) -> tuple[State, str | None]:
        """The state, and why it is unknown where it is: less than half of what was planned could be measured."""
        if reason := self.distrusted.get(index):
            return State.UNKNOWN, reason
        state = verdict(sent, sent - ok) or State.PASS
        if state is not State.FAIL and 2 * sent < wanted:
            return State.UNKNOWN, self.reasons.get(index, "not measured")
        return state, None

    def _errors(self) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        where = np.argwhere(self.counts[:, Outcome.TIMEOUT :] > 0)
        for target, column in where.tolist():
            outcome = Outcome(column + Outcome.TIMEOUT)
            found.setdefault(target, {})[outcome.kind] = int(self.counts[target, outcome])
        return found

    def _latencies(self, targets: int) -> list[Latency | None]:
        """Minimum, median and 99th percentile per target, in microseconds."""
        owner = np.concatenate([pair[0] for pair in self._delays] or [np.zeros(0, np.int64)])
        delay = np.concatenate([pair[1] for pair in self._delays] or [np.zeros(0, np.int64)])
        order = np.lexsort((delay, owner))
        owner, delay = owner[order], np.maximum(delay[order], 0) / 1e3
        found: list[Latency | None] = [None] * targets
        if not len(owner):
            return found
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        sizes = np.diff(starts, append=len(owner))
        middle = (delay[starts + (sizes - 1) // 2] + delay[starts + sizes // 2]) / 2
        high = delay[starts + np.ceil(0.99 * sizes).astype(np.int64) - 1]
        for target, *values in zip(
            owner[starts].tolist(),
            np.round(delay[starts], 1).tolist(),
            np.round(middle, 1).tolist(),
            np.round(high, 1).tolist(),
            strict=True,
        ):
            found[target] = Latency(*values)
        return found


def _by_target(answered: Counter[tuple[int, str]]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for (target, replica), count in sorted(answered.items()):
        found.setdefault(target, {})[replica] = count
    return found
