"""The revert timer: a process of its own that undoes an injection whose time is up, whoever else has died."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from clusters.errors import (
    ClusterBusyError,
    ClusterGoneError,
    GraymeshError,
    SetupError,
    UsageError,
)
from clusters.ledger import Ledger
from clusters.places import state_root
from clusters.providers.base import Cluster
from clusters.providers.registry import open_cluster
from clusters.providers.twin import host
from clusters.waiting import Deadline, poll_until

_POLL_S: Final = 0.5  # how soon an injection that was undone elsewhere is noticed
_ALIVE_S: Final = 2.0  # how often the cluster is looked for
_LEAVES_S: Final = 5.0  # for a cancelled timer to be gone
_START_TICKS: Final = (
    19  # starttime among the fields after the command's name (proc(5), /proc/PID/stat)
)


class Mark(NamedTuple):
    """A timer's process. `started` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    started: int


class Timers(Protocol):
    """Starting and cancelling revert timers."""

    def start(self, cluster: str, injection: str, after_s: float) -> Mark:
        """Have the injection undone after that many seconds. Raises SetupError."""

    def cancel(self, mark: Mark) -> None:
        """End the timer and wait until it is gone; fine where it has gone already."""


class ProcessTimers:
    """Timers as detached processes."""

    def start(self, cluster: str, injection: str, after_s: float) -> Mark:
        """Start a session of its own that holds nothing of this process: no descriptor, no terminal, no lock.

        A fresh interpreter and no fork: the caller may have threads, and to join an unprivileged twin a process must
        have one only. Where the caller has joined one, the timer gets the way out to the host's sockets handed over.
        """
        words, actions = _handed_over(host.passport())
        program = (sys.executable, "-P", "-m", "chaos.timer")
        argv = (*program, cluster, injection, str(after_s), *words)
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        places = {
            "GRAYMESH_STATE": str(state_root()),
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        try:
            pid = os.posix_spawn(
                sys.executable,
                argv,
                {**os.environ, **places},
                file_actions=[*null, *actions],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGTERM,),
            )
        except OSError as exc:
            raise SetupError(f"cannot start the revert timer: {exc.strerror}") from exc
        return Mark(pid, _started(pid) or 0)

    def cancel(self, mark: Mark) -> None:
        """End the timer and wait until it is gone; a timer that undoes does not end itself.

        The caller holds the cluster's lock, without which a timer does nothing but wait: no undo is cut short.
        """
        if mark.pid == os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(mark.pid)
            try:
                if _started(mark.pid) == mark.started:
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                    over = select.poll()  # select(2) cannot take descriptors beyond 1023
                    over.register(pidfd, select.POLLIN)
                    over.poll(_LEAVES_S * 1000)
            finally:
                os.close(pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(mark.pid, os.WNOHANG)


def _handed_over(
    passport: host.Passport | None,
) -> tuple[tuple[str, ...], list[tuple[int, int, int]]]:
    """The words and the file actions by which a timer gets at the descriptors of a passport."""
    if passport is None:
        return (), []
    free = max(passport.fds) + 1  # beyond both, so that no copy lands on one still to be copied
    copies = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(passport.fds, free)]
    return tuple(map(str, (passport.uid, *(to for _, _, to in copies)))), copies


def _started(pid: int) -> int | None:
    """When a process started; None where it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[_START_TICKS])


class _Watched:
    """One injection as the ledger has it, read again only when the file has grown. Kept small: no typed records."""

    def __init__(self, cluster: str, injection: str) -> None:
        self._ledger = Ledger.of(cluster)
        self._injection = injection
        self._size: int | None = -1
        self._closed = False

    def closed(self) -> bool:
        """Whether nothing of it is left to undo."""
        size = self._ledger.size_bytes()
        if size != self._size:
            self._size = size
            mine = [line for line in self._ledger.replay() if line.get("id") == self._injection]
            self._closed = not mine or any(line.get("phase") == "clean" for line in mine)
        return self._closed


class _Life:
    """Whether the cluster is still there, asked now and then: a timer does not outlive it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._cluster: Cluster | None = None
        self._next = Deadline.after(0.0)

    def over(self) -> bool:
        """Whether the cluster has gone."""
        if self._next.left_s():
            return False
        self._next = Deadline.after(_ALIVE_S)
        try:
            self._cluster = self._cluster or open_cluster(self._name)
            self._cluster.leases()
        except (UsageError, ClusterGoneError):
            return True
        return False


def wait_and_revert(cluster: str, injection: str, after_s: float) -> None:
    """Wait until the time is up, the cluster gone or the injection closed; where it is still open then, undo it.

    While another process holds the cluster's lock this goes on waiting: that process may be about to undo it.
    Raises what `engine.revert` raises.
    """
    watched, life = _Watched(cluster, injection), _Life(cluster)
    due = Deadline.after(after_s)

    def finished() -> bool:
        if watched.closed():
            return True
        return (not due.left_s() or life.over()) and _reverted(cluster, injection)

    poll_until(finished, awaited="the end", deadline=Deadline(math.inf), every_s=_POLL_S)


def _reverted(cluster: str, injection: str) -> bool:
    from chaos.engine import revert  # noqa: PLC0415  # a waiting timer stays small

    try:
        revert(cluster, injection)
    except ClusterBusyError:
        return False
    return True


def main(argv: list[str]) -> int:
    """CLUSTER INJECTION SECONDS [passport]; nobody reads what it prints, the ledger has what went wrong."""
    cluster, injection, after_s, *words = argv
    passport = _passport(words)
    _close_all_but(passport.fds if passport else ())
    if passport:
        host.travel_on(passport)
    try:
        wait_and_revert(cluster, injection, float(after_s))
    except GraymeshError as exc:
        return exc.exit_code
    return 0


def _passport(words: Sequence[str]) -> host.Passport | None:
    if not words:
        return None
    uid, table_fd, door_fd = map(int, words)
    return host.Passport(uid, (table_fd, door_fd))


def _close_all_but(keep: Sequence[int]) -> None:
    """Let go of what the starter itself had inherited, such as the pipes of a make or of a CI runner."""
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
