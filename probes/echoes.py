"""ICMP echo of one wave: bursts from one raw socket per source, answers taken in bulk.

A packet through veth, bridge and VXLAN is carried by the sender's own CPU inside the send call, answer
included, so the kernel's path is most of the cost. With `lanes` more than one, helper threads send
and collect as well (a source is in one lane's hands at a time); the event loop stays the only one that waits.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from clusters.waiting import pause
from probes import icmp
from probes.burst import BURST, send_burst
from probes.loop import Loop
from probes.mmsg import I64, Inbox, Outbox
from probes.outcome import Outcome
from probes.pulse import Pulse
from probes.wave import Wave

IN_FLIGHT: Final = (
    384  # per lane; a CPU's backlog holds 1,000 packets (net.core.netdev_max_backlog)
)
AGE_NS: Final = 10_000_000


@dataclass(slots=True, kw_only=True)
class Source:
    """One pod's raw socket and what it has to send, in order; `addresses` belong to `probes`."""

    sock: socket.socket
    ident: int
    probes: I64
    addresses: npt.NDArray[np.uint32]
    first_round: int  # how many of them are the first for their target
    sent: int = 0
    reviewed: bool = False


@dataclass(slots=True)
class Lane:
    """One thread's buffers, pulse and recent sends."""

    pulse: Pulse
    outbox: Outbox = field(default_factory=lambda: Outbox(BURST, icmp.ECHO.itemsize))
    inbox: Inbox = field(default_factory=lambda: Inbox(2 * BURST, icmp.SLOT))
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    _open: int = 0

    def note(self, now_ns: int, unanswered: int) -> None:
        """A burst is out and so many of its answers have not come yet."""
        if unanswered > 0:
            self._recent.append((now_ns, unanswered))
            self._open += unanswered

    def full(self, now_ns: int) -> bool:
        """Whether so much is out that a CPU's backlog might overflow."""
        while self._recent and self._recent[0][0] + AGE_NS < now_ns:
            self._open -= self._recent.popleft()[1]
        return self._open >= IN_FLIGHT

    def opens_ns(self) -> int:
        """When the oldest recent burst stops counting."""
        return self._recent[0][0] + AGE_NS + 1 if self._recent else 0


