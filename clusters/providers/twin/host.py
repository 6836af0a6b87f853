"""How a process reaches twins' holders: their names, their sockets, the user namespace of an unprivileged one.

Holders listen on abstract unix sockets of the network namespace in which `up` was called. A process that joins an
unprivileged holder's user namespace cannot keep that network namespace as one to come back to, so it moves into an
empty one and leaves a door behind: a child that hands out sockets made on the other side and ends with its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from clusters.errors import SetupError
from clusters.netns import CLONE_NEWNET, CLONE_NEWUSER, setns, unshare
from clusters.providers.twin.processes import close_all_but, fork

_LISTENING: Final = 0x10000  # flags column of /proc/net/unix: __SO_ACCEPTCON


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joined:
    """What a process keeps of the place it left."""

    uid: int
    unix_table_fd: int
    door: socket.socket


_joined: _Joined | None = None  # namespaces belong to the process, so does this


class Passport(NamedTuple):
    """What a process started by this one needs to reach the holders as this one does: it must inherit `fds`."""

    uid: int
    fds: tuple[int, int]  # the table of unix sockets, the door


def passport() -> Passport | None:
    """This process's; None where it has joined nothing, so that a child needs none."""
    if _joined is None:
        return None
    return Passport(_joined.uid, (_joined.unix_table_fd, _joined.door.fileno()))


def travel_on(passport: Passport) -> None:
    """Stand where the process that gave the passport stands: it started this one, which inherited the descriptors."""
    global _joined  # noqa: PLW0603  # a fact about the process, like its namespaces
    table_fd, door_fd = passport.fds
    for fd in passport.fds:
        os.set_inheritable(fd, False)  # noqa: FBT003  # its only form
    _joined = _Joined(uid=passport.uid, unix_table_fd=table_fd, door=socket.socket(fileno=door_fd))


def caller_uid() -> int:
    """The user's id outside any user namespace joined here."""
    return _joined.uid if _joined else os.getuid()


def address_of(name: str) -> str:
    """The abstract socket address that cluster `name` of this user has."""
    return f"\0graymesh/{caller_uid()}/{name}"


def new_socket() -> socket.socket:
    """A unix stream socket of the host's network namespace. Raises SetupError."""
    if _joined is None:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _joined.door.send(b"?")
        _, fds, _, _ = socket.recv_fds(_joined.door, 1, 1, socket.MSG_CMSG_CLOEXEC)
    except OSError as exc:
        raise SetupError(f"the way back to the host's sockets is lost: {exc.strerror}") from exc
    if not fds:
        raise SetupError("the way back to the host's sockets is lost")
    return socket.socket(fileno=fds[0])


def names() -> tuple[str, ...]:
    """The names of this user's clusters, from the kernel's table of unix sockets."""
    prefix = f"@graymesh/{caller_uid()}/"
    rows = (line.split() for line in _unix_table().splitlines()[1:])
    found = {
        row[7].removeprefix(prefix)
        for row in rows
        if len(row) == 8 and row[7].startswith(prefix) and int(row[3], 16) & _LISTENING
    }
    return tuple(sorted(found))


def join(pid: int) -> None:
    """Enter the user namespace of that holder, where it has one of its own; no effect once inside.

    Raises SetupError where this process has threads (numpy starts some) or sits in another user namespace.
    """
    wanted = Path(f"/proc/{pid}/ns/user")
    try:
        if wanted.stat().st_ino == Path("/proc/self/ns/user").stat().st_ino:
            return
        fd = os.open(wanted, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise SetupError(f"cannot look at the user namespace of pid {pid}: {exc.strerror}") from exc
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads > 1:
        os.close(fd)
        raise SetupError(
            f"an unprivileged twin can only be joined by a process without threads, this one has {threads}"
        )
    _enter(fd)


def _enter(user_fd: int) -> None:
    global _joined  # noqa: PLW0603  # a fact about the process, like its namespaces
    table_fd = os.open("/proc/self/net/unix", os.O_RDONLY | os.O_CLOEXEC)
    uid = caller_uid()
    door = _open_door()
    try:
        setns(user_fd, CLONE_NEWUSER)
        unshare(CLONE_NEWNET)
    except OSError as exc:
        door.close()
        os.close(table_fd)
        raise SetupError(
            f"cannot enter the twin's user namespace: {exc.strerror}; a process can be in one only"
        ) from exc
    finally:
        os.close(user_fd)
    _joined = _Joined(uid=uid, unix_table_fd=table_fd, door=door)


def _unix_table() -> str:
    if _joined is None:
        return Path("/proc/self/net/unix").read_text()
    os.lseek(_joined.unix_table_fd, 0, os.SEEK_SET)
    with open(os.dup(_joined.unix_table_fd)) as table:  # noqa: PTH123  # a descriptor has no path
        return table.read()


def _open_door() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if fork():
        theirs.close()
        return ours
    try:
        os.setsid()  # a terminal's signals are not for the door
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.closerange(0, 3)
        close_all_but((theirs.fileno(),))
        _hand_out(theirs)
    finally:
        os._exit(0)


def _hand_out(door: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while door.recv(1):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
                socket.send_fds(door, [b"!"], [made.fileno()])
