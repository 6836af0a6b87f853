"""One node of a running twin, seen from its holder: namespaces, wiring, agent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clusters.errors import ClusterGoneError, GraymeshError
from clusters.flannel import device, kernel_events
from clusters.flannel.agent import Agent
from clusters.flannel.generations import Generation
from clusters.netlink import Netlink, decode, tables
from clusters.netlink import requests as rq
from clusters.netlink.connection import GROUP_LINK, GROUP_NEIGH
from clusters.netns import home_kept, setns
from clusters.providers.twin import devices, layout, namespaces
from clusters.providers.twin.devices import PodLink
from clusters.providers.twin.layout import Seat
from clusters.providers.twin.loop import Loop
from clusters.state import Fdb, Lease, Link

_FIRST_VTEP = 4  # index of the first flannel.1; later ones get the next free, as in any kernel
_VTEP_STEP = 1000


@dataclass(slots=True, kw_only=True)
class TwinPod:
    """One pod or replica; `netns_fd` is None while its node is down."""

    seat: Seat
    address: str
    netns_fd: int | None = None


@dataclass(slots=True, kw_only=True)
class TwinNode:
    """One node; what is None or absent is so while the node is down."""

    index: int
    subnet: int
    pods: tuple[TwinPod, ...]
    births: int = 0
    netns_fd: int | None = None
    mounts_fd: int | None = None
    link: Netlink | None = None
    agent: Agent | None = None
    _vteps: int = 0
    _events: list[Netlink] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The node's name."""
        return layout.node_name(self.index)

    @property
    def up(self) -> bool:
        """Whether the node exists now."""
        return self.netns_fd is not None

    def boot_id(self) -> str:
        """Changes with every rebuild: how often the node was made, and which namespace it is."""
        return f"{self.births}-{os.fstat(self.live_netns()).st_ino}"

    def live_netns(self) -> int:
        """The node's namespace. Raises ClusterGoneError while it is down."""
        if self.netns_fd is None:
            raise ClusterGoneError(f"node {self.name} is down")
        return self.netns_fd

    def live_agent(self) -> Agent:
        """The node's agent. Raises ClusterGoneError while the node is down."""
        if self.agent is None:
            raise ClusterGoneError(f"node {self.name} is down")
        return self.agent

    def open_namespaces(self, rp_filter: int) -> None:
        """Make the namespaces of the node and its pods; the thread ends up in one of them."""
        self.births += 1
        self.netns_fd = namespaces.new_network(namespaces.node_settings(rp_filter))
        for pod in self.pods:
            pod.netns_fd = namespaces.new_network(namespaces.POD_SETTINGS)

    def wire(self, cluster: str, nodes: int, base_mounts_fd: int) -> None:
        """Make every device and entry in the node and its pods but the overlay; the cable must be there."""
        with home_kept():
            setns(self.live_netns())
            namespaces.configure({"net/ipv4/conf/eth0/rp_filter": "0"})
            files = {"flannel/subnet.env": _subnet_env(self.subnet)}
            self.mounts_fd = namespaces.new_mounts(base_mounts_fd, files)
            self.link = Netlink.open_here()
            links = self._pod_links()
            wiring = devices.node(cluster, self.index, self.subnet, links, nodes)
            self.link.apply(wiring, doing=f"wiring {self.name}")
            gateway = layout.gateway_address(self.subnet)
            addresses = [pod.address for pod in links]
            for pod in links:
                setns(pod.netns_fd)
                requests = devices.pod(cluster, self.name, pod, gateway, addresses)
                with Netlink.open_here() as inner:
                    inner.apply(requests, doing=f"wiring {pod.name}")

    def start_agent(
        self,
        generation: Generation,
        *,
        mac: str | None,
        lease: Lease | None,
        log: Sequence[str] = (),
    ) -> Lease:
        """Start a new agent: device made, or taken over; the lease to publish. `mac` is for a new device."""
        assert self.link is not None
        kept = lease.mac if lease and generation.keeps_mac else None
        self.agent = Agent(
            node=self.name,
            generation=generation,
            underlay=layout.underlay_address(self.index),
            lower=devices.ETH0,
            cluster_cidr=layout.CLUSTER_CIDR,
            link=self.link,
        )
        self.agent.log.extend(log)
        self._vteps += 1
        spare = _FIRST_VTEP if self._vteps == 1 else self._vteps * _VTEP_STEP
        found = self.overlay()
        return self.agent.prepare(
            layout.pod_cidr(self.subnet), mac or kept or device.random_mac(), found, spare
        )

    def overlay(self) -> Link | None:
        """The overlay device as the kernel has it now, None where it is absent."""
        assert self.link is not None
        return device.find(self.link)

    def overlay_fdb(self) -> tuple[Fdb, ...]:
        """The forwarding entries of the overlay device."""
        assert self.link is not None
        ifindex = self.live_agent().ifindex
        return decode.fdb(self.link.dump(tables.fdb_of(ifindex)), {ifindex: device.NAME})

    def listen(self, loop: Loop, own_lease: Callable[[], Lease]) -> None:
        """Let the agent hear what its generation listens to in the kernel."""
        agent = self.live_agent()
        if agent.generation.answers_misses:
            self._solicit()
            self._subscribe(loop, GROUP_NEIGH, lambda data: _on_neighbours(agent, data))
        if agent.generation.watches_device:
            self._subscribe(loop, GROUP_LINK, lambda data: _on_links(agent, data, own_lease))

    def _solicit(self) -> None:
        with home_kept():
            setns(self.live_netns())
            namespaces.configure({device.APP_SOLICIT: "3"})

    def _subscribe(self, loop: Loop, groups: int, react: Callable[[bytes], None]) -> None:
        events = Netlink.open(self.live_netns(), groups=groups)
        os.set_blocking(events.fileno(), False)
        self._events.append(events)

        def readable() -> None:
            with contextlib.suppress(OSError, GraymeshError):  # overrun: the kernel asks again
                react(events.receive())

        loop.watch(events.fileno(), readable)

    def stop_agent(self, loop: Loop) -> None:
        """Let the agent end; its entries stay. Idempotent."""
        for events in self._events:
            loop.unwatch(events.fileno())
            events.close()
        self._events.clear()
        self.agent = None

    def remove_overlay(self) -> None:
        """Delete the overlay device, where there is one."""
        assert self.link is not None
        self.link.batch([rq.del_link(device.NAME)])

    def demolish(self, loop: Loop) -> None:
        """Take the node's devices away and let go of its namespaces, so that nobody who still holds one sees life."""
        self.stop_agent(loop)
        if self.link is not None:
            ports = [rq.del_link(link.port) for link in self._pod_links()]
            overlay_and_bridge = [rq.del_link(device.NAME), rq.del_link(devices.CNI0)]
            self.link.batch([*ports, *overlay_and_bridge])
            self.link.close()
        for fd in (self.netns_fd, self.mounts_fd, *(pod.netns_fd for pod in self.pods)):
            if fd is not None:
                os.close(fd)
        self.netns_fd = self.mounts_fd = self.link = None
        for pod in self.pods:
            pod.netns_fd = None

    def _pod_links(self) -> list[PodLink]:
        return [
            PodLink(
                name=pod.seat.name,
                role=pod.seat.role,
                slot=pod.seat.slot,
                netns_fd=pod.netns_fd,
                address=pod.address,
            )
            for pod in self.pods
            if pod.netns_fd is not None
        ]


def make_node(index: int, subnet: int, seats: Sequence[Seat]) -> TwinNode:
    """A node that is down, with its pods' addresses in that subnet."""
    pods = [TwinPod(seat=s, address=layout.pod_address(subnet, s.slot)) for s in seats]
    return TwinNode(index=index, subnet=subnet, pods=tuple(pods))


def _subnet_env(subnet: int) -> str:
    """What flanneld leaves for the CNI plugin."""
    return (
        f"FLANNEL_NETWORK={layout.CLUSTER_CIDR}\n"
        f"FLANNEL_SUBNET={layout.gateway_address(subnet)}/24\n"
        f"FLANNEL_MTU={layout.POD_MTU_BYTES}\n"
        "FLANNEL_IPMASQ=true\n"
    )


def _on_neighbours(agent: Agent, data: bytes) -> None:
    for address in kernel_events.misses(data, agent.ifindex):
        agent.answer(address)


def _on_links(agent: Agent, data: bytes, own_lease: Callable[[], Lease]) -> None:
    if device.NAME in kernel_events.deleted_links(data) and not agent.frozen:
        agent.recreate(own_lease())
