"""Entry values of every node: what its kernel tables hold, as immutable tuples.

Entries are NamedTuples, not dataclasses: a 50-node audit builds some ten thousand of them, and a
frozen dataclass costs several times as much to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from clusters.topology import Inventory


class Link(NamedTuple):
    """A network device. Counters are packets since the device was made."""

    name: str
    ifindex: int
    mac: str
    mtu_bytes: int
    up: bool
    kind: str = ""  # vxlan, bridge, veth, …
    master: str = ""
    rx_packets: int = 0
    rx_otherhost: int = 0
    tx_packets: int = 0
    tx_dropped: int = 0
    vni: int | None = None
    vxlan_port: int | None = None
    vxlan_local: str | None = None
    vxlan_learning: bool | None = None


class Address(NamedTuple):
    """An address on a device, as "10.244.0.0/32"."""

    device: str
    cidr: str


class Neigh(NamedTuple):
    """A neighbour entry. `mac` is None while unresolved; `state` is the lower-case NUD name."""

    device: str
    ip: str
    mac: str | None
    state: str  # permanent, reachable, stale, delay, probe, failed, incomplete, noarp


class Fdb(NamedTuple):
    """A forwarding entry of a VXLAN device: inner MAC → underlay address."""

    device: str
    mac: str
    dst: str
    permanent: bool = True


class Route(NamedTuple):
    """A route of the main table. `dst` is "0.0.0.0/0" for the default route; `kind` is unicast, blackhole, …"""

    dst: str
    device: str = ""
    via: str | None = None
    onlink: bool = False
    kind: str = "unicast"
    protocol: int = 0
    metric: int = 0
    nexthops: tuple[tuple[str, str], ...] = ()  # (via, device) of a multipath route


class Lease(NamedTuple):
    """What a node has published about itself: flannel's annotation or etcd value, one per family."""

    node: str
    pod_cidr: str
    underlay: str
    mac: str
    family: str = "ipv4"


@dataclass(frozen=True, slots=True, kw_only=True)
class VipRules:
    """The DNAT targets a node's rules hold for the DNS VIP, by transport ("udp", "tcp"), addresses only."""

    targets: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """Everything read from one node's network namespace at one moment.

    `settings` holds the sysctls that decide what is lost ("rp_filter/all", "rp_filter/flannel.1",
    "rp_filter/cni0", "ip_forward"). `counters` holds SNMP counters by their kernel name
    ("TcpExtIPReversePathFilter", "UdpNoPorts", …). `vip` is None where the rules were not read.
    """

    node: str
    links: Mapping[str, Link]
    addresses: tuple[Address, ...]
    neighbours: tuple[Neigh, ...]
    fdb: tuple[Fdb, ...]
    routes: tuple[Route, ...]
    settings: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    vip: VipRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """All nodes' tables. A node that could not be read is in `unreadable` (name → reason), not in `nodes`."""

    inventory: Inventory
    nodes: Mapping[str, NodeState]
    leases: tuple[Lease, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
