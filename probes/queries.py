"""DNS over UDP of one wave, with a socket of its own, thus a fresh source port, for every query."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from probes.flight import Flight
from probes.loop import Loop
from probes.mmsg import SO_TIMESTAMPNS
from probes.nameservice import Question
from probes.outcome import Outcome
from probes.sockets import query_socket
from probes.vantages import Vantages
from probes.wave import Wave

BATCH: Final = 16  # queries sent at one visit of a namespace
AGE_NS: Final = 25_000_000
WINDOW: Final = 64  # per server, whose socket buffer holds some 250 queries by default
ANSWER_BYTES: Final = 4096
_STAMP: Final = struct.Struct("qq")
_PORT_TRIES: Final = 8


class Asked(NamedTuple):
    """One probe: what is asked, and where. `fresh_port` = not used before in this sweep from that place."""

    probe: int
    address: tuple[str, int]
    question: Question
    fresh_port: bool


class Query:
    """One query that has been sent."""

    __slots__ = ("asked", "ident", "open", "sent_ns", "sock", "young")

    def __init__(self, asked: Asked, ident: bytes, sock: socket.SocketType, sent_ns: int) -> None:
        self.asked = asked
        self.ident = ident
        self.sock = sock
        self.sent_ns = sent_ns
        self.young = True
        self.open = True


class Queries:
    """The driver of a wave's fresh-port UDP queries to so many servers. `ports` remembers over the waves of a sweep."""

    def __init__(
        self,
        wave: Wave,
        work: Mapping[str, list[Asked]],
        loop: Loop,
        vantages: Vantages,
        *,
        ports: dict[str, set[int]],
        idents: bytes,
        servers: int,
    ) -> None:
        self._wave = wave
        self._loop = loop
        self._vantages = vantages
        self._ports = ports
        self._idents = idents
        self._queue = deque((place, deque(asked)) for place, asked in work.items())
        self._flight: Flight[Query] = Flight(
            window=WINDOW * servers, age_ns=AGE_NS, timeout_ns=wave.timeout_ns
        )

    def launch(self, now_ns: int) -> bool:
        """Send some queries from the next place."""
        room = self._flight.room(now_ns)
        if not self._queue or not room:
            return False
        place, asked = self._queue.popleft()
        try:
            self._vantages.enter(place)
        except OSError as exc:
            self._void(asked, f"vantage gone: {exc.strerror}")
            return bool(self._queue)
        used = self._ports.setdefault(place, set())
        for _ in range(min(BATCH, room, len(asked))):
            self._ask(asked.popleft(), used)
        if asked:
            self._queue.append((place, asked))
        return bool(self._queue)

    def expire(self, now_ns: int) -> None:
        """Queries without an answer in time."""
        for query in self._flight.expired(now_ns):
            self._end(query, Outcome.TIMEOUT)

    def due_ns(self) -> int | None:
        """When room opens, or the oldest query expires."""
        due = self._flight.due_ns()
        opens = self._flight.opens_ns() if self._queue else None
        return min((moment for moment in (due, opens) if moment is not None), default=None)

    def close(self) -> None:
        """Close what is still under way."""
        for query in self._flight.expired(1 << 62):
            self._end(query, Outcome.PENDING)

    def _ask(self, asked: Asked, used: set[int]) -> None:
        wave = self._wave
        try:
            sock = query_socket()
        except OSError as exc:
            wave.void(asked.probe, f"cannot open a socket: {exc.strerror}")
            return
        try:
            sock.connect(asked.address)
            if asked.fresh_port:
                sock = _with_fresh_port(sock, asked.address, used)
            ident = self._idents[2 * asked.probe : 2 * asked.probe + 2]
            sent_ns = time.time_ns()
            sock.send(asked.question.wire(ident))
        except OSError as exc:
            sock.close()
            wave.refused(asked.probe, time.time_ns(), exc.errno)
            return
        wave.sent_ns[asked.probe] = sent_ns
        query = Query(asked, ident, sock, sent_ns)
        self._flight.add(query)
        self._loop.watch(sock.fileno(), partial(self._ready, query))

    def _void(self, asked: deque[Asked], reason: str) -> None:
        for one in asked:
            self._wave.void(one.probe, reason)

    def _ready(self, query: Query, _events: int) -> None:
        try:
            answer, control, _flags, _address = query.sock.recvmsg(ANSWER_BYTES, 64)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(query, self._wave.refused(query.asked.probe, query.sent_ns, exc.errno))
            return
        outcome, label = query.asked.question.read(answer, query.ident)
        if outcome is Outcome.PENDING:
            return
        done_ns = received_ns(control)
        if done_ns - query.sent_ns > self._wave.timeout_ns:
            outcome = Outcome.TIMEOUT
        self._wave.done_ns[query.asked.probe] = done_ns
        if outcome is Outcome.OK and label:
            self._wave.answered.append((int(self._wave.target[query.asked.probe]), label))
        self._end(query, outcome)

    def _end(self, query: Query, outcome: Outcome) -> None:
        self._wave.outcome[query.asked.probe] = outcome
        self._flight.done(query)
        self._loop.closing(query.sock.fileno())
        query.sock.close()


def received_ns(control: list[tuple[int, int, bytes]]) -> int:
    """The kernel's receive time in these control messages, or now where there is none."""
    for level, kind, value in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _STAMP.unpack(value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def _with_fresh_port(
    sock: socket.SocketType, address: tuple[str, int], used: set[int]
) -> socket.SocketType:
    """This connected socket, or another one whose source port was not used before.

    A port used again would meet the conntrack entry of its first use and so the same replica.
    """
    held: list[socket.SocketType] = []
    while (port := sock.getsockname()[1]) in used and len(held) < _PORT_TRIES:
        held.append(sock)
        sock = query_socket()
        sock.connect(address)
    used.add(port)
    for other in held:
        other.close()
    return sock