class Echoes:
    """The driver of a wave's ICMP pairs."""

    def __init__(self, wave: Wave, sources: list[Source], loop: Loop, pulse: Pulse) -> None:
        self._wave = wave
        self._loop = loop
        self._own = Lane(pulse)
        self._sources = sources
        self._queue = deque(sources)
        self._helpers: list[Future[None]] = []
        self._watched: dict[int, Source] = {}
        self._collecting = False
        self._last_ns = 0
        self.planned = sum(len(source.probes) for source in sources)
        self._destinations = np.zeros(len(wave.outcome), np.uint32)
        for source in sources:
            self._destinations[source.probes] = source.addresses

    @contextlib.contextmanager
    def helped(self, pulses: list[Pulse]) -> Iterator[None]:
        """Let one more thread per pulse send and collect inside the block; their exceptions come out of it."""
        if not pulses:
            yield
            return
        stop = threading.Event()
        with ThreadPoolExecutor(len(pulses), "echoes") as pool:
            self._helpers = [pool.submit(self._help, Lane(pulse), stop) for pulse in pulses]
            try:
                yield
            finally:
                stop.set()
            for helper in self._helpers:
                helper.result()

    def launch(self, now_ns: int) -> bool:
        """One burst of one source; the answers still missing at the end are left to the loop."""
        if self._queue:
            if self._own.full(now_ns):
                return False
            self._burst(self._own)
            return True
        if not self._collecting and all(helper.done() for helper in self._helpers):
            self._collect_rest()
        return False

    def expire(self, now_ns: int) -> None:
        """Stop watching when the last probe has had its time."""
        if self._collecting and self._watched and now_ns > self._last_ns + self._wave.timeout_ns:
            for source in list(self._watched.values()):
                self._forget(source)

    def due_ns(self) -> int | None:
        """When a full lane opens, a helper may have finished, or the last answer is due."""
        if self._queue:
            return self._own.opens_ns()
        if not self._collecting:
            return time.time_ns() + 1_000_000
        return self._last_ns + self._wave.timeout_ns + 1 if self._watched else None

    def close(self) -> None:
        """The sockets belong to the sweep; nothing else is held."""
        for source in list(self._watched.values()):
            self._forget(source)

    def _help(self, lane: Lane, stop: threading.Event) -> None:
        while self._queue and not stop.is_set():
            lane.pulse.beat()
            if lane.full(time.time_ns()):
                pause(0.001)
            else:
                self._burst(lane)
        lane.pulse.beat()

    def _burst(self, lane: Lane) -> None:
        try:
            source = self._queue.popleft()
        except IndexError:  # another lane took the last one
            return
        part = slice(source.sent, source.sent + self._piece(source))
        probes = source.probes[part]
        if len(probes):
            outbox = lane.outbox
            icmp.fill(outbox.payload, probes, token=self._wave.token, ident=source.ident)
            outbox.names["address"][: len(probes)] = source.addresses[part]
            send_burst(self._wave, source.sock.fileno(), outbox, probes)
            source.sent += len(probes)
            arrived = self._collect(source, lane)
            lane.note(time.time_ns(), len(probes) - arrived)
        if source.sent < len(source.probes):
            self._queue.append(source)

    def _piece(self, source: Source) -> int:
        """How many probes a source sends at this visit.

        After a round over all its targets it sends to those only that have not answered, and so does every source
        before any goes on with the rest: what is dead has had all its probes early.
        """
        if source.sent < source.first_round:
            return min(BURST, source.first_round - source.sent)
        if source.reviewed:
            return BURST
        source.reviewed = True
        return min(BURST, self._unanswered_first(source))

    def _unanswered_first(self, source: Source) -> int:
        """Put the probes to silent targets first among the rest; return how many they are."""
        owners = self._wave.target[source.probes]
        begun, rest = np.split(owners, [source.first_round])
        silent = begun[self._wave.outcome[source.probes[: len(begun)]] == Outcome.PENDING]
        if not len(silent):
            return 0
        urgent = np.isin(rest, silent)
        order = len(begun) + np.argsort(~urgent, kind="stable")
        source.probes[len(begun) :] = source.probes[order]
        source.addresses[len(begun) :] = source.addresses[order]
        return int(np.count_nonzero(urgent))

    def _collect(self, source: Source, lane: Lane) -> int:
        """Take what the source's socket holds; return how many probes it answered."""
        arrived, inbox, wave = 0, lane.inbox, self._wave
        while True:
            count = inbox.receive(source.sock.fileno())
            if not count:
                return arrived
            answers = icmp.read(
                inbox.payload,
                inbox.lengths(count),
                token=wave.token,
                ident=source.ident,
                destinations=self._destinations,
            )
            times_ns = inbox.times_ns(count, time.time_ns())
            arrived += wave.arrived(answers.probes, times_ns[answers.slots])
            for probe, outcome in answers.errors:
                if wave.outcome[probe] == Outcome.PENDING:
                    wave.outcome[probe] = outcome
            if count < inbox.slots:
                return arrived

    def _collect_rest(self) -> None:
        self._collecting = True
        for source in self._sources:
            self._last_ns = max(self._last_ns, int(self._wave.sent_ns[source.probes].max()))
            if self._pending(source):
                self._watched[source.sock.fileno()] = source
                self._loop.watch(source.sock.fileno(), partial(self._ready, source))

    def _ready(self, source: Source, _events: int) -> None:
        self._collect(source, self._own)
        if not self._pending(source):
            self._forget(source)

    def _pending(self, source: Source) -> bool:
        return bool((self._wave.outcome[source.probes] == Outcome.PENDING).any())

    def _forget(self, source: Source) -> None:
        self._loop.forget(source.sock.fileno())
        del self._watched[source.sock.fileno()]
