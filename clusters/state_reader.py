"""Reading of every node's kernel tables, by netlink from inside its namespace."""

from __future__ import annotations

import contextlib
import errno
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from clusters import service_vip
from clusters.errors import ClusterGoneError, KernelRefusedError, MeasureError
from clusters.netlink import Netlink, decode, decode_links, nftables, tables
from clusters.netns import Vantage, home_kept, setns
from clusters.providers.base import Cluster
from clusters.state import ClusterState, Link, NodeState, VipRules

_T = TypeVar("_T")

_TRIES: Final = 5  # of a dump that the kernel calls interrupted
_ALL: Final = -1  # the device index that stands for net.ipv4.conf.all
_SNMP: Final = tuple(pathlib.Path("/proc/thread-self/net", name) for name in ("snmp", "netstat"))


def read_state(cluster: Cluster, *, vip: bool = False, counters: bool = True) -> ClusterState:
    """The tables of all nodes of the inventory, one node after the other.

    A node whose namespace is gone, or whose tables cannot be read, is in `unreadable` with the reason.
    `vip` also reads the DNAT rules of the service address, `counters` the SNMP counters (device counters
    are always read). Raises ClusterGoneError where the whole cluster is gone. Changes nothing; the thread
    is back in its namespace in any case.
    """
    inventory = cluster.inventory()
    service = inventory.vip if vip else None
    nodes: dict[str, NodeState] = {}
    unreadable: dict[str, str] = {}
    for node in inventory.nodes:
        try:
            vantage = cluster.vantage(node.name)
            nodes[node.name] = _read(vantage, service=service, counters=counters)
        except (ClusterGoneError, KernelRefusedError, MeasureError, OSError) as exc:
            unreadable[node.name] = str(exc)
    return ClusterState(
        inventory=inventory, nodes=nodes, leases=cluster.leases(), unreadable=unreadable
    )


def read_node(
    cluster: Cluster, node: str, *, vip: bool = False, counters: bool = True
) -> NodeState:
    """The tables of one node; arguments as for `read_state`.

    Raises ClusterGoneError where the node has no namespace now, KernelRefusedError, MeasureError, OSError
    where its tables cannot be read.
    """
    service = cluster.inventory().vip if vip else None
    return _read(cluster.vantage(node), service=service, counters=counters)


def own_link(vantage: Vantage, device: str) -> Link | None:
    """One device of a namespace, None where there is none of that name. Raises KernelRefusedError, OSError.

    The name of the device's master is not looked up: `master` is "if" and its index.
    """
    with Netlink.open(vantage.fd) as netlink:
        try:
            found = decode_links.links([netlink.get(tables.link_named(device))])
        except KernelRefusedError as exc:
            if exc.code == errno.ENODEV:
                return None
            raise
    return found[0].link


def _read(vantage: Vantage, *, service: str | None, counters: bool) -> NodeState:
    with home_kept():
        setns(vantage.fd)
        snmp = _snmp() if counters else {}
        rules = _vip_rules(service) if service is not None else None
        with Netlink.open_here() as netlink:
            return _tables(netlink, vantage.place, snmp, rules)


def _tables(
    netlink: Netlink, node: str, counters: Mapping[str, int], vip: VipRules | None
) -> NodeState:
    devices = _dumped(netlink, tables.LINKS, decode_links.links)
    names = {device.link.ifindex: device.link.name for device in devices}

    def dumped(request: bytes, decoded: Callable[[Sequence[bytes], decode.Names], _T]) -> _T:
        return _dumped(netlink, request, lambda buffers: decoded(buffers, names))

    return NodeState(
        node=node,
        links={device.link.name: device.link for device in devices},
        addresses=dumped(tables.ADDRESSES, decode.addresses),
        neighbours=dumped(tables.NEIGHBOURS, decode.neighbours),
        fdb=tuple(
            entry
            for device in devices
            if device.link.kind == "vxlan"
            for entry in dumped(tables.fdb_of(device.link.ifindex), decode.fdb)
        ),
        routes=dumped(tables.ROUTES, decode.routes),
        settings=_settings(netlink, devices),
        counters=counters,
        vip=vip,
    )


def _vip_rules(service: str) -> VipRules:
    with Netlink.open_here(family=nftables.NETLINK_NETFILTER) as netlink:
        text = _dumped(netlink, nftables.nat_rules(ipv6=":" in service), nftables.saved)
    return _parsed(text, service)


# The nodes' rules are mostly equal, and following them costs more than reading them.
_parsed = functools.lru_cache(maxsize=64)(service_vip.parse)


def _dumped(netlink: Netlink, request: bytes, decoded: Callable[[Sequence[bytes]], _T]) -> _T:
    """One table as it was at one moment: a dump during which it changed is made again."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(decode.InterruptedDumpError):
            return decoded(netlink.dump(request))
    return decoded(netlink.dump(request))


def _settings(netlink: Netlink, devices: Sequence[decode_links.ReadLink]) -> dict[str, int]:
    forwarding, rp_filter = decode.netconf([netlink.get(tables.SETTINGS_OF_ALL)])[_ALL]
    settings = {
        f"rp_filter/{device.link.name}": device.rp_filter
        for device in devices
        if device.rp_filter is not None
    }
    return {**settings, "rp_filter/all": rp_filter, "ip_forward": forwarding}


def _snmp() -> dict[str, int]:
    """The SNMP counters of the thread's namespace, named as nstat does: "UdpNoPorts"."""
    counters: dict[str, int] = {}
    for path in _SNMP:
        lines = path.read_text().splitlines()
        for heads, values in zip(lines[::2], lines[1::2], strict=True):
            counters.update(zip(_names(heads), map(int, values.split()[1:]), strict=True))
    return counters


@functools.lru_cache(maxsize=64)
def _names(heads: str) -> tuple[str, ...]:
    prefix, *names = heads.split()
    return tuple(prefix.rstrip(":") + name for name in names)
