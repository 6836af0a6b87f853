"""Answers clients of a twin's holder: one connection each, requests in order, replies when they are ready."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from clusters.errors import GraymeshError, SetupError, UsageError
from clusters.providers.twin.loop import Loop
from clusters.providers.twin.wire import Inbox, Json, Outbox, WireError, peer_uid

_REQUEST_LIMIT_BYTES: Final = 1 << 20
_HUGE: Final = 1e12
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a verb gives back; `fds` stay open on the holder's side."""

    value: Json = None
    fds: tuple[int, ...] = ()


@dataclass(slots=True)
class Later:
    """A reply that comes after the verb has returned."""

    _send: Callable[[Reply | GraymeshError], None] | None = None
    _ready: Reply | GraymeshError | None = None

    def resolve(self, outcome: Reply | GraymeshError) -> None:
        """Give the outcome, once."""
        self._ready = outcome
        if self._send:
            self._send(outcome)

    def connect(self, send: Callable[[Reply | GraymeshError], None]) -> None:
        """Say where the outcome goes; at once where it is there already."""
        self._send = send
        if self._ready is not None:
            send(self._ready)


@dataclass(frozen=True, slots=True)
class Args:
    """The arguments of one request, typed on the way out. Every getter raises UsageError."""

    values: Mapping[str, Json]

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise UsageError(f"{name}: expected a text, got {value!r}")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None where it is absent."""
        return None if self.values.get(name) is None else self.text(name)

    def optional_mac(self, name: str) -> str | None:
        """A MAC that a device can have, in lower case, or None where it is absent."""
        mac = self.optional_text(name)
        if mac is None:
            return None
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or not mac.strip("0:"):
            raise UsageError(f"{name}: expected a unicast MAC like 02:00:00:00:00:01, got {mac!r}")
        return mac.lower()

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _HUGE:
            raise UsageError(f"{name}: expected a number, got {value!r}")
        return float(value)


Verb = Callable[[Args], Reply | Later]


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    inbox: Inbox = field(default_factory=lambda: Inbox(limit_bytes=_REQUEST_LIMIT_BYTES))
    outbox: Outbox = field(default_factory=Outbox)
    closed: bool = False


@dataclass(slots=True, kw_only=True)
class Server:
    """Serves `verbs` on a listening socket; clients of other users are turned away."""

    loop: Loop
    listener: socket.socket
    verbs: Mapping[str, Verb]

    def start(self) -> None:
        """Accept clients from now on."""
        self.listener.settimeout(0)
        self.loop.watch(self.listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:  # the client went away again, or descriptors ran out: nobody to tell
            return
        if peer_uid(sock) != os.getuid():
            sock.close()
            return
        sock.settimeout(0)
        connection = _Connection(sock)
        self.loop.watch(sock.fileno(), lambda: self._read(connection))

    def _read(self, connection: _Connection) -> None:
        try:
            more = connection.inbox.receive(connection.sock)
            self._work(connection)
        except BlockingIOError:
            return
        except (OSError, WireError):
            more = False
        if not more:
            self._close(connection)

    def _work(self, connection: _Connection) -> None:
        """Answer what was received, unless answers wait: who does not read is not read either. Raises WireError."""
        while connection.outbox.empty and (request := connection.inbox.message()) is not None:
            self._answer(connection, request)

    def _answer(self, connection: _Connection, request: Mapping[str, Json]) -> None:
        number = request.get("id")
        try:
            outcome = self._perform(request)
        except GraymeshError as exc:
            self._send(connection, number, exc)
        except OSError as exc:
            self._send(connection, number, SetupError(f"{request.get('verb')}: {exc.strerror}"))
        else:
            if isinstance(outcome, Later):
                outcome.connect(lambda ready: self._send(connection, number, ready))
            else:
                self._send(connection, number, outcome)

    def _perform(self, request: Mapping[str, Json]) -> Reply | Later:
        verb = self.verbs.get(str(request.get("verb")))
        args = request.get("args", {})
        if verb is None or not isinstance(args, dict):
            raise UsageError(f"verb: expected one of {', '.join(self.verbs)}, got {request!r}")
        return verb(Args(args))

    def _send(self, connection: _Connection, number: Json, outcome: Reply | GraymeshError) -> None:
        if connection.closed:
            return
        if isinstance(outcome, Reply):
            message = {"id": number, "value": outcome.value, "fds": len(outcome.fds)}
            connection.outbox.put(message, outcome.fds)
        else:
            error = {"class": type(outcome).__name__, "text": str(outcome)}
            connection.outbox.put({"id": number, "error": error})
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        fd = connection.sock.fileno()
        try:
            if connection.outbox.flush(connection.sock):
                self.loop.watch(fd, lambda: self._read(connection))
            else:
                self.loop.watch_writable(fd, lambda: self._resume(connection))
        except OSError:
            self._close(connection)

    def _resume(self, connection: _Connection) -> None:
        self._flush(connection)
        try:
            if not connection.closed:
                self._work(connection)
        except WireError:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self.loop.unwatch(connection.sock.fileno())
            connection.sock.close()
            connection.inbox.close()
