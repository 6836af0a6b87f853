"""One node's kernel tables, indexed for the lookups that a packet makes."""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from clusters.state import Link, Neigh, NodeState, Route

ZERO_MAC: Final = "00:00:00:00:00:00"  # the FDB's entry for every MAC that has none
USABLE: Final = frozenset({"permanent", "reachable", "stale", "delay", "probe", "noarp"})
_BITS: Final = {"ipv4": 32, "ipv6": 128}


class Prefix(NamedTuple):
    """A network: `head` are its first `length` bits as a number."""

    family: str
    length: int
    head: int

    def covers(self, ip: str) -> bool:
        """Whether an address of the same family lies in it."""
        return (
            family_of(ip) == self.family
            and number(ip) >> (_BITS[self.family] - self.length) == self.head
        )

    def within(self, other: Prefix) -> bool:
        """Whether it is part of (or equal to) another network."""
        spare = self.length - other.length
        return self.family == other.family and spare >= 0 and self.head >> spare == other.head


def family_of(ip: str) -> str:
    """The family of an address or prefix: "ipv4" or "ipv6"."""
    return "ipv6" if ":" in ip else "ipv4"


@functools.lru_cache(maxsize=1 << 16)
def number(ip: str) -> int:
    """An address as a number. Raises ValueError."""
    if ":" in ip:
        return int(ipaddress.IPv6Address(ip))
    a, b, c, d = ip.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


@functools.lru_cache(maxsize=1 << 16)
def prefix(text: str) -> Prefix:
    """The network of "10.244.1.0/24", of an address with its prefix length, or of a lone address."""
    ip, _, length = text.partition("/")
    family = family_of(ip)
    bits = _BITS[family]
    size = int(length) if length else bits
    return Prefix(family, size, number(ip) >> (bits - size))


@functools.lru_cache(maxsize=1 << 12)
def network(cidr: str) -> str:
    """The network of an address with its prefix length: "10.244.1.1/24" → "10.244.1.0/24"."""
    return str(ipaddress.ip_interface(cidr).network)


class Hop(NamedTuple):
    """Where a route sends a packet: the gateway ("" for none) and the device."""

    via: str
    device: str


def hops(route: Route) -> tuple[Hop, ...]:
    """Every way a unicast route may send a packet."""
    if route.nexthops:
        return tuple(Hop(*hop) for hop in route.nexthops)
    return (Hop(route.via or "", route.device),)


def route_text(route: Route) -> str:
    """A route as `ip route` prints and takes it, without its prefix and protocol."""
    words = [] if route.kind == "unicast" else [route.kind]
    for hop in hops(route):
        words += ["nexthop"] if route.nexthops else []
        words += [f"via {hop.via}"] if hop.via else []
        words += [f"dev {hop.device}"] if hop.device else []
    words += [f"metric {route.metric}"] if route.metric else []
    words += ["onlink"] if route.onlink else []
    return " ".join(words)


def parsed_route(dst: str, text: str) -> Route:
    """The single-hop route that `route_text` printed."""
    words = text.split()
    named = dict(itertools.pairwise(words))
    return Route(
        dst,
        named.get("dev", ""),
        named.get("via"),
        onlink="onlink" in words,
        metric=int(named.get("metric", "0")),
    )


class Choice(NamedTuple):
    """What the kernel takes for an address: the route's kind ("" where there is no route) and its hops."""

    kind: str
    hops: tuple[Hop, ...]

    def by(self, device: str) -> bool:
        """Whether the packet may leave by that device."""
        return any(hop.device == device for hop in self.hops)


_NO_ROUTE: Final = Choice("", ())


@dataclass(frozen=True, slots=True)
class Rib:
    """The routes of one family by prefix; of each prefix in the kernel's order of preference."""

    rows: Mapping[Prefix, tuple[Route, ...]]
    lengths: tuple[int, ...]  # longest first
    family: str
    _asked: dict[str, Choice] = field(default_factory=dict, repr=False, compare=False)

    def lookup(self, ip: str) -> Choice:
        """The route that the kernel takes: the longest prefix, of those the lowest metric, of those the first."""
        found = self._asked.get(ip)
        if found is None:
            found = self._asked[ip] = self._choice(next(self.covering(ip), None))
        return found

    def _choice(self, row: Route | None) -> Choice:
        """What a route means; remembered by its prefix, for many addresses share it."""
        if row is None:
            return _NO_ROUTE
        known = self._asked.get(row.dst)
        if known is None:
            known = self._asked[row.dst] = Choice(row.kind, hops(row))
        return known

    def covering(self, ip: str) -> Iterator[Route]:
        """Every route whose prefix covers the address, in the kernel's order of preference."""
        value, bits = number(ip), _BITS[self.family]
        for length in self.lengths:
            key = (self.family, length, value >> (bits - length))
            yield from self.rows.get(key, ())  # type: ignore[call-overload]  # equal to the Prefix, and faster made

    def changed(self, dst: str, have: str | None, want: str | None) -> Rib:
        """With the row that reads `have` replaced by one that reads `want`; None for no row."""
        key = prefix(dst)
        kept = [row for row in self.rows.get(key, ()) if have is None or route_text(row) != have]
        fresh = [] if want is None else [parsed_route(dst, want)]
        return _rib(self.family, {**self.rows, key: _preferred([*fresh, *kept])})


