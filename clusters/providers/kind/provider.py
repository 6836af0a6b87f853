"""The kind provider: makes, finds and removes real Kubernetes clusters in Docker."""

from __future__ import annotations

import os
from collections.abc import Callable

from clusters.errors import UsageError
from clusters.providers.base import Cluster, ClusterSpec, ClusterSummary
from clusters.providers.kind import identity as identities
from clusters.providers.kind.identity import Identity


class KindProvider:
    """Clusters that this Docker runs and graymesh made, known by the labels of their docker network."""

    def up(self, spec: ClusterSpec, *, progress: Callable[[str], None]) -> None:
        """As `Provider.up`: every table, rule and answer has been measured when it returns.

        Clusters whose owner process has ended are removed first.
        """
        from clusters.providers.kind import making, removal  # noqa: PLC0415  # the API client takes a second to load

        making.check(spec)
        for identity in identities.known():
            if _abandoned(identity):
                progress(f"removing {identity.name}, whose owner {identity.owner_pid} has ended")
                removal.remove(identity.name)
        _require_free(spec.name)
        making.make(spec, progress)

    def open(self, name: str) -> Cluster:
        """As `Provider.open`. Raises ClusterGoneError where the cluster is not whole."""
        from clusters.providers.kind import cluster, kubeconfig  # noqa: PLC0415  # as above

        identity = identities.find(name)
        return cluster.KindCluster(identity, kubeconfig.ensured(name))

    def down(self, name: str) -> None:
        """As `Provider.down`; one that was not made by graymesh is refused."""
        from clusters.providers.kind import removal  # noqa: PLC0415  # only what `list` needs is loaded at once

        removal.remove(identities.find(name).name)

    def list(self) -> tuple[ClusterSummary, ...]:
        """As `Provider.list`, half-made ones too; none where Docker cannot be used."""
        return tuple(
            ClusterSummary(provider="kind", name=one.name, nodes=one.nodes, replicas=one.replicas)
            for one in identities.known_or_none()
        )


def _require_free(name: str) -> None:
    if any(identity.name == name for identity in identities.known()):
        raise UsageError(f"name: a kind cluster {name!r} exists (graymesh down --name {name})")
    if identities.containers(name):
        raise UsageError(f"name: somebody else's kind cluster is called {name!r}")


def _abandoned(identity: Identity) -> bool:
    if identity.owner_pid is None:
        return False
    try:
        os.kill(identity.owner_pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
