"""A client's connection to a twin's holder: one request at a time, answered or failed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from clusters.errors import (
    ClusterGoneError,
    DeadlineExceededError,
    GraymeshError,
    SetupError,
    UsageError,
)
from clusters.providers.twin import host
from clusters.providers.twin.wire import Inbox, Json, WireError, encoded, peer_pid, peer_uid

REQUEST_TIMEOUT_S: Final = 60.0

_ERRORS: Final[Mapping[str, type[GraymeshError]]] = {
    kind.__name__: kind
    for kind in (UsageError, SetupError, ClusterGoneError, DeadlineExceededError)
}


@dataclass(slots=True, kw_only=True)
class Link:
    """Usable from several threads: requests queue up."""

    name: str
    holder_pid: int
    _sock: socket.socket
    _inbox: Inbox = field(default_factory=Inbox)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: int = 0

    @classmethod
    def open(cls, name: str) -> Link:
        """Connect to the holder of that cluster. Raises UsageError where there is none, SetupError."""
        sock = host.new_socket()
        try:
            sock.connect(host.address_of(name))
            _check_owner(name, sock)
            sock.settimeout(REQUEST_TIMEOUT_S)
            return cls(name=name, holder_pid=peer_pid(sock), _sock=sock)
        except ConnectionRefusedError:
            sock.close()
            raise UsageError(f"name: no twin is called {name!r}") from None
        except SetupError:
            sock.close()
            raise
        except OSError as exc:
            sock.close()
            raise SetupError(f"twin {name!r} cannot be reached: {exc}") from exc

    def request(self, verb: str, **args: Json) -> Json:
        """Ask, and wait for the value. Raises what the holder raised, or ClusterGoneError."""
        value, fds = self.request_fds(verb, **args)
        for fd in fds:
            os.close(fd)
        return value

    def request_fds(self, verb: str, **args: Json) -> tuple[Json, tuple[int, ...]]:
        """As `request`, with the descriptors that came along; they are the caller's to close."""
        with self._lock, self._mapped():
            self._last += 1
            self._sock.sendall(encoded({"id": self._last, "verb": verb, "args": args}))
            while (message := self._inbox.message()) is None:
                if not self._inbox.receive(self._sock):
                    raise ConnectionResetError
            if "error" in message:
                raise _error_from(message["error"])
            count = message.get("fds")
            return message.get("value"), self._inbox.take_fds(
                count if isinstance(count, int) else 0
            )

    def alive(self) -> bool:
        """Whether the holder still has its end open."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return not poll.poll(0)

    def set_timeout_s(self, timeout_s: float) -> None:
        """How long one request may take."""
        self._sock.settimeout(timeout_s)

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._sock.close()
        self._inbox.close()

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            self.close()  # a late answer must not be taken for the next one
            raise SetupError(f"the holder of twin {self.name!r} does not answer") from exc
        except WireError as exc:
            self.close()
            raise SetupError(f"twin {self.name!r}: {exc}") from exc
        except OSError as exc:
            self.close()
            raise ClusterGoneError(
                f"twin {self.name!r} is gone: {exc or 'its holder hung up'}"
            ) from exc


def stop(link: Link, *, patience_s: float) -> None:
    """End the holder and wait until the kernel has let go of it: first asked, after `patience_s` killed."""
    try:
        pidfd = os.pidfd_open(link.holder_pid)
    except ProcessLookupError:
        return
    try:
        if not link.alive():
            return
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, wanted)
            if _ended(pidfd, patience_s):
                break
        else:
            raise SetupError(f"pid {link.holder_pid}, which holds twin {link.name!r}, does not end")
    finally:
        os.close(pidfd)
        reap(link.holder_pid)


def _ended(pidfd: int, patience_s: float) -> bool:
    """Wait for the process to end; by poll(2), since select(2) refuses descriptors above 1023."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(patience_s * 1000))


def reap(pid: int) -> None:
    """Collect the exit status of a holder that is this process's own child."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _check_owner(name: str, sock: socket.socket) -> None:
    """Anybody may take any abstract address; what we asked for must be our own."""
    if peer_uid(sock) != os.getuid():
        raise SetupError(f"name: {name!r} is held by a process of another user")


def _error_from(value: Json) -> GraymeshError:
    if not isinstance(value, dict):
        return SetupError(str(value))
    return _ERRORS.get(str(value.get("class")), SetupError)(str(value.get("text")))
