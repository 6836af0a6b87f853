"""Sockets as the prober wants them, opened in the namespace that the calling thread is in."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
from typing import Final

from probes.mmsg import SO_TIMESTAMPNS

ICMP_FILTER: Final = 1  # <linux/icmp.h>, at level SOL_RAW
SOL_RAW: Final = 255
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct(
    "9I"
)  # SK_MEMINFO_* of <linux/sock_diag.h>; the last is SK_MEMINFO_DROPS
_ICMP_WANTED: Final = (0, 3, 11)  # echo reply, destination unreachable, time exceeded
RECEIVE_BUFFER_BYTES: Final = 4 << 20

_KIND: Final = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def echo_socket(receive_bytes: int) -> socket.socket:
    """A raw ICMP socket that gets echo replies and errors only, with receive times. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | _KIND, socket.IPPROTO_ICMP)
    blocked = 0xFFFFFFFF & ~sum(1 << kind for kind in _ICMP_WANTED)
    sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", blocked))
    return _counted(sock, receive_bytes)


def datagram_socket(receive_bytes: int) -> socket.socket:
    """A UDP socket with receive times. Raises OSError."""
    return _counted(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | _KIND), receive_bytes)


def query_socket() -> socket.SocketType:
    """A UDP socket for one query: nothing but receive times. Raises OSError.

    The plain type of which `socket.socket` is a subclass in Python: it is made and closed in half the time.
    """
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | _KIND)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def stream_socket() -> socket.socket:
    """A TCP socket that sends small messages at once, with receive times. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | _KIND)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def overflowed(sock: socket.socket) -> int:
    """How many packets the socket dropped because its buffer was full.

    This is the counter that SO_RXQ_OVFL attaches to the next packet (sk_drops); asked for by SO_MEMINFO it is
    known also where no packet follows.
    """
    drops: int = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))[-1]
    return drops


def widen_descriptor_limit() -> None:
    """Raise this process's soft limit of open files to its hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _counted(sock: socket.socket, receive_bytes: int) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_bytes)
    except PermissionError:  # not root of the host: at most net.core.rmem_max
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    return sock
