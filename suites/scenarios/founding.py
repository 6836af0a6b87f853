"""The founding incident: a node has a new overlay MAC, and some peers keep the old one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from probes.model import Entry
from suites.choosing import bare_node, carrying_node, off_one_node, spread, stale_peers
from suites.entries import fdb, neigh, vtep_mac
from suites.scenario import Breakage, Effect, Occurrence, Scenario

_STALE: Final = frozenset({"vtep-mac-stale-on-some-peers"})
_IN_MEMORY: Final = frozenset({"vtep-mac-stale-in-memory-l3miss", *_STALE})

_Pick = Callable[[Inventory, Random], str]


def _chosen(pick: _Pick) -> Callable[[Inventory, Random], Mapping[str, str]]:
    def choose(inventory: Inventory, rng: Random) -> Mapping[str, str]:
        victim = pick(inventory, rng)
        return {"victim": victim, "peers": ",".join(stale_peers(inventory, victim, rng))}

    return choose


def _stale_neighbours(seen: Occurrence) -> Effect:
    """Frames of the stale peers die at the victim; everything else about it is right everywhere."""
    victim = seen.after.inventory.node(seen.params["victim"])
    old, new = vtep_mac(seen.before, victim.name), vtep_mac(seen.after, victim.name)
    return Effect(
        causes=_STALE,
        edges=frozenset((peer, victim.name) for peer in seen.peers),
        entries=frozenset(neigh(peer, victim, have=old, want=new) for peer in seen.peers),
    )


def _stale_memory(seen: Occurrence) -> Effect:
    """The agents of the stale peers never heard of the new MAC: it has no forwarding entry there.

    Neighbours exist for those pod addresses only that traffic asked for, with the old MAC.
    """
    victim = seen.after.inventory.node(seen.params["victim"])
    old, new = vtep_mac(seen.before, victim.name), vtep_mac(seen.after, victim.name)
    pods = (*seen.after.inventory.pods, *seen.after.inventory.replicas)
    addresses = [pod.ips[0] for pod in pods if pod.node == victim.name]
    return Effect(
        causes=_IN_MEMORY,
        edges=frozenset((peer, victim.name) for peer in seen.peers),
        entries=frozenset(
            fdb(peer, victim, new or "", have=None, want=victim.underlay[0]) for peer in seen.peers
        ),
        also=frozenset(
            Entry(peer, victim.name, "neigh", address, old, new)
            for peer in seen.peers
            for address in addresses
        ),
    )


FOUNDING: Final = Scenario(
    name="founding",
    summary="some peers keep the old overlay MAC of a node that carries no replica",
    breaks=Breakage(
        fault="founding", choose=_chosen(bare_node), effect=_stale_neighbours, repairable=True
    ),
    least_nodes=3,
    dialects=("static", "persistent"),
    place=off_one_node,
)

FOUNDING_VICTIM_HAS_REPLICA: Final = Scenario(
    name="founding-victim-has-replica",
    summary="some peers keep the old overlay MAC of a node that carries a replica",
    breaks=Breakage(
        fault="founding", choose=_chosen(carrying_node), effect=_stale_neighbours, repairable=True
    ),
    least_nodes=3,
    dialects=("static", "persistent"),
    place=spread,
)

FOUNDING_L3MISS: Final = Scenario(
    name="founding-l3miss",
    summary="some peers' agents answer from memory with the old overlay MAC (flannel v0.5 to v0.8)",
    breaks=Breakage(
        fault="vtep-recreate", choose=_chosen(bare_node), effect=_stale_memory, repairable=True
    ),
    least_nodes=3,
    dialects=("l3miss",),
    place=off_one_node,
)
