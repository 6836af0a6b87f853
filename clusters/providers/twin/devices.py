"""The netlink requests that wire a twin: the underlay, a node, a pod; values in, bytes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from clusters.netlink import requests as rq
from clusters.providers.twin import layout

LO: Final = 1
ETH0: Final = 2
CNI0: Final = 3
BRIDGE: Final = 2  # br0, in the underlay
_FIRST_PORT: Final = 16  # index of node 0's port in the underlay
_FIRST_VETH: Final = (
    16  # index of the first pod's veth in a node; flannel.1 has what flanneld is given
)
_BRIDGE_MAC: Final = "02:42:ac:12:00:01"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLink:
    """One pod of a node, as its node's wiring needs it."""

    name: str
    role: str
    slot: int
    netns_fd: int
    address: str

    @property
    def port(self) -> int:
        """Index of the pod's veth in the node."""
        return _FIRST_VETH + self.slot


def underlay() -> list[bytes]:
    """The bridge that joins the nodes."""
    bridge = rq.Device(name="br0", ifindex=BRIDGE, mac=_BRIDGE_MAC, up=True)
    return [
        rq.set_link(LO, up=True),
        rq.bridge(bridge, multicast_snooping=False),
        rq.add_address(BRIDGE, f"{layout.UNDERLAY_GATEWAY}/16"),
    ]


def uplink(index: int, netns_fd: int) -> bytes:
    """The cable between the underlay and node `index`, asked from within the underlay."""
    port = rq.Device(
        name=layout.node_name(index), ifindex=_FIRST_PORT + index, master=BRIDGE, up=True
    )
    eth0 = rq.Device(name="eth0", ifindex=ETH0, mac=layout.underlay_mac(index), netns_fd=netns_fd)
    return rq.veth(port, eth0)


def unplugged(index: int) -> bytes:
    """Take the cable of node `index` away, both ends, asked from within the underlay."""
    return rq.del_link(_FIRST_PORT + index)


def node(cluster: str, index: int, subnet: int, pods: Sequence[PodLink], nodes: int) -> list[bytes]:
    """Everything in a node but its overlay: eth0, cni0, the pods' cables, neighbours that never age."""
    gateway = layout.gateway_address(subnet)
    bridge = rq.Device(
        name="cni0",
        ifindex=CNI0,
        mac=layout.pod_mac(gateway),
        mtu_bytes=layout.POD_MTU_BYTES,
        up=True,
    )
    return [
        rq.set_link(LO, up=True),
        rq.set_link(ETH0, up=True, alias=f"graymesh {cluster} node {layout.node_name(index)}"),
        rq.add_address(ETH0, f"{layout.underlay_address(index)}/16"),
        rq.set_route("0.0.0.0/0", ifindex=ETH0, via=layout.UNDERLAY_GATEWAY),
        rq.set_neigh(ETH0, layout.UNDERLAY_GATEWAY, _BRIDGE_MAC),
        *(
            rq.set_neigh(ETH0, layout.underlay_address(peer), layout.underlay_mac(peer))
            for peer in range(nodes)
            if peer != index
        ),
        rq.bridge(bridge, multicast_snooping=False),
        rq.add_address(CNI0, f"{gateway}/24"),
        *(request for pod in pods for request in _cable(pod)),
    ]


def pod(
    cluster: str, node_name: str, own: PodLink, gateway: str, peers: Iterable[str]
) -> list[bytes]:
    """Everything in a pod's namespace: eth0, default route, neighbours that never age."""
    alias = f"graymesh {cluster} {own.role} {own.name} on {node_name}"
    return [
        rq.set_link(LO, up=True),
        rq.set_link(ETH0, up=True, alias=alias),
        rq.add_address(ETH0, f"{own.address}/24"),
        rq.set_route("0.0.0.0/0", ifindex=ETH0, via=gateway),
        rq.set_neigh(ETH0, gateway, layout.pod_mac(gateway)),
        *(rq.set_neigh(ETH0, peer, layout.pod_mac(peer)) for peer in peers if peer != own.address),
    ]


def _cable(pod: PodLink) -> tuple[bytes, ...]:
    mac = layout.pod_mac(pod.address)
    near = rq.Device(
        name=f"veth{pod.slot}",
        ifindex=pod.port,
        mtu_bytes=layout.POD_MTU_BYTES,
        master=CNI0,
        up=True,
    )
    far = rq.Device(
        name="eth0",
        ifindex=ETH0,
        mac=mac,
        mtu_bytes=layout.POD_MTU_BYTES,
        netns_fd=pod.netns_fd,
    )
    return (
        rq.veth(near, far),
        rq.set_bridge_port(pod.port, hairpin=True),
        rq.set_neigh(CNI0, pod.address, mac),
    )
