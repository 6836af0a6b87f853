"""What every node should hold about every other, by what the nodes really are.

A node's live VTEP MAC and live underlay address decide, not what anybody keeps about them. Two exceptions, where
the node itself is the odd one: its device was given a MAC other than the published one, while every peer holds the
published one; its underlay address is gone, and neither inventory nor lease knows another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clusters.state import ClusterState, Lease, Link
from clusters.topology import Node
from probes.tables import Tables, family_of, index, network, prefix

FAMILIES: Final = ("ipv4", "ipv6")
FORWARDING: Final = {"ipv4": "ip_forward", "ipv6": "ip6_forward"}


class End(NamedTuple):
    """One place that sends and receives: a pod, a replica, or a stand-in for a node without any ("")."""

    place: str
    node: str
    ip: str


class Owner(NamedTuple):
    """One node as its peers should know it, in one family of pod addresses. `mac` None: nobody knows."""

    node: str
    cidr: str
    gateway: str  # the address of the overlay device
    device: str
    mac: str | None
    vni: int
    port: int
    underlay: str
    underlay_device: str
    underlay_mac: str | None
    bridge: str

    def link_text(self, mac: str | None) -> str:
        """The overlay device as it should be, in words."""
        return link_text(mac, self.vni, self.port, self.underlay, up=True)


def link_text(mac: str | None, vni: int | None, port: int | None, local: str, *, up: bool) -> str:
    """A VXLAN device in the words that `ip link add` takes."""
    words = f"address {mac} id {vni} dstport {port} local {local}"
    return f"{words} {'up' if up else 'down'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Owners by node and family, everybody's tables, and who sits where."""

    owners: Mapping[tuple[str, str], Owner]
    tables: Mapping[str, Tables]
    per_pod: bool  # neighbours per pod address and one route for all (the l3miss dialect)
    cluster_cidrs: Mapping[str, str]
    leases: Mapping[tuple[str, str], Lease]
    ends: tuple[End, ...]
    stations: Mapping[str, str]  # MAC of an underlay device → its node
    uplinks: Mapping[str, str]  # node → its underlay device
    unread: Mapping[str, str]  # underlay address → node whose tables nobody saw
    pod_macs: Mapping[str, str]  # pod address → MAC, where the CNI makes the one from the other

    def owner(self, node: str, family: str) -> Owner:
        """That node. Raises KeyError where it has no podCIDR of the family."""
        return self.owners[node, family]

    def nodes(self, family: str) -> Iterator[Owner]:
        """Every node that has a podCIDR of the family."""
        return (owner for (_, of), owner in self.owners.items() if of == family)

    def next_hop(self, owner: Owner, ip: str) -> str:
        """The address whose neighbour entry frames for a pod of that node are sent with."""
        return ip if self.per_pod else owner.gateway

    def route(self, observer: Owner, owner: Owner) -> tuple[str, str]:
        """The route by which one node should reach another's pods: prefix, text."""
        if self.per_pod:
            return self.cluster_cidrs[family_of(owner.cidr)], f"dev {observer.device}"
        return owner.cidr, f"via {owner.gateway} dev {observer.device} onlink"

    def holder(self, tables: Mapping[str, Tables], ip: str) -> str | None:
        """The node that answers for an underlay address on the wire."""
        found = (name for name, own in tables.items() if ip in own.local)
        return next(found, None)

    def strange_pod_mac(self, tables: Tables, bridge: str, ip: str) -> str | None:
        """The MAC that a node keeps for its own pod for good, where that is not the pod's; else None."""
        row = tables.neigh.get((bridge, ip))
        if row is None or row.state != "permanent" or ip not in self.pod_macs:
            return None
        return row.mac if row.mac != self.pod_macs[ip] else None

    def owner_of_prefix(self, dst: str) -> str | None:
        """The one node that a prefix is about: it lies in its podCIDR, or is its underlay address."""
        wanted = prefix(dst)
        for owner in self.nodes(wanted.family):
            if wanted.within(prefix(owner.cidr)) or dst.partition("/")[0] == owner.underlay:
                return owner.node
        return None


def establish(state: ClusterState) -> Truth:
    """What the nodes are and what they should hold about each other."""
    tables = {name: index(node) for name, node in state.nodes.items()}
    leases = {(lease.node, lease.family): lease for lease in state.leases}
    ends = tuple(_ends(state))
    votes = {family: Counter(_networks(state, family)) for family in FAMILIES}
    sketch = _Sketch(state=state, tables=tables, leases=leases, ends=ends, votes=votes)
    owners = {
        (node.name, family): sketch.owner(node, family, cidr)
        for node in state.inventory.nodes
        for family, cidr in _by_family(node.pod_cidrs).items()
    }
    return Truth(
        owners=owners,
        tables=tables,
        per_pod=state.inventory.dialect == "l3miss",
        cluster_cidrs=_by_family(state.inventory.cluster_cidrs),
        leases=leases,
        ends=ends,
        stations={o.underlay_mac: o.node for o in owners.values() if o.underlay_mac},
        uplinks={owner.node: owner.underlay_device for owner in owners.values()},
        unread={o.underlay: o.node for o in owners.values() if o.node not in tables},
        pod_macs=_pod_macs(owners, tables, ends),
    )


