"""What one node should keep about another, as the entries a finding names; pure."""

from __future__ import annotations

import ipaddress

from clusters.state import ClusterState
from clusters.topology import Node
from probes.model import Entry


def vtep_mac(state: ClusterState, node: str) -> str | None:
    """The live MAC of a node's overlay device; None where there is none."""
    device = state.inventory.node(node).vtep.device
    tables = state.nodes.get(node)
    link = tables.links.get(device) if tables else None
    return link.mac if link else None


def overlay_address(node: Node) -> str:
    """The network address of the node's podCIDR: what its overlay device has, and peers' routes go via."""
    return str(ipaddress.ip_network(node.pod_cidrs[0]).network_address)


def neigh(observer: str, owner: Node, *, have: str | None, want: str | None) -> Entry:
    """The neighbour entry of the owner's overlay address."""
    return Entry(observer, owner.name, "neigh", overlay_address(owner), have, want)


def fdb(observer: str, owner: Node, mac: str, *, have: str | None, want: str | None) -> Entry:
    """The forwarding entry of one of the owner's MACs."""
    return Entry(observer, owner.name, "fdb", mac, have, want)


def route(observer: str, owner: Node, *, have: str | None) -> Entry:
    """The route to the owner's podCIDR."""
    via = overlay_address(owner)
    want = f"via {via} dev {owner.vtep.device} onlink"
    return Entry(observer, owner.name, "route", owner.pod_cidrs[0], have, want)


def all_missing(observer: str, owner: Node, mac: str) -> frozenset[Entry]:
    """All three entries about a peer, none of which is there."""
    return frozenset(
        {
            neigh(observer, owner, have=None, want=mac),
            fdb(observer, owner, mac, have=None, want=owner.underlay[0]),
            route(observer, owner, have=None),
        }
    )
