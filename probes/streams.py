"""DNS over TCP of one wave: one connection per query, several at once.

The timeout runs from the SYN to the whole answer; the latency stated is that of the query on the open connection,
because when a connection is taken up depends on how busy the event loop is.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final

from probes.flight import Flight
from probes.loop import READ, WRITE, Loop
from probes.outcome import Outcome
from probes.queries import Asked, received_ns
from probes.sockets import stream_socket
from probes.vantages import Vantages
from probes.wave import Wave

BATCH: Final = 16
AGE_NS: Final = 50_000_000
WINDOW: Final = 32  # connections per server that it has not answered yet
_CHUNK: Final = 4096


class Stream:
    """One connection and what of its answer has come."""

    __slots__ = ("asked", "data", "ident", "open", "sent_ns", "sock", "young")

    def __init__(self, asked: Asked, ident: bytes, sock: socket.socket, sent_ns: int) -> None:
        self.asked = asked
        self.ident = ident
        self.sock = sock
        self.sent_ns = sent_ns
        self.data = b""
        self.young = True
        self.open = True


class Streams:
    """The driver of a wave's TCP queries."""

    def __init__(
        self,
        wave: Wave,
        work: Mapping[str, list[Asked]],
        loop: Loop,
        vantages: Vantages,
        *,
        idents: bytes,
        servers: int,
    ) -> None:
        self._wave = wave
        self._loop = loop
        self._vantages = vantages
        self._idents = idents
        self._queue = deque((place, deque(asked)) for place, asked in work.items())
        self._flight: Flight[Stream] = Flight(
            window=WINDOW * servers, age_ns=AGE_NS, timeout_ns=wave.timeout_ns
        )

    def launch(self, now_ns: int) -> bool:
        """Open some connections from the next place."""
        room = self._flight.room(now_ns)
        if not self._queue or not room:
            return False
        place, asked = self._queue.popleft()
        try:
            self._vantages.enter(place)
        except OSError as exc:
            for one in asked:
                self._wave.void(one.probe, f"vantage gone: {exc.strerror}")
            return bool(self._queue)
        for _ in range(min(BATCH, room, len(asked))):
            self._connect(asked.popleft())
        if asked:
            self._queue.append((place, asked))
        return bool(self._queue)

    def expire(self, now_ns: int) -> None:
        """Connections without a whole answer in time."""
        for stream in self._flight.expired(now_ns):
            self._end(stream, Outcome.TIMEOUT)

    def due_ns(self) -> int | None:
        """When room opens, or the oldest connection expires."""
        due = self._flight.due_ns()
        opens = self._flight.opens_ns() if self._queue else None
        return min((moment for moment in (due, opens) if moment is not None), default=None)

    def close(self) -> None:
        """Close what is still under way."""
        for stream in self._flight.expired(1 << 62):
            self._end(stream, Outcome.PENDING)

    def _connect(self, asked: Asked) -> None:
        try:
            sock = stream_socket()
        except OSError as exc:
            self._wave.void(asked.probe, f"cannot open a socket: {exc.strerror}")
            return
        ident = self._idents[2 * asked.probe : 2 * asked.probe + 2]
        stream = Stream(asked, ident, sock, time.time_ns())
        self._wave.sent_ns[asked.probe] = stream.sent_ns
        code = sock.connect_ex(asked.address)
        self._flight.add(stream)
        self._loop.watch(sock.fileno(), partial(self._ready, stream), WRITE)
        if code not in {0, errno.EINPROGRESS}:
            self._fail(stream, code)

    def _ready(self, stream: Stream, events: int) -> None:
        try:
            if events & WRITE and not events & READ:
                self._ask(stream)
            else:
                self._receive(stream)
        except BlockingIOError:
            return
        except OSError as exc:
            self._fail(stream, exc.errno)

    def _ask(self, stream: Stream) -> None:
        code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(stream, code)
            return
        query = stream.asked.question.wire(stream.ident)
        self._wave.sent_ns[stream.asked.probe] = time.time_ns()
        stream.sock.send(len(query).to_bytes(2, "big") + query)  # RFC 1035 4.2.2
        self._loop.change(stream.sock.fileno(), READ)

    def _receive(self, stream: Stream) -> None:
        chunk, control, _flags, _address = stream.sock.recvmsg(_CHUNK, 64)
        if not chunk:
            self._end(stream, Outcome.RESET)
            return
        stream.data += chunk
        size = int.from_bytes(stream.data[:2], "big")
        if len(stream.data) < 2 or len(stream.data) < 2 + size:
            return
        outcome, _label = stream.asked.question.read(stream.data[2 : 2 + size], stream.ident)
        if (
            outcome is Outcome.PENDING
        ):  # the connection is ours alone: a foreign id is a wrong answer
            outcome = Outcome.WRONG_ANSWER
        self._wave.done_ns[stream.asked.probe] = received_ns(control)
        self._end(stream, outcome)

    def _fail(self, stream: Stream, code: int | None) -> None:
        self._end(stream, self._wave.refused(stream.asked.probe, stream.sent_ns, code))

    def _end(self, stream: Stream, outcome: Outcome) -> None:
        self._wave.outcome[stream.asked.probe] = outcome
        self._flight.done(stream)
        self._loop.closing(stream.sock.fileno())
        stream.sock.close()
