"""One small twin for the prober's tests, and rules that end with their block."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.twin.client import TwinCluster
from clusters.providers.twin.provider import TwinProvider
from probes.engine import sweep
from probes.model import Observation
from probes.plan import make_plan

Rule = Callable[..., contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="session")
def cluster() -> Iterator[TwinCluster]:
    """Four nodes, one pod each, three replicas; every test leaves it as it was."""
    provider = TwinProvider()
    spec = ClusterSpec(name=f"probes-{os.getpid()}", nodes=4, owner_pid=os.getpid())
    provider.up(spec, progress=lambda _text: None)
    try:
        with contextlib.closing(provider.open(spec.name)) as made:
            yield made
    finally:
        provider.down(spec.name)


@pytest.fixture
def rule(cluster: TwinCluster) -> Rule:
    """Adds an iptables rule for the length of a block: place, chain, what it matches."""

    @contextlib.contextmanager
    def ruled(place: str, chain: str, *match: str) -> Iterator[None]:
        _iptables(cluster, place, "-I", chain, *match)
        try:
            yield
        finally:
            _iptables(cluster, place, "-D", chain, *match)

    return ruled


def _iptables(cluster: Cluster, place: str, *arguments: str) -> None:
    done = cluster.run(place, ("iptables", *arguments))
    assert done.status == 0, done.stderr


@pytest.fixture
def look(cluster: TwinCluster) -> Callable[..., Observation]:
    """One sweep by the protocols named."""

    def looked(*protocols: str, count: int = 5) -> Observation:
        return sweep(cluster, make_plan(cluster.inventory(), protocols, count=count))

    return looked
