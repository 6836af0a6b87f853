"""DNS replicas of a twin: one server process each, inside its pod's namespace, ending with the holder."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.dns_names import kubernetes_name
from clusters.errors import SetupError, UsageError
from clusters.netns import home_kept, setns
from clusters.providers.twin.layout import DOMAIN
from clusters.providers.twin.processes import forked, kill
from clusters.waiting import Deadline, poll_until

MODES: Final = ("serving", "mute", "stopped")
_PORT: Final = 53
_BACKLOG: Final = 512
_PATIENCE_S: Final = 2.0

Records = Mapping[str, tuple[str, ...]]


@dataclass(slots=True, kw_only=True)
class ReplicaProcess:
    """One replica's server. Its sockets are kept here too, so that the process can be exchanged without a gap."""

    name: str
    address: str
    netns_fd: int
    pid: int | None = None
    _sockets: tuple[socket.socket, socket.socket] | None = None

    def mode(self) -> str:
        """As `ReplicaControl.replica_mode`, from the process itself."""
        state = _state(self.pid) if self.pid else "gone"
        return {"T": "mute", "gone": "stopped", "Z": "stopped"}.get(state, "serving")

    def set_mode(self, mode: str, records: Records) -> None:
        """Bring the process to that mode and see it there. Raises UsageError, SetupError."""
        if mode not in MODES:
            raise UsageError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if mode == "stopped":
            self.end()
            return
        if self.mode() == "stopped":
            self.start(records)
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT if mode == "serving" else signal.SIGSTOP)
        poll_until(
            self.mode,
            until=lambda seen: seen == mode,
            awaited=f"{self.name} to be {mode}",
            deadline=Deadline.after(_PATIENCE_S),
            every_s=0.001,
        )

    def start(self, records: Records) -> None:
        """Open the port and start the process. Raises SetupError where the address is not there to bind."""
        self.end()
        try:
            self._sockets = _listening(self.netns_fd, self.address)
        except OSError as exc:
            raise SetupError(
                f"{self.name} cannot listen on {self.address}: {exc.strerror}"
            ) from exc
        self.pid = self._fork(records)

    def refresh(self, records: Records) -> None:
        """Serve other records from now on, in the same mode; no query is lost."""
        mode, before = self.mode(), self.pid
        if mode == "stopped" or before is None:
            return
        self.pid = self._fork(records)
        if mode == "mute":
            os.kill(self.pid, signal.SIGSTOP)
        kill(before)

    def end(self) -> None:
        """Kill the process and close the port. Idempotent."""
        if self.pid is not None:
            kill(self.pid)
            self.pid = None
        for sock in self._sockets or ():
            sock.close()
        self._sockets = None

    def check(self) -> None:
        """See the replica answer one query, asked inside its own namespace. Raises SetupError."""
        query = _question(kubernetes_name(DOMAIN))
        try:
            with _socket_inside(self.netns_fd, socket.SOCK_DGRAM) as asker:
                asker.settimeout(_PATIENCE_S)
                asker.connect((self.address, _PORT))
                asker.send(query)
                answer = asker.recv(512)
        except OSError as exc:
            raise SetupError(f"{self.name} at {self.address} does not answer: {exc}") from exc
        if answer[:2] != query[:2] or answer[3] & 0x0F:
            raise SetupError(f"{self.name} at {self.address} answers its own name wrongly")

    def _fork(self, records: Records) -> int:
        from clusters.dns_server import DnsConfig, serve  # noqa: PLC0415  # only holders pay for it

        assert self._sockets is not None
        udp, tcp = self._sockets
        config = DnsConfig(replica=self.name, address=self.address, domain=DOMAIN, records=records)

        def live() -> None:
            setns(self.netns_fd)
            os.close(self.netns_fd)
            serve(config, udp, tcp)

        keep = (udp.fileno(), tcp.fileno(), self.netns_fd)
        return forked(live, name=f"graymesh-{self.name}", keep=keep)


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    return stat.rpartition(")")[2].split()[0]


def _socket_inside(netns_fd: int, kind: socket.SocketKind) -> socket.socket:
    with home_kept():
        setns(netns_fd)
        return socket.socket(socket.AF_INET, kind)


def _listening(netns_fd: int, address: str) -> tuple[socket.socket, socket.socket]:
    udp = _socket_inside(netns_fd, socket.SOCK_DGRAM)
    tcp = _socket_inside(netns_fd, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((address, _PORT))
        tcp.bind((address, _PORT))
        tcp.listen(_BACKLOG)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def _question(name: str) -> bytes:
    """A query for the A record (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(">6H", int.from_bytes(os.urandom(2)), 0x0100, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">2H", 1, 1)
