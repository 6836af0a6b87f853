"""One run at a time per cluster: an flock(2) that the kernel drops with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusters.errors import ClusterBusyError
from clusters.places import make_state_dir, storing

_FILE: Final = "lock"
_held_fds: Final[set[int]] = set()


@contextlib.contextmanager
def held(name: str, who: str) -> Iterator[None]:
    """Hold the cluster's lock for the block. `who` is the verb or run id that others are shown.

    Raises ClusterBusyError at once where another process (or another block of this one) holds it, SetupError
    where the state directory cannot be used. A child forked inside the block does not hold the lock. After the
    block the directory is removed too if it holds nothing else.
    """
    _let_go_in_children()
    path, fd = _acquire(name)
    _held_fds.add(fd)
    try:
        with storing(path):
            _sign(fd, who)
        yield
    finally:
        _clear_away(path)
        fcntl.flock(fd, fcntl.LOCK_UN)  # for a child too that has not yet come to close its copy
        _held_fds.discard(fd)
        os.close(fd)


def _acquire(name: str) -> tuple[Path, int]:
    while True:
        path = make_state_dir(name) / _FILE
        with storing(path):
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # the last holder removed the directory just now
        if not _locked(fd):
            raise _busy(name, fd)
        if _is_at(path, fd):
            return path, fd
        os.close(fd)  # the last holder removed the file between our open and our lock


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _sign(fd: int, who: str) -> None:
    text = json.dumps({"pid": os.getpid(), "who": who, "since_s": int(time.time())})
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _busy(name: str, fd: int) -> ClusterBusyError:
    """The error that says who holds the lock; closes `fd`."""
    text = os.pread(fd, 4096, 0)
    os.close(fd)
    try:
        found = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since_s"]))
        holder = f"{found['who']} (pid {found['pid']}, since {since})"
    except (ValueError, KeyError, TypeError):
        holder = "a process that has only just started"  # locked, not signed yet
    return ClusterBusyError(
        f"cluster {name!r} is held by {holder}: wait for it to end, or stop it"
        f" and run `graymesh recover --name {name}`"
    )


def _clear_away(path: Path) -> None:
    """Remove the directory where it holds but the lock: done before unlocking, so no other holder loses it."""
    with contextlib.suppress(OSError):  # tidiness only: what stays is an unlocked file
        if os.listdir(path.parent) == [_FILE]:  # noqa: PTH208  # a list is compared, no Path is wanted
            path.unlink()
            path.parent.rmdir()


@functools.cache
def _let_go_in_children() -> None:
    """A lock belongs to the open file, which fork(2) shares: close it in every child (once per process)."""
    os.register_at_fork(after_in_child=_close_held)


def _close_held() -> None:
    for fd in _held_fds:
        os.close(fd)
    _held_fds.clear()
