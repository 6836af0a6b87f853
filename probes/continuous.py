"""One-way probing between all nodes for as long as a block runs, to see when each direction goes dark."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from clusters.providers import registry
from clusters.providers.base import Cluster
from probes.dark import DarkTime, Flags, dark_times
from probes.loop import Loop
from probes.mmsg import Inbox, Outbox
from probes.outcome import Outcome, by_errno
from probes.seats import Seat, Seats

PACKETS_PER_S: Final = 5000.0
RATE_HZ: Final = 20.0
_DRAIN_S: Final = 0.2
_LOOK_EVERY_S: Final = 0.1
_QUIET_TICKS: Final = 3
_CHUNK: Final = 512
SAMPLE: Final = np.dtype([("token", "<u8"), ("pair", "<u4"), ("tick", "<u4"), ("zero", "V16")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A watch under way. `rate_hz` is what is really sent per pair; `started_s` its zero on time.monotonic().

    The rate is lowered where all directed pairs together would exceed `PACKETS_PER_S`; it bounds the resolution.
    """

    rate_hz: float
    wanted_hz: float
    started_s: float
    _stop: threading.Event
    _result: Future[tuple[DarkTime, ...]]

    def finish(self) -> tuple[DarkTime, ...]:
        """End the watch; every directed node pair, in inventory order. Raises what went wrong in the thread."""
        self._stop.set()
        return self._result.result()


@contextlib.contextmanager
def watching(
    cluster: Cluster,
    *,
    rate_hz: float = RATE_HZ,
    seed: int = 0,
    reopen: Callable[[str], Cluster] = registry.open_cluster,
) -> Iterator[Watch]:
    """Watch all directed node pairs from a thread that ends with the block.

    One pod per node (chosen by `seed`) sends to that of every other node, `rate_hz` times a second. The thread asks
    a handle of its own, made by `reopen` from the cluster's name, because a handle serves one thread; with it
    it follows pods whose namespace vanishes and comes back, perhaps with another address. While a pod
    does not exist, what it should send or receive is dark. Times in which the prober did not run are left out.
    """
    with contextlib.closing(reopen(cluster.name)) as own:
        seats = Seats(own, seed)
        pairs = max(len(seats) * (len(seats) - 1), 1)
        rate = min(rate_hz, PACKETS_PER_S / pairs)
        stop = threading.Event()
        started_s = time.monotonic()
        with ThreadPoolExecutor(1, "watch") as pool:
            thread = _Thread(seats=seats, period_s=1 / rate, started_s=started_s, stop=stop)
            result = pool.submit(thread.run)
            try:
                yield Watch(
                    rate_hz=rate,
                    wanted_hz=rate_hz,
                    started_s=started_s,
                    _stop=stop,
                    _result=result,
                )
            finally:
                stop.set()
            result.result()


@dataclass(slots=True, kw_only=True)
class _Thread:
    """What the watching thread knows. Pair (i, j) of seats has column i · n + j."""

    seats: Seats
    period_s: float
    started_s: float
    stop: threading.Event
    _token: int = field(default_factory=lambda: secrets.randbits(64))
    _times_s: list[float] = field(default_factory=list)
    _arrived: list[Flags] = field(default_factory=list)
    _spoilt: list[tuple[int, int]] = field(default_factory=list)  # (tick, column) not measured
    _inbox: Inbox = field(default_factory=lambda: Inbox(256, SAMPLE.itemsize))
    _outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self._outbox = Outbox(max(len(self.seats), 1), SAMPLE.itemsize)

    def run(self) -> tuple[DarkTime, ...]:
        """Sample until told to stop, then give the last samples time to arrive."""
        with contextlib.closing(Loop()) as loop:
            try:
                self._sample(loop)
            finally:
                self.seats.close(loop)
        return self._dark_times()

    def _sample(self, loop: Loop) -> None:
        self.seats.open_all(loop, self._collect)
        next_s = looked_s = time.monotonic()
        while not self.stop.is_set():
            now_s = time.monotonic()
            if now_s >= next_s:
                self._tick(now_s)
                next_s = max(next_s + self.period_s, now_s)
            if now_s - looked_s >= _LOOK_EVERY_S:
                looked_s = now_s
                self.seats.renew(self._quiet(), loop, self._collect)
            loop.dispatch(min(max(next_s - time.monotonic(), 0.0), _LOOK_EVERY_S))
        end_s = time.monotonic() + _DRAIN_S
        while (left_s := end_s - time.monotonic()) > 0:
            loop.dispatch(left_s)

    def _tick(self, now_s: float) -> None:
        tick, seats = len(self._times_s), self.seats
        if tick % _CHUNK == 0:
            self._arrived.append(np.zeros((_CHUNK, len(seats) ** 2), np.bool_))
        self._times_s.append(now_s - self.started_s)
        rows = self._outbox.payload.view(SAMPLE)[:, 0]
        rows["token"], rows["tick"] = self._token, tick
        for seat in seats.open():
            goals = seats.goals(seat)
            count = len(goals)
            rows["pair"][:count] = seat.number * len(seats) + goals
            self._outbox.names["address"][:count] = seats.addresses[goals]
            self._outbox.names["port"][:count] = seats.ports[goals]
            self._send(seat, tick, count)

    def _send(self, seat: Seat, tick: int, count: int) -> None:
        """What the network refuses is lost; what the prober could not send was not measured."""
        at = 0
        while at < count:
            try:
                at += self._outbox.send(seat.fileno(), at, count)
            except OSError as exc:
                if by_errno(exc.errno) is Outcome.VOID:
                    column = int(self._outbox.payload.view(SAMPLE)["pair"][at, 0])
                    self._spoilt.append((tick, column))
                at += 1

    def _collect(self, seat: Seat, _events: int) -> None:
        while count := self._inbox.receive(seat.fileno()):
            rows = self._inbox.payload[:count].view(SAMPLE)[:, 0]
            mine = (rows["token"] == self._token) & (rows["tick"] < len(self._times_s))
            mine &= rows["pair"] % len(self.seats) == seat.number
            ticks, columns = rows["tick"][mine], rows["pair"][mine]
            for chunk in np.unique(ticks // _CHUNK).tolist():
                here = ticks // _CHUNK == chunk
                self._arrived[chunk][ticks[here] % _CHUNK, columns[here]] = True

    def _quiet(self) -> list[Seat]:
        """Seats from and to which nothing has arrived lately: their namespace may be another one by now."""
        count, size = len(self._times_s), len(self.seats)
        if count <= _QUIET_TICKS:
            return []
        ticks = range(count - 1 - _QUIET_TICKS, count - 1)
        seen = np.any([self._arrived[t // _CHUNK][t % _CHUNK] for t in ticks], axis=0)
        table = seen.reshape(size, size)
        heard = table.any(axis=0) | table.any(axis=1)
        return [seat for seat in self.seats if not heard[seat.number]]

    def _dark_times(self) -> tuple[DarkTime, ...]:
        count, size = len(self._times_s), len(self.seats)
        names = [seat.node for seat in self.seats]
        columns = [i * size + j for i in range(size) for j in range(size) if i != j]
        pairs = [(names[column // size], names[column % size]) for column in columns]
        if not count or not columns:
            return tuple(DarkTime(*pair, 0.0, recovered=True, intervals=()) for pair in pairs)
        arrived = np.concatenate(self._arrived)[:count]
        measured = np.ones_like(arrived)
        for tick, column in self._spoilt:
            measured[tick, column] = False
        return dark_times(
            pairs,
            np.array(self._times_s),
            arrived[:, columns],
            measured[:, columns],
            period_s=self.period_s,
        )
