"""DNS over TCP for one event loop: many connections, none of which can hold up another."""

from __future__ import annotations

import errno
import select
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_CONNECTIONS: Final = 1024
IDLE_S: Final = (
    10.0  # without a whole query or any byte of an answer taken (RFC 7766: a few seconds)
)
_DEAF_S: Final = 1.0
_READ_BYTES: Final = 16_384
_UNSENT_BYTES: Final = 65_536  # a client that does not read its answers is not read from either
_BURST: Final = (
    64  # queries of one connection, or accepted connections, before others get their turn
)
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class TcpSide:
    """All connections of one listening socket. Times are of any one monotonic clock, in seconds."""

    def __init__(
        self,
        listener: socket.socket,
        epoll: select.epoll,
        answer: Callable[[bytes], bytes | None],
    ) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._epoll = epoll
        self._answer = answer
        self._by_age: OrderedDict[int, _Connection] = (
            OrderedDict()
        )  # longest without progress first
        self._waiting: set[int] = set()  # have whole queries that are read already
        self._deaf_until_s: float | None = None  # no descriptors left: not accepting
        epoll.register(listener.fileno(), select.EPOLLIN)

    @property
    def needs_ticks(self) -> bool:
        """Whether `expire` is to be called now and then."""
        return self._deaf_until_s is not None or bool(self._by_age)

    @property
    def has_work(self) -> bool:
        """Whether `work` has something to do that no event will announce."""
        return bool(self._waiting)

    def accept(self, now_s: float) -> None:
        """Take what waits at the listener. Where there are too many, the longest idle one makes room."""
        for _ in range(_BURST):
            try:
                taken, _peer = self._listener.accept()
            except OSError as exc:  # accept(2): errors of the new connection are reported here too
                if exc.errno in _EXHAUSTED and not self._drop_oldest():
                    self._deaf_until_s = now_s + _DEAF_S
                    self._epoll.modify(self._listener.fileno(), 0)
                    return
                if exc.errno == errno.EAGAIN:
                    return
                continue
            if len(self._by_age) >= MAX_CONNECTIONS:
                self._drop_oldest()
            taken.settimeout(0)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._epoll.register(taken.fileno(), select.EPOLLIN)
            self._by_age[taken.fileno()] = _Connection(taken, now_s)

    def on_event(self, fd: int, events: int, now_s: float) -> None:
        """Serve one connection that epoll reported; a descriptor closed meanwhile is ignored."""
        connection = self._by_age.get(fd)
        if connection is None:
            return
        if events & ~select.EPOLLOUT:
            connection.read()
        self._advance(fd, connection, now_s)

    def work(self, now_s: float) -> None:
        """Give every connection that has queries left its next turn."""
        for fd in tuple(self._waiting):
            self._advance(fd, self._by_age[fd], now_s)

    def expire(self, now_s: float) -> None:
        """Close what made no progress for IDLE_S."""
        if self._deaf_until_s is not None and now_s >= self._deaf_until_s:
            self._deaf_until_s = None
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN)
        while self._by_age and next(iter(self._by_age.values())).since_s < now_s - IDLE_S:
            self._drop_oldest()

    def close(self) -> None:
        """Close every connection; the listener stays open, it is the caller's."""
        while self._drop_oldest():
            pass
        self._epoll.unregister(self._listener.fileno())

    def _advance(self, fd: int, connection: _Connection, now_s: float) -> None:
        if connection.reply(self._answer):
            connection.since_s = now_s
            self._by_age.move_to_end(fd)
        if connection.done:
            self._drop(fd)
            return
        self._epoll.modify(fd, connection.interest)
        if connection.has_query and not connection.stuffed:
            self._waiting.add(fd)
        else:
            self._waiting.discard(fd)

    def _drop_oldest(self) -> bool:
        if not self._by_age:
            return False
        self._drop(next(iter(self._by_age)))
        return True

    def _drop(self, fd: int) -> None:
        self._waiting.discard(fd)
        self._by_age.pop(fd).close()  # which also takes it out of epoll


class _Connection:
    """One client: bytes read and not answered, bytes of answers not taken yet."""

    __slots__ = ("_broken", "_ended", "_sock", "_unread", "_unsent", "since_s")

    def __init__(self, sock: socket.socket, now_s: float) -> None:
        self._sock = sock
        self._unread = bytearray()
        self._unsent = bytearray()
        self._ended = False  # the client will send no more
        self._broken = False
        self.since_s = now_s

    def read(self) -> None:
        """Take some of what has arrived."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset, timed out: whatever it is, it concerns this client alone
            self._broken = True
            return
        self._unread += data
        self._ended = not data

    def reply(self, answer: Callable[[bytes], bytes | None]) -> bool:
        """Answer some of the whole queries and send what fits; True where either made progress."""
        answered = 0
        while answered < _BURST and self.has_query and not self.stuffed:
            end = 2 + int.from_bytes(self._unread[:2])
            reply = answer(bytes(self._unread[2:end]))
            del self._unread[:end]
            answered += 1
            if reply is not None:
                self._unsent += len(reply).to_bytes(2) + reply
        return self._flush() or answered > 0

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    @property
    def has_query(self) -> bool:
        """Whether a whole query is here."""
        return len(self._unread) >= 2 and len(self._unread) >= 2 + int.from_bytes(self._unread[:2])

    @property
    def stuffed(self) -> bool:
        """Whether the client has to read before it may ask more."""
        return len(self._unsent) >= _UNSENT_BYTES

    @property
    def done(self) -> bool:
        """Whether nothing can come of this connection any more."""
        return self._broken or (self._ended and not self._unsent and not self.has_query)

    @property
    def interest(self) -> int:
        """What to be told of by epoll."""
        reading = not (self._ended or self.has_query)  # never more than one query ahead
        return select.EPOLLIN * reading | select.EPOLLOUT * bool(self._unsent)

    def _flush(self) -> bool:
        if not self._unsent:
            return False
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return False
        except OSError:
            self._broken = True
            return False
        del self._unsent[:sent]
        return True
