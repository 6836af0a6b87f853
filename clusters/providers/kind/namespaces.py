"""The namespaces of nodes, pods and replicas, opened through the host's /proc and kept while they live."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Final, NamedTuple

from clusters.docker import docker
from clusters.errors import ClusterGoneError, SetupError
from clusters.netns import setns
from clusters.providers.kind import processes
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.processes import Process

_CLONE_NEWPID: Final = 0x20000000
_NODE: Final = "systemd"  # process 1 of a node's container
_IN_PODS: Final = ("pause", "coredns")


class _Held(NamedTuple):
    process: Process
    fd: int


class Namespaces:
    """Descriptors by place; one that belongs to a process which has ended is looked for anew. For several threads."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._retired: list[int] = []
        self._nodes: dict[str, Process] = {}

    def net(self, place: str) -> int:
        """The network namespace of a place. Raises ClusterGoneError where it has none now."""
        with self._lock:
            held = self._held.get(place)
            if held is not None and processes.alive(held.process):
                return held.fd
            process = self._process(place)
            if held is not None:
                self._retired.append(held.fd)  # somebody may be using it still
                del self._held[place]
            self._held[place] = _Held(process, _open(process, "net"))
            return self._held[place].fd

    @contextlib.contextmanager
    def mounts(self, node: str) -> Iterator[int]:
        """A descriptor of the node's mount namespace, open during the block. Raises ClusterGoneError."""
        fd = _open(self.node(node), "mnt")
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def pids(self, node: str) -> Iterator[None]:
        """Children that the thread starts during the block are processes of the node, and see no others.

        Without this a command that reads the node's /proc and signals what it finds there would hit the host's
        processes of the same numbers. Raises ClusterGoneError.
        """
        fd = _open(self.node(node), "pid")
        home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, _CLONE_NEWPID)  # of the thread's later children only (pid_namespaces(7))
            yield
        finally:
            setns(home, _CLONE_NEWPID)
            os.close(home)
            os.close(fd)

    def node(self, name: str) -> Process:
        """Process 1 of a node as the host sees it. Raises ClusterGoneError where the container does not run."""
        known = self._nodes.get(name)
        if known is None or not processes.alive(known):
            self._nodes = _running(self._identity)
            known = self._nodes.get(name)
        if known is None:
            raise ClusterGoneError(f"node {name} does not run (docker start {name})")
        return known

    def net_inode(self, place: str) -> int:
        """The number of the network namespace: no other living one has it. Raises ClusterGoneError."""
        return os.fstat(self.net(place)).st_ino

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        with self._lock:
            for fd in (*self._retired, *(held.fd for held in self._held.values())):
                os.close(fd)
            self._retired.clear()
            self._held.clear()

    def _process(self, place: str) -> Process:
        if place in self._identity.node_names:
            return self.node(place)
        for command in _IN_PODS:
            found = processes.find(command).get(place)
            if found is not None:
                return found
        raise ClusterGoneError(f"{place} of kind cluster {self._identity.name} does not run now")


def _running(identity: Identity) -> dict[str, Process]:
    """Process 1 of every running node container."""
    argv = ["inspect", "--format={{.Name}} {{.State.Pid}}", *identity.node_names]
    try:
        lines = docker(["container", *argv]).splitlines()
    except SetupError as exc:  # any of them is not there at all
        raise ClusterGoneError(f"kind cluster {identity.name} is not whole: {exc}") from exc
    found = {}
    for line in lines:
        name, pid = line.removeprefix("/").split()
        ticks = processes.started(int(pid)) if pid != "0" else None
        if ticks is not None:
            found[name] = Process(pid=int(pid), started=ticks, command=_NODE, place=name)
    return found


def _open(process: Process, kind: str) -> int:
    try:
        return os.open(f"/proc/{process.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise ClusterGoneError(f"{process.place} has just gone: {exc.strerror}") from exc
