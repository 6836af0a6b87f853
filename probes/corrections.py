"""The tables as they would be with some entries put right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clusters.state import Link
from probes.defects import SYSCTLS
from probes.forwarding import World
from probes.model import Entry
from probes.tables import Tables, family_of, network
from probes.truth import FAMILIES, Owner, Truth

_MTU_BYTES: Final = 1450
_SETTINGS: Final = {sysctl: name for name, sysctl in SYSCTLS.items()}


def corrected(world: World, entries: Iterable[Entry]) -> World:
    """The world with each entry as it should be."""
    tables = dict(world.tables)
    for entry in entries:
        tables[entry.observer] = _APPLIED[entry.table](world.truth, tables[entry.observer], entry)
    return World(world.truth, tables)


def device_for(truth: Truth, entry: Entry) -> str:
    """The device that a neighbour, FDB or link entry belongs to."""
    if entry.table == "link":
        return entry.key
    own = _owner(truth, entry)
    if entry.table == "fdb":
        return own.device
    if entry.key == truth.owner(entry.owner, family_of(own.cidr)).underlay:
        return own.underlay_device
    return own.bridge if entry.owner == entry.observer else own.device


def _owner(truth: Truth, entry: Entry) -> Owner:
    """The observer, in the family that the entry is about."""
    if entry.table == "fdb":
        families = (f for f in FAMILIES if _mac(truth, entry.owner, f) == entry.key)
        return truth.owner(entry.observer, next(families, _first_family(truth, entry)))
    if entry.table == "link":
        place = (entry.observer, entry.key)
        found = (own for own in truth.owners.values() if (own.node, own.device) == place)
        return next(found, truth.owner(entry.observer, _first_family(truth, entry)))
    family = family_of(entry.key)
    known = (entry.observer, family) in truth.owners
    return truth.owner(entry.observer, family if known else _first_family(truth, entry))


def _first_family(truth: Truth, entry: Entry) -> str:
    return next(family for family in FAMILIES if (entry.observer, family) in truth.owners)


def _mac(truth: Truth, node: str, family: str) -> str | None:
    owner = truth.owners.get((node, family))
    return owner.mac if owner else None


def _with_neigh(truth: Truth, tables: Tables, entry: Entry) -> Tables:
    return tables.with_neigh(device_for(truth, entry), entry.key, entry.want or "")


def _with_fdb(truth: Truth, tables: Tables, entry: Entry) -> Tables:
    return tables.with_fdb(device_for(truth, entry), entry.key, entry.want or "")


def _with_route(_: Truth, tables: Tables, entry: Entry) -> Tables:
    return tables.with_route(entry.key, entry.have, entry.want)


def _with_link(truth: Truth, tables: Tables, entry: Entry) -> Tables:
    own = _owner(truth, entry)
    if entry.key == own.device:
        return tables.with_link(
            Link(
                own.device,
                0,
                own.mac or "",
                _MTU_BYTES,
                up=True,
                kind="vxlan",
                vni=own.vni,
                vxlan_port=own.port,
                vxlan_local=own.underlay,
            )
        )
    link = tables.links.get(entry.key, Link(entry.key, 0, "", 0, up=True))
    up = tables.with_link(link._replace(up=True))
    for ip, device in tables.local.items():
        if device == entry.key:
            up = up.with_route(network(tables.cidrs[ip]), f"dev {device}", f"dev {device}")
    return up


def _with_setting(_: Truth, tables: Tables, entry: Entry) -> Tables:
    return tables.with_setting(_SETTINGS[entry.key], int(entry.want or "0"))


def _with_address(_: Truth, tables: Tables, entry: Entry) -> Tables:
    if entry.want is None:
        return tables.without_address(entry.key.partition("/")[0])
    return tables.with_address(entry.key, entry.want.removeprefix("dev "))


_APPLIED: Final[Mapping[str, Callable[[Truth, Tables, Entry], Tables]]] = {
    "neigh": _with_neigh,
    "fdb": _with_fdb,
    "route": _with_route,
    "link": _with_link,
    "setting": _with_setting,
    "address": _with_address,
}
