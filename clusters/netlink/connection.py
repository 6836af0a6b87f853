"""A netlink socket inside one network namespace: requests in batches, dumps, events."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, Self

from clusters.errors import KernelRefusedError
from clusters.netlink import codec
from clusters.netns import home_kept, setns

GROUP_LINK: Final = 1  # multicast groups as bits, RTMGRP_* of linux/rtnetlink.h
GROUP_NEIGH: Final = 4

# Answers wait in the receive buffer until the whole chunk has been sent: at most one per request, each
# accounted with about 1 KiB. 100 of them fit the smallest default buffer (net.core.rmem_default 212,992),
# so neither side ever waits for the other.
_CHUNK_REQUESTS: Final = 100
_CHUNK_BYTES: Final = 64 * 1024
_RECEIVE_BYTES: Final = 64 * 1024  # the kernel fills at most 32 KiB per read of a dump
_BUFFER_BYTES: Final = 4 * 1024 * 1024

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10  # refusals do not carry the request back
_NETLINK_GET_STRICT_CHK: Final = 12  # dumps obey the filters in the request
_ERROR: Final = struct.Struct("=i")
_DONE: Final = struct.Struct("=IHHIIi")  # the message that ends a dump, with its errno


class Netlink:
    """One netlink socket. It belongs to the namespace it was opened in, from whatever thread it is used.

    Not for two threads at once. A context manager; `close` is idempotent.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sequence = 0

    @classmethod
    def open(
        cls, vantage_fd: int | None, *, groups: int = 0, family: int = socket.NETLINK_ROUTE
    ) -> Self:
        """Open a socket inside the namespace of that descriptor (None: where the thread is).

        `groups` subscribes to events (GROUP_* bits). Raises OSError; the thread is back home in any case.
        """
        if vantage_fd is None:
            return cls.open_here(groups=groups, family=family)
        with home_kept():
            setns(vantage_fd)
            return cls.open_here(groups=groups, family=family)

    @classmethod
    def open_here(cls, *, groups: int = 0, family: int = socket.NETLINK_ROUTE) -> Self:
        """Open a socket in the calling thread's namespace. Raises OSError."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.bind((0, groups))
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def batch(self, requests: Sequence[bytes]) -> tuple[int, ...]:
        """Send requests in order; one errno each, 0 where the kernel did it.

        A refused request does not stop the ones after it. Raises OSError when the socket itself fails;
        how far the kernel came is unknown then.
        """
        outcome: list[int] = []
        for chunk in _chunks(requests):
            outcome.extend(self._exchange(chunk))
        return tuple(outcome)

    def apply(self, requests: Sequence[bytes], *, doing: str) -> None:
        """As `batch`, but raises KernelRefusedError for the first refusal, after all have been sent."""
        for position, code in enumerate(self.batch(requests)):
            if code:
                raise KernelRefusedError(
                    f"{doing}: the kernel refused request {position + 1} of {len(requests)}: "
                    f"{_meaning(code)}",
                    code=code,
                )

    def dump(self, request: bytes) -> list[bytes]:
        """All buffers of the kernel's answer to one dump request, to be decoded by clusters.netlink.decode.

        Raises KernelRefusedError, OSError; the socket is unfit for further use after the latter.
        """
        sequence = self._ask(request)
        buffers = []
        while True:
            data = self._answer(sequence)
            buffers.append(data)
            if len(data) < _DONE.size:
                raise KernelRefusedError("a dump ended without its end mark", code=errno.EBADMSG)
            length, kind, _, numbered, _, code = _DONE.unpack_from(data, len(data) - _DONE.size)
            if (length, kind, numbered) == (_DONE.size, codec.NLMSG_DONE, sequence):
                _refuse("dump", -code)
                return buffers

    def get(self, request: bytes) -> bytes:
        """The one message that answers a request for one object. Raises KernelRefusedError, OSError."""
        return self._answer(self._ask(request))

    def receive(self) -> bytes:
        """The next buffer of events; waits for one. Raises OSError (ENOBUFS: events were lost)."""
        return self._socket.recv(_RECEIVE_BYTES)

    def _ask(self, request: bytes) -> int:
        self._sequence += 1
        self._socket.send(_numbered([request], self._sequence, acknowledged=False))
        return self._sequence

    def _answer(self, sequence: int) -> bytes:
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            _, kind, _, numbered, _ = codec.HEADER.unpack_from(data)
            if numbered != sequence:
                continue  # an event, or what is left of a request that was given up
            if kind == codec.NLMSG_ERROR:
                _refuse("request", -_ERROR.unpack_from(data, 16)[0])
            return data

    def _exchange(self, requests: Sequence[bytes]) -> list[int]:
        # Only refusals and the last request are answered: the kernel works a send off in order before
        # sendmsg returns (netlink_rcv_skb), so the last answer is the proof for all.
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(requests)
        self._socket.send(_numbered(requests, first, acknowledged=True))
        codes = [0] * len(requests)
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            _, kind, _, sequence, _ = codec.HEADER.unpack_from(data)
            if kind != codec.NLMSG_ERROR or sequence < first:
                continue
            codes[sequence - first] = -_ERROR.unpack_from(data, 16)[0]
            if sequence == last:
                return codes


def _chunks(requests: Sequence[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for request in requests:
        if chunk and (len(chunk) == _CHUNK_REQUESTS or size + len(request) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += len(request)
    if chunk:
        yield chunk


def _refuse(what: str, code: int) -> None:
    if code:
        raise KernelRefusedError(
            f"the kernel refused a netlink {what}: {_meaning(code)}",
            code=code,
        )


def _meaning(code: int) -> str:
    return f"{errno.errorcode.get(code, code)} ({os.strerror(code)})"


def _numbered(requests: Sequence[bytes], first: int, *, acknowledged: bool) -> bytearray:
    """The requests in one buffer, each with its sequence number; the last one may ask for an answer."""
    buffer = bytearray()
    flags_at = 0
    for sequence, request in enumerate(requests, first):
        flags_at = len(buffer) + 6
        buffer += request
        buffer += bytes(-len(buffer) % 4)
        struct.pack_into("=I", buffer, flags_at + 2, sequence)
    if acknowledged:
        (flags,) = struct.unpack_from("=H", buffer, flags_at)
        struct.pack_into("=H", buffer, flags_at, flags | codec.NLM_F_ACK)
    return buffer
