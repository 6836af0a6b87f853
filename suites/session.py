"""The cluster a verb works on: one that runs already, or a fresh one that goes away again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from clusters.errors import SetupError
from clusters.lock import held
from clusters.providers.base import Cluster, ClusterSpec, Provider
from clusters.providers.registry import PROVIDERS, open_cluster
from suites.interrupts import Interrupts


def provider_named(name: str) -> Provider:
    """The provider of that name. Raises SetupError where this version does not have it."""
    if name not in PROVIDERS:
        have = ", ".join(sorted(PROVIDERS))
        raise SetupError(f"{name} is not available in this version: it has {have}")
    return PROVIDERS[name]


@contextlib.contextmanager
def opened(name: str) -> Iterator[Cluster]:
    """A handle on a running cluster, closed afterwards. Takes no lock: for verbs that only read.

    Raises UsageError where there is no such cluster.
    """
    with contextlib.closing(open_cluster(name)) as cluster:
        yield cluster


@contextlib.contextmanager
def claimed(name: str, who: str) -> Iterator[Cluster]:
    """As `opened`, holding the cluster's lock. Raises ClusterBusyError that says who holds it."""
    with held(name, who), opened(name) as cluster:
        yield cluster


@contextlib.contextmanager
def fresh(
    spec: ClusterSpec, who: str, *, interrupts: Interrupts, progress: Callable[[str], None]
) -> Iterator[Cluster]:
    """A cluster made for the block and removed after it in every case. Raises UsageError, SetupError."""
    provider = provider_named(spec.provider)
    provider.up(spec, progress=progress)
    try:
        with claimed(spec.name, who) as cluster:
            yield cluster
    finally:
        with interrupts.shielded():
            provider.down(spec.name)
