"""The namespaces a sweep probes from, entered from one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from clusters.errors import ClusterGoneError
from clusters.netns import setns
from clusters.providers.base import Cluster

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantages:
    """Descriptors of namespaces by place, and the reason for each place that has none."""

    fds: Mapping[str, int]
    inodes: Mapping[str, int]
    gone: Mapping[str, str]

    @classmethod
    def of(cls, cluster: Cluster, places: Iterable[str]) -> Vantages:
        """Ask the cluster for each place once."""
        fds: dict[str, int] = {}
        inodes: dict[str, int] = {}
        gone: dict[str, str] = {}
        for place in places:
            try:
                fds[place] = cluster.vantage(place).fd
                inodes[place] = os.fstat(fds[place]).st_ino
            except ClusterGoneError as exc:
                gone[place] = f"vantage gone: {exc}"
        return cls(fds=fds, inodes=inodes, gone=gone)

    def enter(self, place: str) -> None:
        """Move the calling thread into the place's namespace; the caller has `home_kept`. Raises OSError."""
        setns(self.fds[place])

    def open_each(
        self, places: Iterable[str], opener: Callable[[], _T]
    ) -> tuple[dict[str, _T], dict[str, str]]:
        """What `opener` opens inside each namespace, and why not where it could not; the caller has `home_kept`."""
        opened: dict[str, _T] = {}
        failed: dict[str, str] = {}
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
