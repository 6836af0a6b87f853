"""Children of a twin's holder: forked without exec, named, ending when their parent does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from clusters.errors import GraymeshError, SetupError

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_NAME: Final = 15
_PIPE_BYTES: Final = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def fork() -> int:
    """As os.fork. A parent with threads is allowed: the child leaves the parent's frames and locks alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn
        return os.fork()


def set_name(name: str) -> None:
    """The name that `ps` and `top` show, at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Get that signal when the parent dies (0: no longer); at once where `parent` is not the parent any more."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if number and os.getppid() != parent:  # it died before prctl
        os.kill(os.getpid(), number)


def close_all_but(keep: Sequence[int]) -> None:
    """Close every descriptor from 3 on, except these."""
    low = 3
    for fd in sorted(fd for fd in keep if fd >= low):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def forked(live: Callable[[], None], *, name: str, keep: Sequence[int] | None) -> int:
    """Start a child that ends with this process; it holds no descriptor of it but `keep` (None: all)."""
    parent = os.getpid()
    pid = fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(parent)
        set_name(name)
        if keep is not None:
            close_all_but(keep)
        live()
        status = 0
    finally:
        os._exit(status)


def kill(pid: int) -> None:
    """Kill a child and collect it. Idempotent."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@dataclass(frozen=True, slots=True)
class Started:
    """Work going on in children; `finish` is to be called once."""

    _children: tuple[tuple[int, int], ...]  # pid, pipe

    @property
    def pipes(self) -> tuple[int, ...]:
        """Descriptors that become readable when the work behind them has ended."""
        return tuple(pipe for _, pipe in self._children)

    def finish(self) -> None:
        """Wait for all. Raises SetupError with what the first failing one said."""
        said = [_collected(pid, pipe) for pid, pipe in self._children]
        for text in filter(None, said):
            raise SetupError(text)


def in_parallel(jobs: Sequence[Callable[[], None]]) -> Started:
    """Run jobs in as many children as there are processors; a job fails by raising GraymeshError."""
    count = min(len(jobs), os.cpu_count() or 1)
    return Started(tuple(_worker(jobs[i::count]) for i in range(count)))


def _worker(jobs: Sequence[Callable[[], None]]) -> tuple[int, int]:
    ours, theirs = os.pipe2(os.O_CLOEXEC)

    def live() -> None:
        try:
            for job in jobs:
                job()
            os.write(theirs, b"done")
        except GraymeshError as exc:
            os.write(theirs, str(exc).encode()[:_PIPE_BYTES])

    pid = forked(live, name="graymesh-worker", keep=None)
    os.close(theirs)
    return pid, ours


def _collected(pid: int, pipe: int) -> str:
    with open(pipe, "rb") as stream:  # a descriptor has no path
        said = stream.read().decode(errors="replace")
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return "" if said == "done" else said or "a worker of the twin's holder died"
