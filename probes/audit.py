"""Every entry that differs from what it should be, whether or not it loses anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clusters.state import ClusterState, Route
from probes import defects
from probes.model import Entry
from probes.tables import Hop, Prefix, Tables, family_of, hops, prefix, route_text
from probes.textbook import Textbook
from probes.truth import FAMILIES, End, Owner, Truth, establish, link_text

_LASTING: Final = frozenset({"permanent", "noarp"})
_BOOT: Final = 3  # RTPROT_BOOT: what flannel's netlink library writes
_GROUPS: Final = tuple(prefix(text) for text in ("224.0.0.0/4", "255.255.255.255", "ff00::/8"))


class Deviation(NamedTuple):
    """One difference; `kind` is the id of the note that it becomes where it loses nothing."""

    kind: str
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All differences, sorted. An entry that is at fault for a loss is among them under the same values."""

    deviations: tuple[Deviation, ...]


def audit(state: ClusterState) -> Audit:
    """Compare every node's tables with what the nodes are. Only reads; no I/O."""
    return audited(Textbook(establish(state)))


def audited(textbook: Textbook) -> Audit:
    """As `audit`, for a truth that is established."""
    truth = textbook.truth
    known = {family: _Known.of(truth, family) for family in FAMILIES}
    asked = {family: tuple(_representatives(truth, family)) for family in FAMILIES}
    found: set[Deviation] = set()
    for (node, family), own in truth.owners.items():
        tables = truth.tables.get(node)
        if tables is not None:
            found.update(_wanting(textbook, tables, own, asked[family]))
            found.update(_Rows(truth, tables, own, known[family]).deviations())
    found.update(_leases(truth))
    return Audit(deviations=tuple(sorted(found, key=_order)))


def _order(deviation: Deviation) -> tuple[str, ...]:
    return (deviation.kind, *(field or "" for field in deviation.entry))


def _representatives(truth: Truth, family: str) -> Iterator[End]:
    """The places whose entries to look for: one per node, or all where neighbours are kept per pod."""
    seen: set[str] = set()
    for end in truth.ends:
        if family_of(end.ip) == family and (end.node, family) in truth.owners:
            if truth.per_pod or end.node not in seen:
                yield end
            seen.add(end.node)


def _wanting(
    textbook: Textbook, tables: Tables, own: Owner, asked: Iterable[End]
) -> Iterator[Deviation]:
    """Wanted entries that have another value or are absent."""
    truth, family = textbook.truth, family_of(own.cidr)
    differing = list(defects.of_node(truth, tables, own))
    for end in truth.ends:
        if end.node == own.node and family_of(end.ip) == family:
            differing += defects.of_pod(truth, tables, own, end.ip)
    for end in asked:
        if end.node != own.node and not textbook.knows(own.node, end):
            peer = truth.owner(end.node, family)
            differing += defects.of_peer(truth, tables, own, peer, end.ip)
    return (Deviation("entry-differs", defect.entry) for defect in differing)


class _Known(NamedTuple):
    """Everything of one family that rows may be about."""

    cidrs: Mapping[Prefix, Owner]
    gateways: Mapping[str, Owner]
    macs: frozenset[str | None]
    underlays: Mapping[str, str]
    pods: Mapping[str, str]

    @classmethod
    def of(cls, truth: Truth, family: str) -> _Known:
        """What the nodes and pods of that family are known by."""
        owners = tuple(truth.nodes(family))
        return cls(
            cidrs={prefix(owner.cidr): owner for owner in owners},
            gateways={owner.gateway: owner for owner in owners},
            macs=frozenset(owner.mac for owner in owners),
            underlays={owner.underlay: owner.node for owner in owners},
            pods={end.ip: end.node for end in truth.ends},
        )

    def around(self, key: Prefix) -> Owner | None:
        """The node whose podCIDR a prefix is, or is part of."""
        if key in self.cidrs:
            return self.cidrs[key]
        return next((own for cidr, own in self.cidrs.items() if key.within(cidr)), None)


