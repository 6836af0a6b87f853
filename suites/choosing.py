"""How a seed chooses nodes and replicas: pure functions over an inventory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from clusters.providers.base import ClusterSpec
from clusters.topology import Inventory


def node_names(inventory: Inventory) -> tuple[str, ...]:
    """All nodes, in the inventory's order."""
    return tuple(node.name for node in inventory.nodes)


def carriers(inventory: Inventory) -> tuple[str, ...]:
    """The nodes that carry at least one replica, in the inventory's order."""
    carrying = {replica.node for replica in inventory.replicas}
    return tuple(name for name in node_names(inventory) if name in carrying)


def any_node(inventory: Inventory, rng: Random) -> str:
    """One node."""
    return rng.choice(node_names(inventory))


def bare_node(inventory: Inventory, rng: Random) -> str:
    """One node without a replica where there is one, else any node."""
    carrying = carriers(inventory)
    bare = [name for name in node_names(inventory) if name not in carrying]
    return rng.choice(bare or node_names(inventory))


def carrying_node(inventory: Inventory, rng: Random) -> str:
    """One node that carries a replica."""
    return rng.choice(carriers(inventory))


def stale_peers(inventory: Inventory, victim: str, rng: Random) -> tuple[str, ...]:
    """Some peers of the victim, never all: at least one of the stale ones carries a replica, and one fresh one where possible.

    A cluster whose only replicas sit on the victim has no carrying peer; then any will do. Needs three nodes.
    """
    peers = [name for name in node_names(inventory) if name != victim]
    carrying = [name for name in carriers(inventory) if name != victim]
    stale = {rng.choice(carrying or peers)}
    fresh = {rng.choice([name for name in carrying if name not in stale] or _without(peers, stale))}
    for name in peers:
        if name not in stale | fresh and rng.random() < 0.5:
            stale.add(name)
    return tuple(name for name in peers if name in stale)


def edge(inventory: Inventory, rng: Random) -> tuple[str, str]:
    """Two different nodes, the receiving one carrying a replica."""
    receiver = carrying_node(inventory, rng)
    return rng.choice(_without(node_names(inventory), {receiver})), receiver


def off_one_node(spec: ClusterSpec, rng: Random) -> tuple[int, ...]:
    """Replica placement that leaves one node bare: the others in a seeded order, round and round."""
    nodes = list(range(spec.nodes))
    rng.shuffle(nodes)
    others = nodes[1:] or nodes
    return tuple(others[index % len(others)] for index in range(spec.dns_replicas))


def spread(spec: ClusterSpec, rng: Random) -> tuple[int, ...]:
    """Replica placement over all nodes in a seeded order, round and round."""
    nodes = list(range(spec.nodes))
    rng.shuffle(nodes)
    return tuple(nodes[index % len(nodes)] for index in range(spec.dns_replicas))


def _without(names: Sequence[str], unwanted: Collection[str]) -> list[str]:
    return [name for name in names if name not in unwanted]
