"""Where a node's tables differ from what they should hold: each difference as one entry and its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clusters.state import Link, Route
from probes.model import Entry
from probes.tables import Hop, Rib, Tables, family_of, hops, network, prefix, route_text
from probes.truth import FORWARDING, Owner, Truth, link_text


class Defect(NamedTuple):
    """One entry that differs from what it should be. `kind` is the cause that it is where it loses frames."""

    kind: str
    entry: Entry


def of_node(truth: Truth, tables: Tables, own: Owner) -> Iterator[Defect]:
    """What is wrong with a node itself: devices, forwarding, underlay address."""
    node = own.node
    for device, kind in (
        (own.underlay_device, "underlay-device-down"),
        (own.bridge, "pod-bridge-down"),
    ):
        link = tables.links.get(device)
        if link is None or not link.up:
            have = None if link is None else "down"
            yield Defect(kind, Entry(node, node, "link", device, have, "up"))
    yield from _overlay_link(tables, own)
    forwarding = FORWARDING[family_of(own.cidr)]
    if tables.settings.get(forwarding, 1) == 0:
        entry = Entry(node, node, "setting", SYSCTLS[forwarding], "0", "1")
        yield Defect("ip-forward-disabled", entry)
    if own.underlay not in tables.local:
        key = f"{own.underlay}/{_underlay_length(truth, own)}"
        entry = Entry(node, node, "address", key, None, f"dev {own.underlay_device}")
        yield Defect("node-address-missing", entry)


def of_peer(truth: Truth, tables: Tables, own: Owner, peer: Owner, ip: str) -> Iterator[Defect]:
    """What is wrong with what a node keeps about a peer and that peer's pod address `ip`."""
    if ip in tables.local:
        key, have = tables.cidrs[ip], f"dev {tables.local[ip]}"
        yield Defect("foreign-address", Entry(own.node, peer.node, "address", key, have, None))
    yield from of_peer_route(truth, tables, own, peer, ip)
    yield from of_peer_neigh(truth, tables, own, peer, ip)
    yield from of_peer_fdb(tables, own, peer)
    yield from of_underlay(tables, own, peer)


def of_peer_route(
    truth: Truth, tables: Tables, own: Owner, peer: Owner, ip: str
) -> Iterator[Defect]:
    """Routes that lead elsewhere than by the overlay to the peer, or the lack of the one that does."""
    wanted, text = truth.route(own, peer)
    hop = Hop("" if truth.per_pod else peer.gateway, own.device)
    whose = own.node if truth.per_pod else peer.node
    rib = tables.ribs[family_of(ip)]
    for row in _overriding(rib, ip, wanted):
        if not _leads(row, hop):
            whom = truth.owner_of_prefix(row.dst) or whose
            entry = Entry(own.node, whom, "route", row.dst, route_text(row), None)
            yield Defect("overlay-route-wrong", entry)
    for have, want in _exchange(rib, wanted, hop, text):
        kind = "overlay-route-missing" if have is None else "overlay-route-wrong"
        yield Defect(kind, Entry(own.node, whose, "route", wanted, have, want))


def of_peer_neigh(
    truth: Truth, tables: Tables, own: Owner, peer: Owner, ip: str
) -> Iterator[Defect]:
    """A neighbour entry of the peer without MAC, or with another than the peer's device has."""
    key = truth.next_hop(peer, ip)
    row = tables.neigh.get((own.device, key))
    have = tables.mac(own.device, key)
    if have == peer.mac or (row is None and truth.per_pod):
        return
    if have is None:
        kind = "neigh-entry-missing"
    elif truth.per_pod:
        kind = _stale_pod_kind(
            tables, own, peer, lasting=row is not None and row.state == "permanent"
        )
    else:
        kind = "vtep-mac-stale"
    yield Defect(kind, Entry(own.node, peer.node, "neigh", key, have, peer.mac))


def _stale_pod_kind(tables: Tables, own: Owner, peer: Owner, *, lasting: bool) -> str:
    """Pinned; or the agent never heard of the new MAC; or it has (its FDB says so) and the entry only has to age."""
    if lasting:
        return "vtep-neigh-hand-pinned"
    heard = (own.device, peer.mac) in tables.fdb
    return "vtep-neigh-stale-until-aged" if heard else "vtep-mac-stale-in-memory-l3miss"


def of_peer_fdb(tables: Tables, own: Owner, peer: Owner) -> Iterator[Defect]:
    """No forwarding entry of the peer's MAC, or none to the peer's underlay address."""
    if peer.mac is None:
        return
    dsts = tables.fdb.get((own.device, peer.mac), ())
    if peer.underlay in dsts:
        return
    kind = "fdb-dst-wrong" if dsts else "fdb-entry-missing"
    have = " ".join(dsts) or None
    yield Defect(kind, Entry(own.node, peer.node, "fdb", peer.mac, have, peer.underlay))


