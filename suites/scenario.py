"""What a scenario is: where it can run, what it breaks, what a judgement must say about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from clusters.errors import UsageError
from clusters.providers.base import ClusterSpec
from clusters.state import ClusterState
from clusters.topology import Inventory
from probes.model import Entry

Edge = tuple[str, str]


class UnsuitableError(UsageError):
    """The cluster cannot carry the scenario; the text says what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What exactly must be found, as sets; an empty one means that nothing may be named.

    causes: the finding ids that name this effect rightly; none where all must pass.
    edges: directed node pairs whose frames are lost. entries: wrong table entries that must be named; `also`: those
    that may be (they exist only where traffic asked for them). replicas: those that do not answer. nodes: those
    named as culprits. vipless: nodes whose pods cannot use the VIP, whatever the replicas do.
    """

    causes: frozenset[str] = frozenset()
    edges: frozenset[Edge] = frozenset()
    entries: frozenset[Entry] = frozenset()
    also: frozenset[Entry] = frozenset()
    replicas: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    vipless: frozenset[str] = frozenset()

    @property
    def healthy(self) -> bool:
        """Whether everything must pass."""
        return not self.causes


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One injection as it happened: what the fault was told, and the tables before and after it."""

    params: Mapping[str, str]
    before: ClusterState
    after: ClusterState

    @property
    def peers(self) -> tuple[str, ...]:
        """The `peers=` parameter."""
        return tuple(self.params["peers"].split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A fault, how a seed chooses its parameters on an inventory, and what must then be found.

    `choose` and `effect` are pure. `repairable`: wrong entries cause it, so that a repair of them can prove it.
    """

    fault: str
    choose: Callable[[Inventory, Random], Mapping[str, str]]
    effect: Callable[[Occurrence], Effect]
    repairable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One behaviour that a cluster is put to. `breaks` is None where nothing is broken.

    `place` puts the replicas of a fresh cluster on node indexes; `dialects` are those it makes sense for, the
    first one being the default of a fresh cluster.
    """

    name: str
    summary: str
    breaks: Breakage | None = None
    least_nodes: int = 2
    least_replicas: int = 1
    dialects: tuple[str, ...] = ("static", "persistent", "l3miss")
    providers: tuple[str, ...] = ("twin", "kind")
    place: Callable[[ClusterSpec, Random], tuple[int, ...]] | None = None

    def check_spec(self, spec: ClusterSpec) -> None:
        """Raise UnsuitableError where a cluster made to this spec could not carry the scenario."""
        self._check(spec.provider, spec.dialect, nodes=spec.nodes, replicas=spec.dns_replicas)

    def check_inventory(self, inventory: Inventory) -> None:
        """Raise UnsuitableError where this cluster cannot carry the scenario."""
        self._check(
            inventory.provider,
            inventory.dialect,
            nodes=len(inventory.nodes),
            replicas=len(inventory.replicas),
        )

    def _check(self, provider: str, dialect: str, *, nodes: int, replicas: int) -> None:
        if nodes < self.least_nodes:
            raise UnsuitableError(
                f"{self.name} needs at least {self.least_nodes} nodes, got {nodes}"
            )
        if replicas < self.least_replicas:
            raise UnsuitableError(
                f"{self.name} needs at least {self.least_replicas} replicas, got {replicas}"
            )
        if dialect not in self.dialects:
            raise UnsuitableError(
                f"{self.name} needs dialect {' or '.join(self.dialects)}, got {dialect}"
            )
        if provider not in self.providers:
            raise UnsuitableError(
                f"{self.name} runs on {' or '.join(self.providers)}, not on {provider}"
            )


Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One thing a scenario asserts, and how it came out."""

    name: str
    outcome: Outcome
    message: str = field(default="")
