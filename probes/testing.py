"""Made-up clusters for tests of the decision layer: healthy ones, and what changes one entry of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from clusters.state import (
    Address,
    ClusterState,
    Fdb,
    Lease,
    Link,
    Neigh,
    NodeState,
    Route,
    VipRules,
)
from clusters.topology import Inventory, Node, Pod, Replica, Vtep

VIP: Final = "10.96.0.10"
_V4: Final = ("ipv4",)
_DUAL: Final = ("ipv4", "ipv6")
_Change = Callable[[NodeState], NodeState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a made-up cluster. `replica_nodes` places replica i; by default on n1, n2, …"""

    nodes: int = 4
    pods: int = 1
    replicas: int = 3
    dialect: str = "static"
    dual: bool = False
    rp_filter: int = 1
    replica_nodes: Sequence[int] | None = None

    @property
    def families(self) -> tuple[str, ...]:
        """The families that pods have."""
        return _DUAL if self.dual else _V4

    def replica_node(self, replica: int) -> int:
        """On which node a replica sits."""
        if self.replica_nodes is not None:
            return self.replica_nodes[replica]
        return (replica + 1) % self.nodes


def healthy_state(shape: Shape) -> ClusterState:
    """A cluster as flannel leaves it, all tables right, VIP rules read, counters at zero."""
    inventory = _inventory(shape)
    nodes = {f"n{i}": _node_state(shape, inventory, i) for i in range(shape.nodes)}
    leases = tuple(
        Lease(f"n{i}", cidr(i, family), underlay(i, family), mac(i, family), family)
        for i in range(shape.nodes)
        for family in shape.families
    )
    return ClusterState(inventory=inventory, nodes=nodes, leases=leases)


def underlay(i: int, family: str = "ipv4") -> str:
    """The underlay address of node `i`."""
    if family == "ipv6":
        return f"fc00:f853::{i + 2:x}"
    return f"172.18.{(i + 2) >> 8}.{(i + 2) & 255}"


def underlay_mac(i: int) -> str:
    """The MAC of node `i` on the underlay."""
    return f"02:42:ac:12:{(i + 2) >> 8:02x}:{(i + 2) & 255:02x}"


def mac(i: int, family: str = "ipv4") -> str:
    """The VTEP MAC of node `i`."""
    return f"{'ce' if family == 'ipv4' else 'c6'}:00:00:00:{i >> 8:02x}:{i & 255:02x}"


def cidr(i: int, family: str = "ipv4") -> str:
    """The podCIDR of node `i`."""
    if family == "ipv4":
        return f"10.244.{i}.0/24"
    return str(ipaddress.ip_network(f"fd00:10:244:{i:x}::/64"))


def gateway(i: int, family: str = "ipv4") -> str:
    """The address of node `i`'s overlay device."""
    return cidr(i, family).partition("/")[0]


def device(family: str = "ipv4") -> str:
    """The overlay device of a family."""
    return "flannel.1" if family == "ipv4" else "flannel-v6.1"


def pod_ip(i: int, slot: int, family: str = "ipv4") -> str:
    """The address in place `slot` on node `i`."""
    return str(ipaddress.ip_network(cidr(i, family))[slot + 2])


def changed(
    state: ClusterState, node: str, change: Callable[[NodeState], NodeState]
) -> ClusterState:
    """The cluster with one node's tables changed."""
    return replace(state, nodes={**state.nodes, node: change(state.nodes[node])})


def set_neigh(ip: str, lladdr: str, dev: str = "flannel.1", nud: str = "permanent") -> _Change:
    """As `ip neigh replace`."""

    def change(node: NodeState) -> NodeState:
        kept = (row for row in node.neighbours if (row.device, row.ip) != (dev, ip))
        return replace(node, neighbours=(*kept, Neigh(dev, ip, lladdr, nud)))

    return change


def del_neigh(ip: str, dev: str = "flannel.1") -> _Change:
    """As `ip neigh del`."""

    def change(node: NodeState) -> NodeState:
        kept = (row for row in node.neighbours if (row.device, row.ip) != (dev, ip))
        return replace(node, neighbours=tuple(kept))

    return change


