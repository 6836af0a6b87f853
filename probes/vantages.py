"""The namespaces a sweep probes from, entered from one place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from clusters.errors import ClusterGoneError
from clusters.netns import setns
from clusters.providers.base import Cluster

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantages:
    """Descriptors of namespaces by place, and the reason for each place that has none.

    `home_fd` is the namespace to come back to, held from the start so that coming back needs no new descriptor.
    """

    home_fd: int
    fds: Mapping[str, int]
    inodes: Mapping[str, int]
    gone: Mapping[str, str]

    @classmethod
    def of(cls, cluster: Cluster, places: Iterable[str]) -> Vantages:
        """Ask the cluster for each place once. Raises OSError where no descriptor is left."""
        home_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        fds: dict[str, int] = {}
        inodes: dict[str, int] = {}
        gone: dict[str, str] = {}
        for place in places:
            try:
                fds[place] = cluster.vantage(place).fd
                inodes[place] = os.fstat(fds[place]).st_ino
            except ClusterGoneError as exc:
                gone[place] = f"vantage gone: {exc}"
        return cls(home_fd=home_fd, fds=fds, inodes=inodes, gone=gone)

    def close(self) -> None:
        """Let go of home; the other descriptors are the cluster's."""
        os.close(self.home_fd)

    @contextlib.contextmanager
    def visiting(self) -> Iterator[None]:
        """The block may `enter` places; after it the calling thread is at home."""
        try:
            yield
        finally:
            setns(self.home_fd)

    def enter(self, place: str) -> None:
        """Move the calling thread, which is `visiting`, into the place's namespace. Raises OSError."""
        setns(self.fds[place])

    def open_each(
        self, places: Iterable[str], opener: Callable[[], _T]
    ) -> tuple[dict[str, _T], dict[str, str]]:
        """What `opener` opens inside each namespace, and why not where it could not."""
        opened: dict[str, _T] = {}
        failed: dict[str, str] = {}
        with self.visiting():
            for place in places:
                if place in self.gone:
                    failed[place] = self.gone[place]
                    continue
                try:
                    self.enter(place)
                    opened[place] = opener()
                except OSError as exc:
                    failed[place] = f"cannot open a socket in {place}: {exc.strerror}"
        return opened, failed

    def moved(self, cluster: Cluster, place: str) -> str | None:
        """Why the namespace asked for at the start is no longer the place's; None where it still is."""
        try:
            inode = os.fstat(cluster.vantage(place).fd).st_ino
        except ClusterGoneError as exc:
            return f"vantage gone: {exc}"
        return None if inode == self.inodes.get(place) else "vantage replaced while it was probed"