def of_underlay(tables: Tables, own: Owner, peer: Owner) -> Iterator[Defect]:
    """What leads the outer packets to a peer's underlay address astray."""
    rib = tables.ribs[family_of(peer.underlay)]
    direct = Hop("", own.underlay_device)
    connected = network(tables.cidrs[own.underlay]) if own.underlay in tables.cidrs else None
    if connected is not None and prefix(connected).covers(peer.underlay):
        for row in _overriding(rib, peer.underlay, connected):
            if not _leads(row, direct):
                entry = Entry(own.node, peer.node, "route", row.dst, route_text(row), None)
                yield Defect("underlay-route-wrong", entry)
        for have, want in _exchange(rib, connected, direct, f"dev {direct.device}"):
            kind = "underlay-route-missing" if have is None else "underlay-route-wrong"
            yield Defect(kind, Entry(own.node, own.node, "route", connected, have, want))
    kept = tables.neigh.get((direct.device, peer.underlay))
    mac = tables.mac(direct.device, peer.underlay)
    if kept is not None and mac != peer.underlay_mac and peer.underlay_mac is not None:
        entry = Entry(own.node, peer.node, "neigh", peer.underlay, mac, peer.underlay_mac)
        yield Defect("underlay-neigh-wrong", entry)


def of_pod(truth: Truth, tables: Tables, own: Owner, ip: str) -> Iterator[Defect]:
    """What keeps a node from reaching its own pod by the bridge."""
    node, hop = own.node, Hop("", own.bridge)
    spanning = (cidr for at, cidr in tables.cidrs.items() if tables.local[at] == own.bridge)
    home = next((network(cidr) for cidr in spanning if prefix(cidr).covers(ip)), None)
    if home is None and prefix(own.cidr).covers(ip):
        entry = Entry(node, node, "address", _gateway_cidr(own.cidr), None, f"dev {own.bridge}")
        yield Defect("pod-gateway-missing", entry)
    rib = tables.ribs[family_of(ip)]
    for row in _overriding(rib, ip, home or own.cidr):
        if not _leads(row, hop):
            entry = Entry(node, node, "route", row.dst, route_text(row), None)
            yield Defect("pod-route-wrong", entry)
    if home is not None:
        for have, want in _exchange(rib, home, hop, f"dev {own.bridge}"):
            kind = "pod-route-missing" if have is None else "pod-route-wrong"
            yield Defect(kind, Entry(node, node, "route", home, have, want))
    if strange := truth.strange_pod_mac(tables, own.bridge, ip):
        entry = Entry(node, node, "neigh", ip, strange, truth.pod_macs[ip])
        yield Defect("pod-neigh-wrong", entry)


SYSCTLS = {"ip_forward": "net.ipv4.ip_forward", "ip6_forward": "net.ipv6.conf.all.forwarding"}


def _overlay_link(tables: Tables, own: Owner) -> Iterator[Defect]:
    link = tables.links.get(own.device)
    want = own.link_text(own.mac)
    if link is None:
        kind, have = "vxlan-device-missing", None
    else:
        have = link_text(
            link.mac, link.vni, link.vxlan_port, link.vxlan_local or own.underlay, up=link.up
        )
        kind = _link_kind(link, own)
    if have != want:
        yield Defect(kind, Entry(own.node, own.node, "link", own.device, have, want))


def _link_kind(link: Link, own: Owner) -> str:
    if not link.up:
        return "vxlan-device-down"
    if (link.vni, link.vxlan_port) != (own.vni, own.port):
        return "vxlan-port-or-vni-mismatch"
    return "vtep-mac-rewritten" if link.mac != own.mac else "vxlan-local-wrong"


def _overriding(rib: Rib, ip: str, wanted: str) -> Iterator[Route]:
    """Routes to the address that are more specific than the wanted one."""
    length = prefix(wanted).length
    return (row for row in rib.covering(ip) if prefix(row.dst).length > length)


def _exchange(rib: Rib, dst: str, hop: Hop, text: str) -> Iterator[tuple[str | None, str | None]]:
    """What of the routes of one prefix has to become what, so that the kernel takes the wanted hop."""
    rows = rib.rows.get(prefix(dst), ())
    good = next((at for at, row in enumerate(rows) if _leads(row, hop)), None)
    if good is not None:
        yield from ((route_text(row), None) for row in rows[:good])
    else:
        yield (route_text(rows[0]) if rows else None, text)


def _leads(row: Route, hop: Hop) -> bool:
    return row.kind == "unicast" and hops(row) == (hop,)


def _underlay_length(truth: Truth, own: Owner) -> int:
    """The prefix length of underlay addresses, by the other nodes'."""
    for other in truth.owners.values():
        tables = truth.tables.get(other.node)
        if other.node != own.node and tables and other.underlay in tables.cidrs:
            return prefix(tables.cidrs[other.underlay]).length
    return prefix(own.underlay).length


def _gateway_cidr(cidr: str) -> str:
    """The address that a bridge has in a podCIDR: its first host."""
    base, _, length = cidr.partition("/")
    first = f"{base}1" if ":" in base else f"{base.rpartition('.')[0]}.1"
    return f"{first}/{length}"