def set_fdb(lladdr: str, dst: str, dev: str = "flannel.1") -> _Change:
    """As `bridge fdb replace … self permanent`."""

    def change(node: NodeState) -> NodeState:
        kept = (row for row in node.fdb if (row.device, row.mac) != (dev, lladdr))
        return replace(node, fdb=(*kept, Fdb(dev, lladdr, dst)))

    return change


def del_fdb(lladdr: str, dev: str = "flannel.1") -> _Change:
    """As `bridge fdb del`."""

    def change(node: NodeState) -> NodeState:
        kept = (row for row in node.fdb if (row.device, row.mac) != (dev, lladdr))
        return replace(node, fdb=tuple(kept))

    return change


def set_route(route: Route) -> _Change:
    """As `ip route replace`."""

    def change(node: NodeState) -> NodeState:
        key = (route.dst, route.metric)
        kept = (row for row in node.routes if (row.dst, row.metric) != key)
        return replace(node, routes=(route, *kept))

    return change


def del_route(dst: str) -> _Change:
    """As `ip route del`."""

    def change(node: NodeState) -> NodeState:
        return replace(node, routes=tuple(row for row in node.routes if row.dst != dst))

    return change


def set_setting(name: str, value: int) -> _Change:
    """As `sysctl -w`."""

    def change(node: NodeState) -> NodeState:
        return replace(node, settings={**node.settings, name: value})

    return change


def set_link(link: Link) -> _Change:
    """Give a device other properties; its entries stay."""

    def change(node: NodeState) -> NodeState:
        return replace(node, links={**node.links, link.name: link})

    return change


def del_link(dev: str) -> _Change:
    """As `ip link del`: the device goes with its addresses, neighbours, FDB and routes."""

    def change(node: NodeState) -> NodeState:
        return replace(
            _flushed(node, dev),
            links={name: link for name, link in node.links.items() if name != dev},
            addresses=tuple(row for row in node.addresses if row.device != dev),
            fdb=tuple(row for row in node.fdb if row.device != dev),
        )

    return change


def flap_link(dev: str) -> _Change:
    """As `ip link set down` and `up`: routes and neighbours go, FDB and addresses stay."""
    return lambda node: _flushed(node, dev)


def set_vip(udp: Iterable[str], tcp: Iterable[str] | None = None) -> _Change:
    """Other DNAT targets for the VIP."""
    targets = tuple(udp)
    rules = VipRules(targets={"udp": targets, "tcp": targets if tcp is None else tuple(tcp)})
    return lambda node: replace(node, vip=rules)


def _flushed(node: NodeState, dev: str) -> NodeState:
    return replace(
        node,
        neighbours=tuple(row for row in node.neighbours if row.device != dev),
        routes=tuple(row for row in node.routes if row.device != dev),
    )


def _inventory(shape: Shape) -> Inventory:
    used = [shape.pods] * shape.nodes
    replicas = []
    for r in range(shape.replicas):
        at = shape.replica_node(r)
        ips = tuple(pod_ip(at, used[at], family) for family in shape.families)
        used[at] += 1
        replicas.append(Replica(name=f"dns-{r}", node=f"n{at}", ips=ips))
    return Inventory(
        provider="twin",
        name="test",
        vips=(VIP,),
        dialect=shape.dialect,
        cluster_cidrs=("10.244.0.0/16", "fd00:10:244::/48")[: len(shape.families)],
        nodes=tuple(_node(shape, i) for i in range(shape.nodes)),
        pods=tuple(
            Pod(
                name=f"n{i}-p{p}",
                node=f"n{i}",
                ips=tuple(pod_ip(i, p, family) for family in shape.families),
            )
            for i in range(shape.nodes)
            for p in range(shape.pods)
        ),
        replicas=tuple(replicas),
    )


def _node(shape: Shape, i: int) -> Node:
    return Node(
        name=f"n{i}",
        underlay=tuple(underlay(i, family) for family in shape.families),
        pod_cidrs=tuple(cidr(i, family) for family in shape.families),
        vtep=Vtep(mac=mac(i)),
    )


