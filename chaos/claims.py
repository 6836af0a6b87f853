"""The keys by which two faults know that they would meddle with the same thing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from clusters.topology import Inventory

TABLES = ("neigh", "fdb", "route")


def tables(observer: str, owner: str) -> tuple[str, ...]:
    """All that one node keeps about another."""
    return tuple(table(observer, owner, name) for name in TABLES)


def table(observer: str, owner: str, name: str) -> str:
    """One table's entries of one node about another."""
    return f"tables:{observer}:{owner}:{name}"


def vtep(node: str) -> str:
    """A node's overlay device."""
    return f"vtep:{node}"


def agent(node: str) -> str:
    """A node's CNI agent."""
    return f"agent:{node}"


def underlay(sender: str, receiver: str) -> str:
    """The way of encapsulated packets from one node to another."""
    return f"underlay:{sender}>{receiver}"


def vip(node: str) -> str:
    """A node's rules for the service address."""
    return f"vip:{node}"


def replica(name: str) -> str:
    """A DNS replica's process."""
    return f"replica:{name}"


def own_tables(inventory: Inventory, node: str) -> tuple[str, ...]:
    """All that a node keeps about every other."""
    return tuple(key for peer in peers(inventory, node) for key in tables(node, peer))


def about(inventory: Inventory, node: str) -> tuple[str, ...]:
    """All that every other node keeps about this one."""
    return tuple(key for peer in peers(inventory, node) for key in tables(peer, node))


def whole_node(inventory: Inventory, node: str) -> tuple[str, ...]:
    """All that a rebuilt node takes with it, and every agent: each must hear of the node's new life."""
    return (
        f"node:{node}",
        vtep(node),
        vip(node),
        *own_tables(inventory, node),
        *about(inventory, node),
        *(agent(each.name) for each in inventory.nodes),
        *(underlay(peer, node) for peer in peers(inventory, node)),
        *(replica(each.name) for each in inventory.replicas if each.node == node),
    )


def every_vip(inventory: Inventory) -> tuple[str, ...]:
    """Every node's rules for the service address, which new endpoints make all proxies write."""
    return tuple(vip(each.name) for each in inventory.nodes)


def peers(inventory: Inventory, node: str) -> Iterable[str]:
    """Every other node."""
    return (each.name for each in inventory.nodes if each.name != node)