def _pod_macs(
    owners: Mapping[tuple[str, str], Owner], tables: Mapping[str, Tables], ends: Iterable[End]
) -> dict[str, str]:
    """Pod MACs as CNI plugins make them (0a:58 and the address), where most lasting entries agree that they do."""
    wanted, kept = {}, []
    for end in ends:
        owner = owners.get((end.node, family_of(end.ip)))
        if owner is None or ":" in end.ip or end.node not in tables:
            continue
        wanted[end.ip] = "0a:58:" + ":".join(f"{int(part):02x}" for part in end.ip.split("."))
        row = tables[end.node].neigh.get((owner.bridge, end.ip))
        if row is not None and row.state == "permanent":
            kept.append(row.mac == wanted[end.ip])
    return wanted if 2 * sum(kept) > len(kept) else {}


def device_of(node: Node, family: str) -> str:
    """The overlay device of a family: flannel adds "-v6" to the stem, `flannel-v6.1`."""
    if family == "ipv4":
        return node.vtep.device
    stem, dot, unit = node.vtep.device.partition(".")
    return f"{stem}-v6{dot}{unit}"


def _by_family(items: Iterable[str]) -> dict[str, str]:
    """The first of each family."""
    found: dict[str, str] = {}
    for item in items:
        found.setdefault(family_of(item), item)
    return found


def _ends(state: ClusterState) -> Iterator[End]:
    manned: set[tuple[str, str]] = set()
    for pod in (*state.inventory.pods, *state.inventory.replicas):
        for ip in pod.ips:
            manned.add((pod.node, family_of(ip)))
            yield End(pod.name, pod.node, ip)
    for node in state.inventory.nodes:
        for family, cidr in _by_family(node.pod_cidrs).items():
            if (node.name, family) not in manned:
                yield End("", node.name, _first_host(cidr))


def _first_host(cidr: str) -> str:
    """An address inside a podCIDR that a pod would have (flannel's bridge has .1)."""
    base = cidr.partition("/")[0]
    return f"{base}2" if ":" in base else f"{base.rpartition('.')[0]}.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sketch:
    """What is known while the owners are being made."""

    state: ClusterState
    tables: Mapping[str, Tables]
    leases: Mapping[tuple[str, str], Lease]
    ends: tuple[End, ...]
    votes: Mapping[str, Counter[tuple[int, int]]]  # VNI and port of the devices, by family

    def owner(self, node: Node, family: str, cidr: str) -> Owner:
        tables = self.tables.get(node.name)
        device = device_of(node, family)
        underlay = self._underlay(node, family, tables)
        below = _underlay_device(tables, underlay)
        vni, port = self._network(node, family)
        return Owner(
            node=node.name,
            cidr=cidr,
            gateway=network(cidr).partition("/")[0],
            device=device,
            mac=self._mac(node, family, cidr),
            vni=vni,
            port=port,
            underlay=underlay,
            underlay_device=below,
            underlay_mac=_mac_of(tables, below),
            bridge=_bridge(tables, {device, below}, cidr),
        )

    def _network(self, node: Node, family: str) -> tuple[int, int]:
        """VNI and port: what most devices have; what the inventory says where they are evenly split."""
        votes, said = self.votes[family], (node.vtep.vni, node.vtep.port)
        return max(votes, key=lambda one: (votes[one], one == said), default=said)

    def _underlay(self, node: Node, family: str, tables: Tables | None) -> str:
        lease = self.leases.get((node.name, family))
        named = [*node.underlay, *([lease.underlay] if lease else [])]
        same = [ip for ip in named if family_of(ip) == family] or named
        live = (ip for ip in same if tables and ip in tables.local)
        return next(live, same[0])

    def _mac(self, node: Node, family: str, cidr: str) -> str | None:
        tables = self.tables.get(node.name)
        live = _mac_of(tables, device_of(node, family))
        lease = self.leases.get((node.name, family))
        if lease is None:
            return live or (node.vtep.mac if family == "ipv4" else None)
        if live is None or live == lease.mac:
            return lease.mac
        believed = set(self._believed(node.name, family, cidr))
        return lease.mac if believed == {lease.mac} else live

    def _believed(self, owner: str, family: str, cidr: str) -> Iterator[str]:
        """The MACs that peers keep for a node."""
        pods = (e.ip for e in self.ends if e.node == owner and family_of(e.ip) == family)
        keys = (cidr.partition("/")[0], *pods)
        for peer in self.state.inventory.nodes:
            tables = self.tables.get(peer.name)
            if tables and peer.name != owner:
                device = device_of(peer, family)
                yield from (mac for ip in keys if (mac := tables.mac(device, ip)))


def _mac_of(tables: Tables | None, device: str) -> str | None:
    link: Link | None = tables.links.get(device) if tables else None
    return link.mac if link else None


def _underlay_device(tables: Tables | None, underlay: str) -> str:
    if tables is None:
        return "eth0"
    if underlay in tables.local:
        return tables.local[underlay]
    choice = tables.route(underlay)
    return choice.hops[0].device if choice.kind == "unicast" else "eth0"


def _bridge(tables: Tables | None, others: set[str], cidr: str) -> str:
    """The device on which the node's pods are: its address spans the podCIDR."""
    if tables:
        wanted = prefix(cidr)
        for ip, own in tables.cidrs.items():
            if tables.local[ip] not in others and wanted.within(prefix(own)):
                return tables.local[ip]
    return "cni0"


def _networks(state: ClusterState, family: str) -> Iterator[tuple[int, int]]:
    """VNI and port of every overlay device that is there."""
    for node in state.inventory.nodes:
        tables = state.nodes.get(node.name)
        link = tables.links.get(device_of(node, family)) if tables else None
        if link and link.vni is not None and link.vxlan_port is not None:
            yield link.vni, link.vxlan_port
