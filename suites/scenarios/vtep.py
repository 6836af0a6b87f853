"""A node's overlay device is deleted under its living agent."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from probes.model import Entry
from suites.choosing import any_node, node_names
from suites.entries import all_missing, vtep_mac
from suites.scenario import Breakage, Edge, Effect, Occurrence, Scenario


def _victim(inventory: Inventory, rng: Random) -> Mapping[str, str]:
    return {"victim": any_node(inventory, rng)}


def _gone(seen: Occurrence) -> Effect:
    """The victim's own entries went with the device, whether or not the device came back.

    What it receives is lost as well where there is no device, or where the reverse path filter is strict: without
    routes over the device, answers would leave another way (ip-sysctl: rp_filter).
    """
    victim = seen.params["victim"]
    peers = [name for name in node_names(seen.after.inventory) if name != victim]
    sent: frozenset[Edge] = frozenset((victim, peer) for peer in peers)
    received: frozenset[Edge] = frozenset((peer, victim) for peer in peers)
    absent = vtep_mac(seen.after, victim) is None
    deaf = absent or _strict(seen, victim)
    return Effect(
        causes=frozenset({"vxlan-device-deleted"}),
        edges=sent | received if deaf else sent,
        entries=_lost_entries(seen, victim, peers) | (_device(seen, victim) if absent else set()),
    )


def _lost_entries(seen: Occurrence, victim: str, peers: list[str]) -> frozenset[Entry]:
    owners = [seen.after.inventory.node(peer) for peer in peers]
    return frozenset(
        entry
        for owner in owners
        for entry in all_missing(victim, owner, vtep_mac(seen.after, owner.name) or "")
    )


def _device(seen: Occurrence, victim: str) -> frozenset[Entry]:
    node, mac = seen.before.inventory.node(victim), vtep_mac(seen.before, victim)
    vtep = node.vtep
    want = f"address {mac} id {vtep.vni} dstport {vtep.port} local {node.underlay[0]} up"
    return frozenset({Entry(victim, victim, "link", vtep.device, None, want)})


def _strict(seen: Occurrence, node: str) -> bool:
    """The stricter of both settings counts."""
    settings = seen.after.nodes[node].settings
    device = seen.after.inventory.node(node).vtep.device
    return max(settings.get("rp_filter/all", 0), settings.get(f"rp_filter/{device}", 0)) == 1


VTEP_DELETED: Final = Scenario(
    name="vtep-deleted",
    summary="a node's overlay device is deleted: it stays away, or comes back without its peers",
    dialects=("static", "persistent"),
    breaks=Breakage(fault="vtep-delete", choose=_victim, effect=_gone, repairable=True),
)
