"""Values of chaos: faults, what they claim, the goals they consist of, how far an injection has come."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from clusters.state import ClusterState, Lease
from clusters.topology import Inventory


class Kind(StrEnum):
    """What undo promises."""

    REVERSIBLE = "reversible"  # afterwards the dumps are equal to those before
    HEALING = "healing"  # afterwards the cluster is healthy; the differences that remain are listed


class Phase(StrEnum):
    """How far an injection has come. Every move but the first is in the ledger before the next begins."""

    PLANNED = "planned"  # decided in memory: nothing is written, nothing is done
    RECORDED = (
        "recorded"  # goals and undo are on the disk: from here on anything may have been done
    )
    APPLIED = "applied"  # every goal was brought about, none read back yet
    VERIFIED = "verified"  # the read-back shows what the fault promised
    UNDONE = "undone"  # every undo was carried out, none read back yet
    CLEAN = "clean"  # the read-back shows that nothing of the fault is left


MOVES: Final[Mapping[Phase, frozenset[Phase]]] = MappingProxyType(
    {
        Phase.PLANNED: frozenset({Phase.RECORDED}),
        Phase.RECORDED: frozenset({Phase.APPLIED, Phase.UNDONE}),
        Phase.APPLIED: frozenset({Phase.VERIFIED, Phase.UNDONE}),
        Phase.VERIFIED: frozenset({Phase.UNDONE}),
        Phase.UNDONE: frozenset({Phase.CLEAN}),
        Phase.CLEAN: frozenset(),
    }
)


class Slot(NamedTuple):
    """One place in a node's tables that holds one value, or none.

    neigh: key the address. fdb: key the MAC (with "@destination" where a MAC may have several). route: device "",
    key the prefix (and " metric N" where there is one). addr: key the address with prefix length. link: key "".
    """

    table: Literal["neigh", "fdb", "route", "addr", "link"]
    device: str
    key: str


class Want(NamedTuple):
    """What a slot should hold (None: nothing), and which other values may be overwritten for it.

    `ours` are the values that graymesh, or an agent at its bidding, may have written there; a route matches whatever
    its protocol. None: any value. Whatever else is found there is somebody else's and stays.
    """

    slot: Slot
    value: str | None
    ours: tuple[str | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesGoal:
    """Entries on one node. No neighbour or FDB entry of `device` outside the slots may hold a MAC of `purge`."""

    verb: Literal["tables"] = "tables"
    node: str
    wants: tuple[Want, ...]
    device: str = ""
    purge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VtepGoal:
    """The overlay device has this MAC; None: there is no such device. `ours` as in Want."""

    verb: Literal["vtep"] = "vtep"
    node: str
    device: str
    mac: str | None
    ours: tuple[str | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentGoal:
    """The node's CNI agent is frozen, or runs."""

    verb: Literal["agent"] = "agent"
    node: str
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaGoal:
    """The DNS replica is in this mode; `ours` is the mode that the fault brings about."""

    verb: Literal["replica"] = "replica"
    replica: str
    mode: str


class Rule(NamedTuple):
    """A packet filter rule: `spec` is what iptables-save prints after "-A CHAIN"; positions count from 1."""

    chain: str
    position: int
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesGoal:
    """These rules are there, or are not. `fresh_table`: the table did not exist before the fault."""

    verb: Literal["rules"] = "rules"
    node: str
    tool: Literal["iptables", "ip6tables"]
    table: str
    rules: tuple[Rule, ...]
    present: bool
    fresh_table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RebirthGoal:
    """The node was restarted or recreated: its boot id is no longer this one."""

    verb: Literal["rebirth"] = "rebirth"
    node: str
    how: Literal["restart", "recreate"]
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthGoal:
    """The node is up, it and its peers hold right entries about each other, its replicas serve."""

    verb: Literal["health"] = "health"
    node: str


Goal = TablesGoal | VtepGoal | AgentGoal | ReplicaGoal | RulesGoal | RebirthGoal | HealthGoal


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One small change and what takes it back. A step may consist of the undo alone: it tidies up after the later ones.

    Undo runs through the steps backwards and is right whether or not the step was ever done.
    """

    do: Goal | None = None
    undo: Goal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fault will do. `claims` are the keys it changes, `expect` what must read back besides its own steps."""

    claims: tuple[str, ...]
    steps: tuple[Step, ...]
    expect: tuple[Goal, ...] = ()


class Facts(NamedTuple):
    """What a node is at one moment; `boot_id` is "" where the provider has no node lifecycle."""

    mac: str | None
    underlay: str
    pod_cidr: str
    boot_id: str = ""


class Change(NamedTuple):
    """What a fault changed about a node, for the report."""

    node: str
    before: Facts
    after: Facts

    @property
    def rebooted(self) -> bool:
        """Whether the node was restarted or recreated."""
        return self.before.boot_id != self.after.boot_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A fault that was put in. `proof` are the read-backs that showed its effect, one line each."""

    id: str
    fault: str
    params: Mapping[str, str]
    kind: Kind
    phase: Phase
    claims: tuple[str, ...]
    proof: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoReport:
    """What undo left. `foreign` is what somebody else had put in the fault's place: it was left alone.

    `differences` are those that a healing fault leaves. Neither makes the undo incomplete.
    """

    id: str
    fault: str
    foreign: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverReport:
    """What `recover` found and did; `note` says why where there was nothing to do."""

    cluster: str
    undone: tuple[UndoReport, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One `key=value` that a fault takes. `expected` names what may stand there, for a human."""

    name: str
    expected: str
    takes: Literal["node", "nodes", "replica", "choice", "mac", "text"]
    choices: tuple[str, ...] = ()
    required: bool = True
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Arguments:
    """Checked parameters of one injection."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The value of a parameter that has one."""
        (value,) = self.values[name]
        return value

    def maybe(self, name: str) -> str | None:
        """As `one`; None where it was not given."""
        return self.one(name) if name in self.values else None

    def many(self, name: str) -> tuple[str, ...]:
        """The values of a parameter that takes a list."""
        return self.values[name]


class View(Protocol):
    """The cluster before the fault, for planning: everything here only reads."""

    @property
    def inventory(self) -> Inventory:
        """What should be there."""

    @property
    def leases(self) -> tuple[Lease, ...]:
        """What every node has published."""

    @property
    def state(self) -> ClusterState:
        """All nodes' tables."""

    @property
    def frozen_agents(self) -> frozenset[str]:
        """The nodes whose agents are frozen."""

    def replica_mode(self, replica: str) -> str:
        """The replica's mode."""

    def rules(self, node: str, tool: str, table: str) -> str:
        """What iptables-save (or ip6tables-save) prints of one table; "" where the table does not exist."""

    def boot_id(self, node: str) -> str:
        """The node's boot id."""


class Fault(Protocol):
    """A way to break a cluster, as data. The class docstring tells its story, signature and source."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""

    @property
    def kind(self) -> Kind:
        """What its undo promises."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it takes."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers on whose clusters it works."""

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:
        """What to do and how to take it back. `tag` is the injection's id, for what can carry an owner.

        Raises UsageError where the parameters contradict each other or the cluster.
        """
