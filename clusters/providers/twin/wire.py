"""Messages between a twin's holder and its clients: JSON lines on a unix stream, descriptors beside them."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

FDS_PER_MESSAGE: Final = 200  # SCM_MAX_FD is 253 (unix(7))
_CHUNK_BYTES: Final = 1 << 16
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class WireError(Exception):
    """What came over the socket is not the protocol; the connection is of no more use."""


def peer_uid(sock: socket.socket) -> int:
    """The user id, in our user namespace, of the process at the other end (unix(7), SO_PEERCRED)."""
    return _credentials(sock)[1]


def peer_pid(sock: socket.socket) -> int:
    """The process id of the process at the other end; of a listening socket's side, who called listen."""
    return _credentials(sock)[0]


@dataclass(slots=True, kw_only=True)
class Inbox:
    """Bytes and descriptors received so far; gives whole messages of at most `limit_bytes`."""

    limit_bytes: int = 1 << 26
    _bytes: bytearray = field(default_factory=bytearray)
    _fds: deque[int] = field(default_factory=deque)

    def receive(self, sock: socket.socket) -> bool:
        """Take what is there now; False at end of stream. Raises WireError, BlockingIOError, OSError."""
        room = socket.CMSG_SPACE(FDS_PER_MESSAGE * 4)
        data, control, flags, _ = sock.recvmsg(_CHUNK_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % 4])
                self._fds.extend(fds)
        self._bytes += data
        if flags & socket.MSG_CTRUNC:
            raise WireError("no descriptor is left in this process (fix: raise `ulimit -n`)")
        if len(self._bytes) > self.limit_bytes:
            raise WireError("message too long")
        return bool(data)

    def message(self) -> Mapping[str, Json] | None:
        """The next whole message, None while there is none. Raises WireError for what is no JSON object."""
        end = self._bytes.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise WireError("not JSON, or nested too deeply") from exc
        if not isinstance(message, dict):
            raise WireError("not a JSON object")
        return message

    def take_fds(self, count: int) -> tuple[int, ...]:
        """The next `count` descriptors received. Raises WireError where fewer came."""
        if count > len(self._fds):
            raise WireError("descriptors are missing")
        return tuple(self._fds.popleft() for _ in range(count))

    def close(self) -> None:
        """Close the descriptors that nobody took. Idempotent."""
        while self._fds:
            os.close(self._fds.popleft())


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Messages not yet accepted by the socket; never blocks on a slow reader."""

    _waiting: deque[tuple[bytes, tuple[int, ...]]] = field(default_factory=deque)

    @property
    def empty(self) -> bool:
        """Whether the socket has accepted everything."""
        return not self._waiting

    def put(self, message: Mapping[str, Json], fds: tuple[int, ...] = ()) -> None:
        """Queue one message; `fds` stay open on our side."""
        self._waiting.append((encoded(message), fds))

    def flush(self, sock: socket.socket) -> bool:
        """Send what the socket takes now; True when nothing is left. Raises OSError."""
        while self._waiting:
            data, fds = self._waiting.popleft()
            try:
                sent = send_with_fds(sock, data, fds)
            except BlockingIOError:
                self._waiting.appendleft((data, fds))
                return False
            if sent < len(data):
                self._waiting.appendleft((data[sent:], ()))
        return True


def encoded(message: Mapping[str, Json]) -> bytes:
    """One message as it goes over the wire."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def send_with_fds(sock: socket.socket, data: bytes, fds: tuple[int, ...]) -> int:
    """Send bytes with descriptors beside the first; how many bytes were taken. Raises OSError."""
    if not fds:
        return sock.send(data, socket.MSG_NOSIGNAL)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())]
    return sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def _credentials(sock: socket.socket) -> tuple[int, int, int]:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid
