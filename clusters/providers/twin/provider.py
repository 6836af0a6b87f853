"""The twin provider: makes, finds and removes clusters of network namespaces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, cast

from clusters.errors import GraymeshError
from clusters.providers.base import ClusterSpec, ClusterSummary
from clusters.providers.twin import host, layout
from clusters.providers.twin.client import TwinCluster
from clusters.providers.twin.link import Link, stop

_SUMMARY_S: Final = 1.0
_PATIENCE_S: Final = 10.0


class TwinProvider:
    """Clusters of this user on this machine, in the network namespace the process was started in."""

    def up(self, spec: ClusterSpec, *, progress: Callable[[str], None]) -> None:
        """As `Provider.up`. Every replica has answered and every node has its rules when it returns."""
        from clusters.providers.twin import holder  # noqa: PLC0415  # half of this package; only `up` needs it

        layout.check(spec)
        holder.start(spec, progress)

    def open(self, name: str) -> TwinCluster:
        """As `Provider.open`; waits while the cluster is being made.

        An unprivileged twin is joined by this: the process enters its user namespace, for good. Raises SetupError
        where that is impossible.
        """
        link = self._link(name)
        try:
            host.join(link.holder_pid)
            return TwinCluster(link)
        except GraymeshError:
            link.close()
            raise

    def down(self, name: str) -> None:
        """As `Provider.down`. Returns when the holder is gone and the name is free."""
        with contextlib.closing(self._link(name)) as link:
            stop(link, patience_s=_PATIENCE_S)

    def list(self) -> tuple[ClusterSummary, ...]:
        """As `Provider.list`; a cluster that is being made shows no nodes yet."""
        return tuple(summary for name in host.names() for summary in _summary(name))

    def _link(self, name: str) -> Link:
        layout.check_name(name)
        return Link.open(name)


def _summary(name: str) -> tuple[ClusterSummary, ...]:
    try:
        link = Link.open(name)
    except GraymeshError:
        return ()  # gone since the names were read
    nodes = replicas = 0
    with contextlib.closing(link), contextlib.suppress(GraymeshError):
        link.set_timeout_s(_SUMMARY_S)
        numbers = cast("dict[str, int]", link.request("summary"))
        nodes, replicas = numbers["nodes"], numbers["replicas"]
    return (
        ClusterSummary(
            provider="twin",
            name=name,
            nodes=nodes,
            replicas=replicas,
            holder_pid=link.holder_pid,
        ),
    )