class _Rows(NamedTuple):
    """One node's rows, seen against everything that may be wanted of them."""

    truth: Truth
    tables: Tables
    own: Owner
    known: _Known

    def deviations(self) -> Iterator[Deviation]:
        """Rows that are not wanted, or wanted but of another make."""
        yield from self._neighbours()
        yield from self._fdb()
        for covered, rows in self.tables.ribs[family_of(self.own.cidr)].rows.items():
            yield from self._routes(covered, rows)
        if self.own.device in self.tables.links and self.own.gateway not in self.tables.local:
            key = f"{self.own.gateway}/{'128' if ':' in self.own.gateway else '32'}"
            yield self._found("vtep-address-missing", self.own.node, "address", key, None)

    def _found(self, kind: str, owner: str, table: str, key: str, have: str | None) -> Deviation:
        want = f"dev {self.own.device}" if have is None else None
        return Deviation(kind, Entry(self.own.node, owner, table, key, have, want))

    def _neighbours(self) -> Iterator[Deviation]:
        for (device, ip), row in self.tables.neigh.items():
            mac = self.tables.mac(device, ip)
            if device == self.own.device and mac is not None and not _is_group(ip):
                yield from self._neighbour(ip, mac, lasting=row.state in _LASTING)

    def _neighbour(self, ip: str, mac: str, *, lasting: bool) -> Iterator[Deviation]:
        pods, peer = self.known.pods, self.known.gateways.get(ip)
        if not self.truth.per_pod and peer is not None:
            if mac == peer.mac and not lasting:
                entry = Entry(self.own.node, peer.node, "neigh", ip, mac, mac)
                yield Deviation("neigh-not-permanent", entry)
        elif self.truth.per_pod and ip in pods:
            if lasting:
                entry = Entry(self.own.node, pods[ip], "neigh", ip, mac, mac)
                yield Deviation("neigh-pinned", entry)
        elif ip in pods:
            yield self._found("neigh-residue", pods[ip], "neigh", ip, mac)
        else:
            yield self._found("entry-for-unknown-node", self._by_mac(mac), "neigh", ip, mac)

    def _fdb(self) -> Iterator[Deviation]:
        for (device, mac), dsts in self.tables.fdb.items():
            if device != self.own.device or mac in self.known.macs:
                continue
            for dst in dsts:
                owner = self.known.underlays.get(dst, "")
                kind = "fdb-residue" if owner else "entry-for-unknown-node"
                yield self._found(kind, owner, "fdb", mac, dst)

    def _routes(self, key: Prefix, rows: tuple[Route, ...]) -> Iterator[Deviation]:
        peer = self.known.cidrs.get(key)
        if len(rows) == 1 and peer is not None and self._textbook(rows[0], peer):
            return
        if not any(hop.device == self.own.device for row in rows for hop in hops(row)):
            return
        peer = peer or self.known.around(key)
        wanted = self._wanted(peer)
        if wanted is None or key != prefix(wanted):
            for row in rows:
                known = peer.node if peer else self.truth.owner_of_prefix(row.dst)
                kind = "route-residue" if known else "entry-for-unknown-node"
                owner = known or self._by_gateway(row)
                yield self._found(kind, owner, "route", row.dst, route_text(row))
            return
        good = Hop("" if self.truth.per_pod or peer is None else peer.gateway, self.own.device)
        at = next((at for at, row in enumerate(rows) if hops(row) == (good,)), None)
        if at is not None:
            whose = self.own.node if peer is None or self.truth.per_pod else peer.node
            yield from self._beside(whose, rows, at)

    def _textbook(self, row: Route, peer: Owner) -> bool:
        """Whether it is just the route that flannel writes per peer; quick, for most are."""
        told = (row.via, row.device, row.protocol, row.kind)
        return told == (peer.gateway, self.own.device, _BOOT, "unicast") and not self.truth.per_pod

    def _beside(self, whose: str, rows: tuple[Route, ...], at: int) -> Iterator[Deviation]:
        """The wanted route is row `at`: what is strange about it, and what stands behind it."""
        if rows[at].protocol != _BOOT:
            text = route_text(rows[at])
            entry = Entry(self.own.node, whose, "route", rows[at].dst, text, text)
            yield Deviation("route-foreign-protocol", entry)
        for row in rows[at + 1 :]:
            yield self._found("route-residue", whose, "route", row.dst, route_text(row))

    def _wanted(self, peer: Owner | None) -> str | None:
        """The prefix of the one route that is wanted by this device to a peer, or to all."""
        if self.truth.per_pod:
            return self.truth.cluster_cidrs[family_of(self.own.cidr)]
        return peer.cidr if peer and peer.node != self.own.node else None

    def _by_mac(self, mac: str) -> str:
        dsts = self.tables.fdb.get((self.own.device, mac), ("",))
        return self.known.underlays.get(dsts[0], "")

    def _by_gateway(self, row: Route) -> str:
        mac = self.tables.mac(self.own.device, hops(row)[0].via)
        return self._by_mac(mac) if mac else ""


def _leases(truth: Truth) -> Iterator[Deviation]:
    """Nodes that publish something else than they are."""
    for (node, family), lease in truth.leases.items():
        own = truth.owners.get((node, family))
        tables = truth.tables.get(node)
        link = tables.links.get(own.device) if own and tables else None
        if own is None or link is None or (link.mac, own.underlay) == (lease.mac, lease.underlay):
            continue
        said = link_text(lease.mac, link.vni, link.vxlan_port, lease.underlay, up=link.up)
        have = link_text(link.mac, link.vni, link.vxlan_port, own.underlay, up=link.up)
        entry = Entry(node, node, "link", own.device, have, said)
        yield Deviation("lease-differs", entry)


def _is_group(ip: str) -> bool:
    return any(group.covers(ip) for group in _GROUPS)
