"""A handle on a running twin: asks its holder, enters its namespaces."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from clusters.commands import exec_argv, run_argv
from clusters.errors import ClusterGoneError
from clusters.flannel import device
from clusters.netlink import Netlink
from clusters.netns import Vantage
from clusters.providers.base import AgentStatus, Completed
from clusters.providers.twin.generation import CounterView
from clusters.providers.twin.link import REQUEST_TIMEOUT_S, Link
from clusters.providers.twin.messages import inventory_from, leases_from
from clusters.providers.twin.wire import Json
from clusters.state import Lease
from clusters.topology import Inventory


class TwinCluster:
    """Implements Cluster, NodeLifecycle, CniAgents, ReplicaControl, ServiceProxies, Executes.

    Usable from several threads. Descriptors given out stay open until the second rebuild of a node after that.
    """

    provider = "twin"

    def __init__(self, link: Link) -> None:
        self.name = link.name
        self._link = link
        self._lock = threading.RLock()
        (changes_fd,) = link.request_fds("hello")[1]
        self._changes = CounterView(changes_fd)
        self._seen = -1
        self._places: dict[str, int] = {}
        self._retired: list[int] = []
        self._wanted: Json = None

    # Cluster

    def inventory(self) -> Inventory:
        """As `Cluster.inventory`."""
        with self._lock:
            self._refresh()
            wanted = inventory_from(self._wanted, {})
            macs = {node.name: self._live_mac(node.name) for node in wanted.nodes}
            return inventory_from(self._wanted, macs)

    def vantage(self, place: str) -> Vantage:
        """As `Cluster.vantage`."""
        return Vantage(place=place, fd=self._netns(place))

    def leases(self) -> tuple[Lease, ...]:
        """As `Cluster.leases`."""
        return leases_from(self._link.request("leases"))

    def run(
        self, place: str, argv: Sequence[str], *, timeout_s: float = 10.0, stdin: str = ""
    ) -> Completed:
        """As `Cluster.run`; the command sees its node's own /run."""
        with self._mounts(place) as mounts_fd:
            return run_argv(
                argv,
                netns_fd=self._netns(place),
                mountns_fd=mounts_fd,
                timeout_s=timeout_s,
                stdin=stdin,
            )

    def exec_argv(self, place: str, argv: Sequence[str]) -> int:
        """As `Executes.exec_argv`."""
        with self._mounts(place) as mounts_fd:
            return exec_argv(argv, netns_fd=self._netns(place), mountns_fd=mounts_fd)

    def close(self) -> None:
        """As `Cluster.close`. Idempotent."""
        with self._lock:
            self._link.close()
            self._drop_places()
            self._close_retired()
            self._changes.close()

    # NodeLifecycle

    def restart_node(self, node: str, *, down_s: float = 0.0) -> None:
        """As `NodeLifecycle.restart_node`; the node stays away for `down_s` seconds."""
        self._rebuild("restart_node", node, down_s)

    def recreate_node(self, node: str, *, down_s: float = 0.0) -> None:
        """As `NodeLifecycle.recreate_node`; the node stays away for `down_s` seconds."""
        self._rebuild("recreate_node", node, down_s)

    def boot_id(self, node: str) -> str:
        """As `NodeLifecycle.boot_id`."""
        return cast("str", self._link.request("boot_id", node=node))

    def _rebuild(self, verb: str, node: str, down_s: float) -> None:
        """Ask over a connection of its own: other threads go on asking while the node is away."""
        with contextlib.closing(Link.open(self.name)) as own:
            own.set_timeout_s(REQUEST_TIMEOUT_S + down_s)
            own.request(verb, node=node, down_s=down_s)

    # CniAgents

    def agents(self) -> tuple[AgentStatus, ...]:
        """As `CniAgents.agents`; nodes that are down have none."""
        found = cast("list[tuple[str, bool]]", self._link.request("agents"))
        return tuple(AgentStatus(node=node, frozen=frozen) for node, frozen in found)

    def agent_log(self, node: str) -> tuple[str, ...]:
        """The last lines that the node's agent logged."""
        return tuple(cast("list[str]", self._link.request("agent_log", node=node)))

    def freeze_agent(self, node: str) -> None:
        """As `CniAgents.freeze_agent`."""
        self._link.request("freeze_agent", node=node)

    def thaw_agent(self, node: str) -> None:
        """As `CniAgents.thaw_agent`."""
        self._link.request("thaw_agent", node=node)

    def renew_vtep(self, node: str, mac: str | None = None) -> None:
        """As `CniAgents.renew_vtep`."""
        self._link.request("renew_vtep", node=node, mac=mac)

    def restart_agent(self, node: str) -> None:
        """As `CniAgents.restart_agent`."""
        self._link.request("restart_agent", node=node)

    # ReplicaControl, ServiceProxies

    def replica_mode(self, replica: str) -> str:
        """As `ReplicaControl.replica_mode`."""
        return cast("str", self._link.request("replica_mode", replica=replica))

    def set_replica_mode(self, replica: str, mode: str) -> None:
        """As `ReplicaControl.set_replica_mode`."""
        self._link.request("set_replica_mode", replica=replica, mode=mode)

    def sync_proxy(self, node: str) -> None:
        """As `ServiceProxies.sync_proxy`."""
        self._link.request("sync_proxy", node=node)

    # What is kept of the holder's

    @contextlib.contextmanager
    def _mounts(self, place: str) -> Iterator[int]:
        (fd,) = self._link.request_fds("mounts", place=place)[1]
        try:
            yield fd
        finally:
            os.close(fd)

    def _netns(self, place: str) -> int:
        with self._lock:
            self._refresh()
            if place not in self._places:
                raise ClusterGoneError(f"{place} does not exist (now) in twin {self.name!r}")
            return self._places[place]

    def _refresh(self) -> None:
        """Fetch descriptors and inventory again where a node was rebuilt since."""
        if not self._link.alive():
            raise ClusterGoneError(f"twin {self.name!r} is gone")
        changes = self._changes.read()
        if changes == self._seen:
            return
        places = self._fetch_places()
        self._wanted = self._link.request("inventory")
        self._drop_places()
        self._places, self._seen = places, changes

    def _fetch_places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        more = True
        while more:  # a rebuild meanwhile counts as a change, so the next look starts over
            value, fds = self._link.request_fds("places", start=len(places))
            part = cast("Mapping[str, object]", value)
            names = cast("list[str]", part["names"])
            places.update(zip(names, fds, strict=True))
            more = bool(part["more"])
        return places

    def _drop_places(self) -> None:
        """Retire what is held. It is closed at the next time, so that a thread on its way in is not misled."""
        self._close_retired()
        self._retired = list(self._places.values())
        self._places = {}

    def _close_retired(self) -> None:
        for fd in self._retired:
            os.close(fd)
        self._retired = []

    def _live_mac(self, node: str) -> str | None:
        fd = self._places.get(node)
        if fd is None:
            return None
        with Netlink.open(fd) as link:
            found = device.find(link)
        return found.mac if found else None
