"""Processes of kind nodes as the host sees them: found in /proc, without the API or the container runtime."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from clusters.providers.kind.manifests import PLACE_VARIABLE

_PROC: Final = Path("/proc")
_VARIABLES: Final = (f"{PLACE_VARIABLE}=", "NODE_NAME=")  # the second is kubeadm's, for kube-proxy


class Process(NamedTuple):
    """A process; `started` (clock ticks since the host's boot) tells it from a later one with the same number."""

    pid: int
    started: int
    command: str
    place: str


def find(command: str) -> dict[str, Process]:
    """The newest process of that command (comm, 15 characters) by its place: a pod's, replica's or node's name."""
    found: dict[str, Process] = {}
    for process in _all(command):
        known = found.get(process.place)
        if known is None or known.started < process.started:
            found[process.place] = process
    return found


def _all(command: str) -> Iterator[Process]:
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended while we looked
            here = _PROC / entry.name
            if (here / "comm").read_text().strip() != command:
                continue
            place = _place((here / "environ").read_bytes().decode(errors="replace"))
            if place:
                pid = int(entry.name)
                yield Process(pid=pid, started=_stat(pid)[1], command=command, place=place)


def _place(environ: str) -> str:
    words = environ.split("\0")
    for variable in _VARIABLES:
        for word in words:
            if word.startswith(variable):
                return word.removeprefix(variable)
    return ""


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time: fields 3 and 22 of /proc/PID/stat (proc(5)); the name may hold anything."""
    rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return rest[0], int(rest[19])


def started(pid: int) -> int | None:
    """The start time of a process, None where there is none of that number."""
    try:
        state, ticks = _stat(pid)
    except OSError:
        return None
    return None if state == "Z" else ticks


def alive(process: Process) -> bool:
    """Whether that very process still runs."""
    return started(process.pid) == process.started


def stopped(process: Process) -> bool:
    """Whether the process is stopped by a signal, as SIGSTOP does. False where it is gone."""
    try:
        return _stat(process.pid)[0] == "T"
    except OSError:
        return False


def stop(process: Process) -> None:
    """SIGSTOP. Raises ProcessLookupError."""
    os.kill(process.pid, signal.SIGSTOP)


def go_on(process: Process) -> None:
    """SIGCONT. Raises ProcessLookupError."""
    os.kill(process.pid, signal.SIGCONT)
