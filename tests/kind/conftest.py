"""One real cluster for all tests of this folder; when they end, nothing of it may be left."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clusters.docker import docker
from clusters.providers.base import ClusterSpec
from clusters.providers.kind import identity as identities
from clusters.providers.kind import readiness
from clusters.providers.kind.cluster import KindCluster
from clusters.providers.kind.provider import KindProvider
from clusters.waiting import Deadline

NAME = f"t{os.getpid()}"
_HEALED_S = 180.0


@pytest.fixture(scope="session")
def whole() -> Iterator[KindCluster]:
    """Four nodes, one client pod each, three replicas."""
    provider = KindProvider()
    provider.up(ClusterSpec(provider="kind", name=NAME), progress=print)
    cluster = provider.open(NAME)
    assert isinstance(cluster, KindCluster)
    yield cluster
    cluster.close()
    provider.down(NAME)
    assert identities.containers(NAME) == ()
    assert docker(["network", "ls", f"--filter=name=graymesh-{NAME}", "--quiet"]) == ""


@pytest.fixture
def cluster(whole: KindCluster) -> Iterator[KindCluster]:
    """The cluster, ready before the test and made ready again after it."""
    _await_ready(whole)
    yield whole
    for status in whole.agents():
        if status.frozen:
            whole.thaw_agent(status.node)
    _await_ready(whole)


def _await_ready(cluster: KindCluster) -> None:
    identity = identities.find(NAME)
    readiness.await_ready(cluster, identity, deadline=Deadline.after(_HEALED_S))
