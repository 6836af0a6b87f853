"""A handle on a running kind cluster: asks its API, enters its nodes' and pods' namespaces."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from clusters import commands
from clusters.docker import docker
from clusters.errors import ClusterGoneError, SetupError, UsageError
from clusters.kube import Kube
from clusters.netns import Vantage
from clusters.providers.base import AgentStatus, Completed
from clusters.providers.kind import agents, manifests, replicas
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.inventory import (
    read_inventory,
    read_leases,
    remembering,
    with_devices,
)
from clusters.providers.kind.namespaces import Namespaces
from clusters.providers.kind.readiness import await_node, await_rules
from clusters.state import Lease
from clusters.topology import Inventory
from clusters.waiting import Deadline, pause

_DOCKER_S: Final = 60.0
_BACK_S: Final = 180.0
_RULES_S: Final = 60.0
_GRACE_S: Final = 1


class KindCluster:
    """Implements Cluster and every extra power of clusters/providers/base.py.

    While the API server does not answer, the inventory and the leases are those that were last seen: nodes' and
    pods' namespaces are found without it. Descriptors given out stay open until `close`.
    """

    provider = "kind"

    def __init__(self, identity: Identity, kubeconfig: Path) -> None:
        self.name = identity.name
        self._identity = identity
        self._kubeconfig = kubeconfig
        self._namespaces = Namespaces(identity)
        self._inventory: Inventory | None = None
        self._leases: tuple[Lease, ...] | None = None

    @functools.cached_property
    def _kube(self) -> Kube:
        return Kube(self._kubeconfig)

    # Cluster

    def inventory(self) -> Inventory:
        """As `Cluster.inventory`."""
        return with_devices(self.published(), self._namespaces)

    def published(self) -> Inventory:
        """What the API server says, or said last."""
        try:
            now = read_inventory(self._identity, self._kube)
        except SetupError:
            if self._inventory is None:
                raise
            self._require_nodes()
        else:
            self._inventory = remembering(now, self._inventory)
        return self._inventory

    def vantage(self, place: str) -> Vantage:
        """As `Cluster.vantage`."""
        return Vantage(place=place, fd=self._namespaces.net(place))

    def leases(self) -> tuple[Lease, ...]:
        """As `Cluster.leases`."""
        try:
            self._leases = read_leases(self._kube)
        except SetupError:
            if self._leases is None:
                raise
        return self._leases

    def run(
        self, place: str, argv: Sequence[str], *, timeout_s: float = 10.0, stdin: str = ""
    ) -> Completed:
        """As `Cluster.run`; the command is a process of the node, from its file system."""
        netns_fd = self._namespaces.net(place)
        node = self._node_of(place)
        with self._namespaces.mounts(node) as mountns_fd, self._namespaces.pids(node):
            return commands.run_argv(
                argv,
                netns_fd=netns_fd,
                mountns_fd=mountns_fd,
                timeout_s=timeout_s,
                stdin=stdin,
                env=_ENVIRONMENT,
            )

    def exec_argv(self, place: str, argv: Sequence[str]) -> int:
        """As `Executes.exec_argv`."""
        netns_fd = self._namespaces.net(place)
        node = self._node_of(place)
        with self._namespaces.mounts(node) as mountns_fd, self._namespaces.pids(node):
            return commands.exec_argv(
                argv, netns_fd=netns_fd, mountns_fd=mountns_fd, env=_ENVIRONMENT
            )

    def close(self) -> None:
        """As `Cluster.close`. Idempotent."""
        self._namespaces.close()
        if "_kube" in self.__dict__:
            self._kube.close()

    # NodeLifecycle

    def restart_node(self, node: str, *, down_s: float = 0.0) -> None:
        """As `NodeLifecycle.restart_node`; the container is stopped, with a grace of 1 s, and started."""
        self._check_node(node)
        docker(["stop", f"--time={_GRACE_S}", node], timeout_s=_DOCKER_S)
        pause(down_s)
        self._start(node)

    def recreate_node(self, node: str, *, down_s: float = 0.0) -> None:
        """As `NodeLifecycle.recreate_node`; the control plane cannot be recreated: it holds the API (UsageError)."""
        self._check_node(node)
        if node == self._identity.node_names[0]:
            raise UsageError(f"node {node} is the control plane, which cannot be recreated")
        before = self.inventory().node(node).pod_cidrs
        docker(["stop", f"--time={_GRACE_S}", node], timeout_s=_DOCKER_S)
        self._kube.delete_node(node)
        with self._reserved(node, before):
            pause(down_s)
            self._start(node)

    @contextlib.contextmanager
    def _reserved(self, node: str, pod_cidrs: tuple[str, ...]) -> Iterator[None]:
        """Nobody gets these podCIDRs during the block."""
        if not pod_cidrs:
            yield
            return
        held = manifests.reservation(node, pod_cidrs, self.name)
        self._kube.create([held])
        try:
            yield
        finally:
            self._kube.delete_node(manifests.reserved_name(node))

    def boot_id(self, node: str) -> str:
        """As `NodeLifecycle.boot_id`: `status.nodeInfo.bootID` is the host's, so process 1 and its namespace tell."""
        self._check_node(node)
        return f"{self._namespaces.node(node).started}-{self._namespaces.net_inode(node)}"

    # CniAgents

    def agents(self) -> tuple[AgentStatus, ...]:
        """As `CniAgents.agents`."""
        return agents.statuses(self._identity, agents.FLANNELD)

    def agent_log(self, node: str) -> tuple[str, ...]:
        """As `AgentLogs.agent_log`."""
        return agents.log(self._kube, node)

    def freeze_agent(self, node: str) -> None:
        """As `CniAgents.freeze_agent`."""
        agents.freeze(node, agents.FLANNELD)

    def thaw_agent(self, node: str) -> None:
        """As `CniAgents.thaw_agent`."""
        agents.thaw(node, agents.FLANNELD)

    def renew_vtep(self, node: str, mac: str | None = None) -> None:
        """As `CniAgents.renew_vtep`."""
        agents.renew_vtep(self, self._kube, node, mac)

    def restart_agent(self, node: str) -> None:
        """As `CniAgents.restart_agent`."""
        agents.restart_flanneld(self, self._kube, node)

    # ReplicaControl, ServiceProxies

    def replica_mode(self, replica: str) -> str:
        """As `ReplicaControl.replica_mode`."""
        return replicas.mode_of(self, replica)

    def set_replica_mode(self, replica: str, mode: str) -> None:
        """As `ReplicaControl.set_replica_mode`; see `replicas.set_mode` for what a mute one leads to."""
        replicas.set_mode(self, replica, mode)

    def sync_proxy(self, node: str) -> None:
        """As `ServiceProxies.sync_proxy`: kube-proxy is restarted, as nothing less makes it write all its rules."""
        self._check_node(node)
        deadline = Deadline.after(_RULES_S)
        agents.restart_proxy(self._kube, node, deadline=deadline)
        await_rules(self, node, deadline=deadline)

    def _start(self, node: str) -> None:
        docker(["start", node], timeout_s=_DOCKER_S)
        await_node(self, node, deadline=Deadline.after(_BACK_S))

    def _check_node(self, node: str) -> None:
        if node not in self._identity.node_names:
            known = ", ".join(self._identity.node_names)
            raise UsageError(f"node {node!r}: expected one of {known}")

    def _node_of(self, place: str) -> str:
        if place in self._identity.node_names:
            return place
        try:
            return (self._inventory or self.inventory()).place_node(place)
        except KeyError:
            self._inventory = None
        try:
            return self.inventory().place_node(place)
        except KeyError:
            raise ClusterGoneError(f"{place} is not part of kind cluster {self.name}") from None

    def _require_nodes(self) -> None:
        """Raises ClusterGoneError where no node runs at all: then it is not just the API that is away."""
        for node in self._identity.node_names[:-1]:
            try:
                self._namespaces.node(node)
            except ClusterGoneError:
                continue
            return
        self._namespaces.node(self._identity.node_names[-1])


_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
