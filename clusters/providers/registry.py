"""Which providers there are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clusters.errors import UsageError
from clusters.providers.base import Cluster, Provider
from clusters.providers.kind.provider import KindProvider
from clusters.providers.twin.provider import TwinProvider

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {"twin": TwinProvider(), "kind": KindProvider()}
)


def provider_of(name: str) -> Provider:
    """The provider that has a cluster of that name. Raises UsageError where none has."""
    for provider in PROVIDERS.values():
        if any(summary.name == name for summary in provider.list()):
            return provider
    raise _nobody(name)


def open_cluster(name: str) -> Cluster:
    """A handle on the cluster of that name, whichever provider has it. Raises UsageError where none has."""
    for provider in PROVIDERS.values():
        with contextlib.suppress(UsageError):  # not this one's
            return provider.open(name)
    raise _nobody(name)


def _nobody(name: str) -> UsageError:
    return UsageError(
        f"name: no cluster is called {name!r}; `graymesh list clusters` shows those there are"
    )