def _node_state(shape: Shape, inventory: Inventory, i: int) -> NodeState:
    local = [pod for pod in (*inventory.pods, *inventory.replicas) if pod.node == f"n{i}"]
    devices = ("all", "lo", "eth0", "cni0", *map(device, shape.families))
    filters = {f"rp_filter/{dev}": shape.rp_filter * (dev != "eth0") for dev in devices}
    links = (
        Link("lo", 1, "00:00:00:00:00:00", 65536, up=True),
        Link("eth0", 2, underlay_mac(i), 1500, up=True, kind="veth"),
        Link("cni0", 3, f"0a:58:0a:f4:{i:02x}:01", 1450, up=True, kind="bridge"),
        *(_vtep(i, family) for family in shape.families),
    )
    return NodeState(
        node=f"n{i}",
        links={link.name: link for link in links},
        addresses=(
            Address("lo", "127.0.0.1/8"),
            *(a for family in shape.families for a in _own_addresses(i, family)),
        ),
        neighbours=(
            *(_near(ip) for pod in local for ip in pod.ips if ":" not in ip),
            *(n for f in shape.families for n in _peer_neighbours(shape, inventory, i, f)),
            *(
                Neigh("eth0", underlay(j, family), underlay_mac(j), "permanent")
                for family in shape.families
                for j in range(shape.nodes)
                if j != i
            ),
        ),
        fdb=tuple(
            Fdb(device(family), mac(j, family), underlay(j, family))
            for family in shape.families
            for j in range(shape.nodes)
            if j != i
        ),
        routes=(
            Route("0.0.0.0/0", "eth0", "172.18.0.1", protocol=3),
            *(route for family in shape.families for route in _routes(shape, i, family)),
        ),
        settings={**filters, "ip_forward": 1},
        counters={},
        vip=_vip_rules(inventory),
    )


def _vtep(i: int, family: str) -> Link:
    return Link(
        device(family),
        4 if family == "ipv4" else 5,
        mac(i, family),
        1450,
        up=True,
        kind="vxlan",
        vni=1,
        vxlan_port=8472,
        vxlan_local=underlay(i, family),
        vxlan_learning=False,
    )


def _own_addresses(i: int, family: str) -> tuple[Address, ...]:
    network = ipaddress.ip_network(cidr(i, family))
    return (
        Address("eth0", f"{underlay(i, family)}/{16 if family == 'ipv4' else 64}"),
        Address("cni0", f"{network[1]}/{network.prefixlen}"),
        Address(device(family), f"{network[0]}/{network.max_prefixlen}"),
    )


def _near(ip: str) -> Neigh:
    made = "0a:58:" + ":".join(f"{int(part):02x}" for part in ip.split("."))
    return Neigh("cni0", ip, made, "permanent")


def _peer_neighbours(shape: Shape, inventory: Inventory, i: int, family: str) -> Iterator[Neigh]:
    """Per peer; in the on-miss dialect per remote pod, as after a sweep."""
    if shape.dialect == "l3miss":
        for pod in (*inventory.pods, *inventory.replicas):
            j = int(pod.node[1:])
            if j != i:
                ip = pod.ips[shape.families.index(family)]
                yield Neigh(device(family), ip, mac(j, family), "reachable")
    else:
        for j in range(shape.nodes):
            if j != i:
                yield Neigh(device(family), gateway(j, family), mac(j, family), "permanent")


def _routes(shape: Shape, i: int, family: str) -> Iterator[Route]:
    yield Route("172.18.0.0/16" if family == "ipv4" else "fc00:f853::/64", "eth0", protocol=2)
    yield Route(cidr(i, family), "cni0", protocol=2)
    if shape.dialect == "l3miss":
        whole = "10.244.0.0/16" if family == "ipv4" else "fd00:10:244::/48"
        yield Route(whole, device(family), protocol=3)
        return
    for j in range(shape.nodes):
        if j != i:
            via = gateway(j, family)
            yield Route(cidr(j, family), device(family), via, onlink=True, protocol=3)


def _vip_rules(inventory: Inventory) -> VipRules:
    ready = tuple(replica.ips[0] for replica in inventory.replicas if replica.ready)
    return VipRules(targets={"udp": ready, "tcp": ready})
