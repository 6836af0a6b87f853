"""One DNS replica's process: sockets that are bound already, one event loop, until SIGTERM."""

from __future__ import annotations

import contextlib
import functools
import select
import signal
import socket
import time
from typing import Final

from clusters.dns_answers import Cached, DnsConfig, Responder
from clusters.dns_tcp import TcpSide

__all__ = ["DnsConfig", "DnsServer", "serve"]

_BURST: Final = 64  # datagrams before TCP gets its turn
_DATAGRAM_BYTES: Final = 65_535
_TICK_S: Final = 1.0  # how often idle connections are looked for
_QUEUE_BYTES: Final = 4 << 20  # some five thousand queries: a sweep's burst must not be lost here


def serve(config: DnsConfig, udp: socket.socket, tcp: socket.socket) -> None:
    """Answer on both sockets until SIGTERM; for a process of its own (it takes over SIGTERM).

    `udp` is bound to the replica's own address (answers leave from it), `tcp` also listens. Both may be shared with
    the parent: they become non-blocking and stay open. Queries that arrive before the call are answered.
    """
    woken, waker = socket.socketpair()
    waker.settimeout(0)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    server = DnsServer(config, udp, tcp)
    server.watch(woken)
    while server.turn():
        pass
    server.close()


class DnsServer:
    """The event loop's body, one turn at a time."""

    def __init__(self, config: DnsConfig, udp: socket.socket, tcp: socket.socket) -> None:
        responder = Responder(config)
        self._answer = Cached(functools.partial(responder.answer, udp=True))
        self._udp = udp
        self._epoll = select.epoll()
        self._tcp = TcpSide(
            tcp, self._epoll, Cached(functools.partial(responder.answer, udp=False))
        )
        self._tcp_fd = tcp.fileno()
        self._stop_fd = -1
        udp.settimeout(0)
        _widen(udp)
        self._epoll.register(udp.fileno(), select.EPOLLIN)

    def watch(self, stop: socket.socket) -> None:
        """End the turns when this socket becomes readable."""
        self._stop_fd = stop.fileno()
        self._epoll.register(self._stop_fd, select.EPOLLIN)

    def turn(self, at_most_s: float | None = None) -> bool:
        """Wait for something to do, at most so long, and do it; False once told to stop."""
        for fd, events in self._epoll.poll(self._patience_s(at_most_s)):
            if fd == self._udp.fileno():
                self._answer_datagrams()
            elif fd == self._tcp_fd:
                self._tcp.accept(time.monotonic())
            elif fd == self._stop_fd:
                return False
            else:
                self._tcp.on_event(fd, events, time.monotonic())
        self._tcp.work(time.monotonic())
        self._tcp.expire(time.monotonic())
        return True

    def close(self) -> None:
        """Close the connections; the two sockets given stay open."""
        self._tcp.close()
        self._epoll.close()

    def _patience_s(self, at_most_s: float | None) -> float | None:
        if self._tcp.has_work:
            return 0.0
        if self._tcp.needs_ticks:
            return _TICK_S if at_most_s is None else min(at_most_s, _TICK_S)
        return at_most_s

    def _answer_datagrams(self) -> None:
        receive, send, answer = self._udp.recvfrom, self._udp.sendto, self._answer
        for _ in range(_BURST):
            try:
                query, peer = receive(_DATAGRAM_BYTES)
            except (
                OSError
            ):  # none left; or an error that an earlier answer met, which is its client's
                return
            reply = answer(query)
            if reply is None:
                continue
            try:
                send(reply, peer)
            except OSError:  # no route back, port 0, a drop rule: the client will see no answer
                continue


def _widen(udp: socket.socket) -> None:
    """As large a receive queue as this user may have."""
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
    so_rcvbufforce = 33  # asm-generic/socket.h; not in the socket module
    with contextlib.suppress(PermissionError):
        udp.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, _QUEUE_BYTES)
