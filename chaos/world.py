"""The cluster as faults and goals see it: its tables, and the extra powers it has, or a clear word that it has not."""

from __future__ import annotations

from functools import cached_property

from chaos import filters
from chaos.kernel import Tables
from clusters.errors import ClusterGoneError, SetupError
from clusters.providers.base import (
    Cluster,
    CniAgents,
    Completed,
    NodeLifecycle,
    ReplicaControl,
)
from clusters.state import ClusterState, Lease
from clusters.topology import Inventory


class World:
    """A running cluster with its powers. Every look is fresh."""

    def __init__(self, cluster: Cluster, tables: Tables) -> None:
        self.cluster = cluster
        self.tables = tables

    @property
    def agents(self) -> CniAgents:
        """The nodes' CNI agents. Raises SetupError where the provider has no hold of them."""
        if isinstance(self.cluster, CniAgents):
            return self.cluster
        raise self._lacking("its CNI agents cannot be steered")

    @property
    def lifecycle(self) -> NodeLifecycle:
        """Restarting nodes. Raises SetupError where the provider cannot."""
        if isinstance(self.cluster, NodeLifecycle):
            return self.cluster
        raise self._lacking("its nodes cannot be restarted")

    @property
    def replicas(self) -> ReplicaControl:
        """Stopping replicas. Raises SetupError where the provider cannot."""
        if isinstance(self.cluster, ReplicaControl):
            return self.cluster
        raise self._lacking("its DNS replicas cannot be steered")

    def frozen_agents(self) -> frozenset[str]:
        """The nodes whose agents are frozen."""
        return frozenset(agent.node for agent in self.agents.agents() if agent.frozen)

    def boot_ids(self) -> dict[str, str]:
        """Every node's boot id; empty where the provider has no node lifecycle."""
        if not isinstance(self.cluster, NodeLifecycle):
            return {}
        lifecycle = self.cluster
        return {node.name: lifecycle.boot_id(node.name) for node in self.inventory().nodes}

    def inventory(self) -> Inventory:
        """What should be there."""
        return self.cluster.inventory()

    def saved_rules(self, node: str, tool: str, table: str) -> str:
        """What iptables-save prints of one table; "" where the table does not exist.

        The whole is asked for: with nftables underneath, `iptables-save -t` makes the table that it is asked about.
        """
        return filters.of_table(self.run(node, f"{tool}-save").stdout, table)

    def run(self, node: str, *argv: str, stdin: str = "") -> Completed:
        """Run a command on a node; a non-zero status raises SetupError with what it said."""
        done = self.cluster.run(node, argv, stdin=stdin)
        if done.status:
            said = " ".join((done.stderr or done.stdout).split())
            raise SetupError(f"node {node}: `{' '.join(argv)}` ended with {done.status}: {said}")
        return done

    def _lacking(self, what: str) -> SetupError:
        return SetupError(f"cluster {self.cluster.name!r} ({self.cluster.provider}): {what}")


class Before:
    """The cluster at one moment, before a fault: what a plan is made from (chaos.model.View)."""

    def __init__(self, world: World) -> None:
        self._world = world

    @cached_property
    def inventory(self) -> Inventory:
        """What should be there."""
        return self._world.inventory()

    @cached_property
    def leases(self) -> tuple[Lease, ...]:
        """What every node has published."""
        return self._world.cluster.leases()

    @cached_property
    def state(self) -> ClusterState:
        """All nodes' tables. Raises ClusterGoneError where one cannot be read: undo would be a guess."""
        state = self._world.tables.read_all()
        for node, reason in state.unreadable.items():
            raise ClusterGoneError(f"node {node} cannot be read: {reason}")
        return state

    @cached_property
    def frozen_agents(self) -> frozenset[str]:
        """The nodes whose agents are frozen."""
        return self._world.frozen_agents()

    def replica_mode(self, replica: str) -> str:
        """The replica's mode."""
        return self._world.replicas.replica_mode(replica)

    def rules(self, node: str, tool: str, table: str) -> str:
        """What iptables-save prints of one table; "" where the table does not exist."""
        return self._world.saved_rules(node, tool, table)

    def boot_id(self, node: str) -> str:
        """The node's boot id."""
        return self._world.lifecycle.boot_id(node)