def _rib(family: str, rows: Mapping[Prefix, tuple[Route, ...]]) -> Rib:
    lengths = {key.length for key, found in rows.items() if found}
    return Rib(rows, tuple(sorted(lengths, reverse=True)), family)


def _preferred(rows: Iterable[Route]) -> tuple[Route, ...]:
    return tuple(sorted(rows, key=lambda row: row.metric))


def _ribs(routes: Iterable[Route]) -> dict[str, Rib]:
    rows: dict[str, dict[Prefix, tuple[Route, ...]]] = {"ipv4": {}, "ipv6": {}}
    for row in routes:
        key = prefix(row.dst)
        ours = rows[key.family]
        ours[key] = _preferred((*ours[key], row)) if key in ours else (row,)
    return {family: _rib(family, found) for family, found in rows.items()}


@dataclass(frozen=True, slots=True)
class Tables:
    """What the kernel of one node decides by. `local` are its own addresses with their devices."""

    node: str
    links: Mapping[str, Link]
    local: Mapping[str, str]
    cidrs: Mapping[str, str]  # own address → the same with its prefix length
    neigh: Mapping[tuple[str, str], Neigh]  # device, address
    fdb: Mapping[tuple[str, str], tuple[str, ...]]  # device, MAC → underlay addresses
    ribs: Mapping[str, Rib]
    settings: Mapping[str, int]

    def route(self, ip: str) -> Choice:
        """The route to an address that is not local."""
        return self.ribs[family_of(ip)].lookup(ip)

    def mac(self, device: str, ip: str) -> str | None:
        """The MAC of a neighbour entry that frames are sent with; None while there is none."""
        row = self.neigh.get((device, ip))
        return row.mac if row is not None and row.state in USABLE else None

    def setting(self, name: str, device: str) -> int:
        """The effective value of a per-device setting that counts by its maximum with "all"."""
        return max(self.settings.get(f"{name}/all", 0), self.settings.get(f"{name}/{device}", 0))

    def with_link(self, link: Link) -> Tables:
        """With that device."""
        return replace(self, links={**self.links, link.name: link})

    def with_neigh(self, device: str, ip: str, mac: str) -> Tables:
        """With that neighbour, permanently."""
        row = Neigh(device, ip, mac, "permanent")
        return replace(self, neigh={**self.neigh, (device, ip): row})

    def with_fdb(self, device: str, mac: str, dst: str) -> Tables:
        """With that forwarding entry, alone for its MAC."""
        return replace(self, fdb={**self.fdb, (device, mac): (dst,)})

    def with_route(self, dst: str, have: str | None, want: str | None) -> Tables:
        """With one route replaced, added or removed; see `Rib.changed`."""
        family = family_of(dst)
        return replace(self, ribs={**self.ribs, family: self.ribs[family].changed(dst, have, want)})

    def with_setting(self, name: str, value: int) -> Tables:
        """With that setting."""
        return replace(self, settings={**self.settings, name: value})

    def with_address(self, cidr: str, device: str) -> Tables:
        """With an address on a device, which brings its connected route."""
        ip = cidr.partition("/")[0]
        known = replace(self, local={**self.local, ip: device}, cidrs={**self.cidrs, ip: cidr})
        return known.with_route(network(cidr), None, f"dev {device}")

    def without_address(self, ip: str) -> Tables:
        """Without that address."""
        return replace(self, local={own: dev for own, dev in self.local.items() if own != ip})


def index(state: NodeState) -> Tables:
    """One node's tables, ready for lookups."""
    fdb: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in state.fdb:
        key = (row.device, row.mac)
        fdb[key] = (*fdb.get(key, ()), row.dst)
    cidrs = {row.cidr.partition("/")[0]: row.cidr for row in state.addresses}
    return Tables(
        node=state.node,
        links=state.links,
        local={row.cidr.partition("/")[0]: row.device for row in state.addresses},
        cidrs=cidrs,
        neigh={(row.device, row.ip): row for row in state.neighbours},
        fdb=fdb,
        ribs=_ribs(state.routes),
        settings=state.settings,
    )
