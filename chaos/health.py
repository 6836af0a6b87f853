"""Whether a node and its peers hold right entries about each other, from their tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chaos.model import Slot
from chaos.tables import everything, in_words, programmed
from clusters.state import ClusterState, Lease


class Complaint(NamedTuple):
    """Something that loses frames; `node` is where it has to be put right."""

    node: str
    text: str


def complaints(state: ClusterState, leases: tuple[Lease, ...], node: str) -> tuple[Complaint, ...]:
    """What is wrong between a node and every other; nothing where all frames arrive.

    An entry that is right but written in another way than the agent writes it (not permanent, another
    protocol number) is no complaint.
    """
    unreadable = tuple(Complaint(n, f"node {n}: {why}") for n, why in state.unreadable.items())
    if unreadable:
        return unreadable
    held = {name: everything(tables) for name, tables in state.nodes.items()}
    return (*_own_device(state, leases, held[node], node), *_entries(state, leases, held, node))


def _own_device(
    state: ClusterState, leases: tuple[Lease, ...], held: Mapping[Slot, str], node: str
) -> Iterator[Complaint]:
    device = state.inventory.node(node).vtep.device
    link = state.nodes[node].links.get(device)
    published = {lease.mac for lease in leases if lease.node == node}
    if link is None or link.mac not in published:
        found = link.mac if link else "no device"
        yield Complaint(node, f"{node}: {device}: {found}, published: {', '.join(published)}")
    elif not held[Slot("link", device, "")].endswith("up"):
        yield Complaint(node, f"{node}: {device} is down")


def _entries(
    state: ClusterState,
    leases: tuple[Lease, ...],
    held: Mapping[str, Mapping[Slot, str]],
    node: str,
) -> Iterator[Complaint]:
    devices = {each.name: each.vtep.device for each in state.inventory.nodes}
    for lease in leases:
        observers = [peer for peer in held if peer != node] if lease.node == node else [node]
        for observer in observers:
            wanted = programmed(state.inventory.dialect, lease, devices[observer])
            for slot, text in wanted.items():
                found = held[observer].get(slot)
                if not _as_good(slot, found, text):
                    yield Complaint(observer, f"{observer}: {in_words(slot, found)}, not {text}")


def _as_good(slot: Slot, found: str | None, wanted: str) -> bool:
    """Whether what was found sends frames where the wanted value would."""
    if found is None:
        return False
    if slot.table == "route":
        return found.startswith(wanted)
    return found.partition(" ")[0] == wanted.partition(" ")[0]
