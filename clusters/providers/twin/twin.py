"""The cluster inside its holder: nodes, leases, endpoints, what happens to them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from clusters import dns_names
from clusters.errors import (
    ClusterGoneError,
    GraymeshError,
    KernelRefusedError,
    SetupError,
    UsageError,
)
from clusters.flannel.generations import GENERATIONS
from clusters.flannel.plan import live_events
from clusters.netlink import Netlink
from clusters.netns import CLONE_NEWNET, CLONE_NEWNS, setns
from clusters.providers.base import ClusterSpec
from clusters.providers.twin import devices, layout, namespaces, proxies
from clusters.providers.twin.generation import Counter
from clusters.providers.twin.layout import Seat
from clusters.providers.twin.loop import Loop
from clusters.providers.twin.nodes import TwinNode, make_node
from clusters.providers.twin.processes import Started
from clusters.providers.twin.replicas import Records, ReplicaProcess
from clusters.state import Lease
from clusters.topology import Inventory, Node, Pod, Replica


class Twin:
    """Holds every namespace of one cluster. Made inside the underlay's namespace; single-threaded.

    `changes` counts rebuilds of nodes, so that clients know when what they hold has gone.
    """

    def __init__(self, spec: ClusterSpec, loop: Loop) -> None:
        self.spec = spec
        self.changes = Counter()
        self.leases: dict[str, Lease] = {}
        self.replicas: dict[str, ReplicaProcess] = {}
        self.nodes = {node.name: node for node in _make_nodes(spec)}
        self._last_subnet = spec.nodes - 1
        self._generation = GENERATIONS[spec.dialect]
        self._loop = loop
        self._underlay_fd = namespaces.here(CLONE_NEWNET)
        self._mounts_fd = namespaces.here(CLONE_NEWNS)
        self._underlay = Netlink.open_here()

    # Building

    def build(self, progress: Callable[[str], None]) -> None:
        """Make everything, and return when it was seen to work. Raises SetupError, OSError."""
        try:
            self._build(progress)
        except KernelRefusedError as exc:
            raise _explained(exc) from exc

    def _build(self, progress: Callable[[str], None]) -> None:
        namespaces.configure(namespaces.UNDERLAY_SETTINGS)
        self._underlay.apply(devices.underlay(), doing="making the underlay")
        nodes = tuple(self.nodes.values())
        progress(f"wiring {len(nodes)} nodes")
        rules = self._wire(nodes)
        progress("starting the agents")
        for node in nodes:
            self.leases[node.name] = node.start_agent(self._generation, mac=None, lease=None)
        for node in nodes:
            self._begin(node)
        progress("writing the service rules")
        rules.finish()
        progress("starting the replicas")
        self._start_replicas(nodes)

    def _wire(self, nodes: Sequence[TwinNode]) -> Started:
        """Make nodes up to their overlay; the VIP's rules are still being written when it returns."""
        try:
            for node in nodes:
                node.open_namespaces(self.spec.rp_filter)
        finally:
            setns(self._underlay_fd)
        rules = proxies.sync(_netns_fds(nodes), self.endpoints(), fresh=True)
        cables = [devices.uplink(node.index, node.live_netns()) for node in nodes]
        self._underlay.apply(cables, doing="connecting the nodes")
        for node in nodes:
            node.wire(self.spec.name, len(self.nodes), self._mounts_fd)
        return rules

    def _begin(self, node: TwinNode) -> None:
        """Let the node's new agent write its peers and listen to its kernel."""
        node.live_agent().begin(self.leases.values(), node.overlay_fdb())
        node.listen(self._loop, lambda: self.leases[node.name])

    def _start_replicas(self, nodes: Iterable[TwinNode]) -> None:
        records = self.records()
        started = []
        for pod in (p for node in nodes for p in node.pods if p.seat.role == "replica"):
            assert pod.netns_fd is not None
            replica = ReplicaProcess(name=pod.seat.name, address=pod.address, netns_fd=pod.netns_fd)
            replica.start(records)
            self.replicas[replica.name] = replica
            started.append(replica)
        for replica in started:
            replica.check()

    # What the cluster's API would say

    def inventory(self) -> Inventory:
        """What should be there, whether or not it is up now."""
        pods = [(node.name, pod) for node in self.nodes.values() for pod in node.pods]
        return Inventory(
            provider="twin",
            name=self.spec.name,
            vips=(layout.VIP,),
            dialect=self.spec.dialect,
            domain=layout.DOMAIN,
            nodes=tuple(
                Node(
                    name=node.name,
                    underlay=(layout.underlay_address(node.index),),
                    pod_cidrs=(layout.pod_cidr(node.subnet),),
                )
                for node in self.nodes.values()
            ),
            pods=tuple(
                Pod(name=pod.seat.name, node=node, ips=(pod.address,))
                for node, pod in pods
                if pod.seat.role == "pod"
            ),
            replicas=tuple(
                Replica(name=pod.seat.name, node=node, ips=(pod.address,))
                for node, pod in sorted(pods, key=lambda at: _number(at[1].seat))
                if pod.seat.role == "replica"
            ),
        )

    def records(self) -> Records:
        """What the replicas answer."""
        return dns_names.records(self.inventory())

    def endpoints(self) -> tuple[str, ...]:
        """The replicas' addresses, published whatever the replicas do."""
        return tuple(replica.ips[0] for replica in self.inventory().replicas)

    def node(self, name: str) -> TwinNode:
        """The node of that name. Raises UsageError."""
        if name not in self.nodes:
            raise UsageError(f"node: expected one of {', '.join(self.nodes)}, got {name!r}")
        return self.nodes[name]

    def replica(self, name: str) -> ReplicaProcess:
        """The replica of that name. Raises UsageError; ClusterGoneError while its node is down."""
        if name not in self.replicas:
            raise UsageError(f"replica: expected one of {', '.join(self.replicas)}, got {name!r}")
        return self.replicas[name]

    # Leases

    def publish(self, lease: Lease) -> None:
        """Write a node's lease; agents that listen hear of it."""
        self._store(lease.node, lease)

    def withdraw(self, node: str) -> None:
        """Remove a node's lease, as when its Node object is deleted."""
        self._store(node, None)

    def _store(self, name: str, after: Lease | None) -> None:
        before = self.leases.pop(name, None)
        if after is not None:
            self.leases[name] = after
        events = live_events(self._generation, before, after)
        for node in self.nodes.values():
            if node.agent is not None:
                node.agent.hear(events)

    # Agents

    def restart_agent(self, name: str, *, mac: str | None = None, anew: bool = False) -> None:
        """Start the node's agent anew; with `anew` its device and what it has published go first."""
        node = self.node(name)
        log = tuple(node.live_agent().log)
        node.stop_agent(self._loop)
        lease = None if anew else self.leases.get(name)
        if anew:
            node.remove_overlay()
        self.publish(node.start_agent(self._generation, mac=mac, lease=lease, log=log))
        self._begin(node)

    def thaw_agent(self, name: str) -> None:
        """Let a frozen agent run again; a device that its generation would have brought back comes back first."""
        node = self.node(name)
        agent = node.live_agent()
        if not agent.frozen:
            return
        if self._generation.watches_device and node.overlay() is None:
            agent.recreate(self.leases[name])
        agent.thaw(self.leases.values())

    # Nodes

    def take_down(self, name: str) -> None:
        """Switch a node off: nothing of it is left in the kernel; its lease and endpoints stay published."""
        node = self.node(name)
        node.live_netns()
        self._remove(node)

    def _remove(self, node: TwinNode) -> None:
        for pod in node.pods:
            if replica := self.replicas.get(pod.seat.name):
                replica.end()
        self._underlay.batch([devices.unplugged(node.index)])
        node.demolish(self._loop)
        self.changes.increase()

    def bring_up(self, name: str) -> None:
        """Start a node that is down: everything is made anew, the agent announces itself, replicas answer.

        Raises SetupError, OSError; the node is down then.
        """
        node = self.node(name)
        try:
            rules = self._wire([node])
            lease = self.leases.get(name)
            self.publish(node.start_agent(self._generation, mac=None, lease=lease))
            self._begin(node)
            rules.finish()
            self._start_replicas([node])
        except (GraymeshError, OSError):
            self._remove(node)
            raise
        self.changes.increase()

    def free_subnet(self) -> int:
        """The podCIDR that the next new node gets. Raises SetupError."""
        used = [node.subnet for node in self.nodes.values()]
        return layout.next_subnet(used, self._last_subnet)

    def renew(self, name: str, subnet: int) -> None:
        """Replace a node that is down by a new one of that name: that podCIDR, other pod addresses, no lease."""
        node = self.node(name)
        self._last_subnet = subnet
        self.withdraw(name)
        fresh = make_node(node.index, subnet, [pod.seat for pod in node.pods])
        fresh.births = node.births
        self.nodes[name] = fresh

    def sync_proxy(self, name: str) -> None:
        """Write the VIP's rules on one node from the endpoints."""
        node = self.node(name)
        proxies.sync({name: node.live_netns()}, self.endpoints()).finish()

    def sync_others(self, name: str) -> Started:
        """Tell everybody but that node of the endpoints and names as they are now; rules are still being written."""
        for replica in self.replicas.values():
            replica.refresh(self.records())
        others = [node for node in self.nodes.values() if node.up and node.name != name]
        return proxies.sync(_netns_fds(others), self.endpoints())

    def end(self) -> None:
        """Kill the replicas; the kernel frees the rest when this process ends."""
        for replica in self.replicas.values():
            replica.end()

    def place_fds(self) -> dict[str, int]:
        """A descriptor of the network namespace of every place that is up."""
        nodes = {node.name: node.netns_fd for node in self.nodes.values()}
        pods = {p.seat.name: p.netns_fd for node in self.nodes.values() for p in node.pods}
        return {name: fd for name, fd in (nodes | pods).items() if fd is not None}

    def mounts_fd(self, place: str) -> int:
        """A descriptor of the mount namespace of a place's node. Raises ClusterGoneError while that is down."""
        for node in self.nodes.values():
            names = {node.name, *(pod.seat.name for pod in node.pods)}
            if place in names and node.mounts_fd is not None:
                return node.mounts_fd
        raise ClusterGoneError(f"{place} does not exist (now) in twin {self.spec.name!r}")


def _make_nodes(spec: ClusterSpec) -> list[TwinNode]:
    seats: dict[str, list[Seat]] = {}
    for seat in layout.seats(spec):
        seats.setdefault(seat.node, []).append(seat)
    return [make_node(i, i, seats[layout.node_name(i)]) for i in range(spec.nodes)]


def _explained(exc: KernelRefusedError) -> SetupError:
    if exc.code == errno.EOPNOTSUPP:
        return SetupError(f"{exc} (fix: modprobe veth bridge vxlan)")
    return exc


def _netns_fds(nodes: Iterable[TwinNode]) -> dict[str, int]:
    return {node.name: node.live_netns() for node in nodes}


def _number(seat: Seat) -> int:
    return int(seat.name.rpartition("-")[2].lstrip("p"))
