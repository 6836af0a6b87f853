"""What a flannel agent does about leases: values in, kernel operations out, no effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Literal, NamedTuple

from clusters.flannel.generations import Generation
from clusters.state import Fdb, Lease

Known = Mapping[str, Lease]
"""An agent's memory: the lease it believes in for each subnet (podCIDR)."""


class Event(NamedTuple):
    """What the lease store tells an agent."""

    kind: Literal["added", "removed"]
    lease: Lease


class Op(NamedTuple):
    """One change of a table on the overlay device.

    `key` is the neighbour's address, the FDB entry's MAC or the route's prefix; `value` the MAC, the underlay
    address or the gateway. An `exclusive` write fails where the key exists, any other replaces.
    """

    table: Literal["neigh", "fdb", "route"]
    action: Literal["set", "del"]
    key: str
    value: str
    exclusive: bool = False


def overlay_address(pod_cidr: str) -> str:
    """The address of the node's overlay device: the network address of its podCIDR."""
    return pod_cidr.partition("/")[0]


def operations(generation: Generation, event: Event) -> tuple[Op, ...]:
    """The kernel changes for one event, in flannel's order: neighbour, FDB, route.

    Nothing removes the FDB entry of an earlier MAC, nor anything of an earlier podCIDR: these leak.
    """
    lease = event.lease
    action: Literal["set", "del"] = "set" if event.kind == "added" else "del"
    gateway = overlay_address(lease.pod_cidr)
    fdb = Op("fdb", action, lease.mac, lease.underlay, generation.fdb_exclusive)
    if generation.overlay_route:
        return (fdb,)
    return (
        Op("neigh", action, gateway, lease.mac),
        fdb,
        Op("route", action, lease.pod_cidr, gateway),
    )


def undone(ops: Iterable[Op]) -> tuple[Op, ...]:
    """What takes back the steps already done when a later step of the same event failed."""
    return tuple(op._replace(action="del") for op in reversed(tuple(ops)))


def learned(known: Known, events: Iterable[Event]) -> dict[str, Lease]:
    """The agent's memory after these events."""
    memory = dict(known)
    for event in events:
        memory.pop(event.lease.pod_cidr, None)
        if event.kind == "added":
            memory[event.lease.pod_cidr] = event.lease
    return memory


def live_events(
    generation: Generation, before: Lease | None, after: Lease | None
) -> tuple[Event, ...]:
    """What a connected agent hears when a node's lease changes from `before` to `after` (None: absent)."""
    if after is None:
        return () if before is None else (Event("removed", before),)
    if before is None or _announced(before) != _announced(after):
        return (Event("added", after),)
    return (Event("added", after),) if generation.equal_lease_is_event else ()


def missed_events(
    generation: Generation, known: Known, store: Iterable[Lease]
) -> tuple[Event, ...]:
    """What an agent that was deaf hears on reconnecting, as its generation compares (see Generation)."""
    leases = tuple(store)
    if generation.snapshot_by_subnet:
        return _by_subnet(known, leases)
    return _by_node(known, leases)


def starting_fdb(existing: Sequence[Fdb], leases: Iterable[Lease]) -> tuple[Op, ...]:
    """How an on-miss agent starts: entries matching a lease stay, all others go, missing ones are added."""
    wanted = {(lease.mac, lease.underlay) for lease in leases}
    present = {(entry.mac, entry.dst) for entry in existing}
    return (
        *(Op("fdb", "del", mac, dst) for mac, dst in sorted(present - wanted)),
        *(Op("fdb", "set", mac, dst, exclusive=True) for mac, dst in sorted(wanted - present)),
    )


def answer(known: Known, address: str) -> str | None:
    """The MAC that an on-miss agent's memory gives for a pod address; None where no lease covers it."""
    wanted = IPv4Address(address)
    for lease in known.values():
        if wanted in IPv4Network(lease.pod_cidr):
            return lease.mac
    return None


def _announced(lease: Lease) -> tuple[str, str]:
    return lease.mac, lease.underlay


def _by_subnet(known: Known, leases: tuple[Lease, ...]) -> tuple[Event, ...]:
    subnets = {lease.pod_cidr for lease in leases}
    gone = (Event("removed", lease) for cidr, lease in known.items() if cidr not in subnets)
    new = (Event("added", lease) for lease in leases if lease.pod_cidr not in known)
    return (*gone, *new)


def _by_node(known: Known, leases: tuple[Lease, ...]) -> tuple[Event, ...]:
    nodes = {lease.node for lease in leases}
    latest = {lease.node: lease for lease in known.values()}
    gone = (Event("removed", lease) for lease in known.values() if lease.node not in nodes)
    new = (
        Event("added", lease)
        for lease in leases
        if lease.node not in latest or _announced(latest[lease.node]) != _announced(lease)
    )
    return (*gone, *new)
