"""Where a packet goes, by the tables of every node on its way alone; what the Linux kernel does, in order.

Sources: ip_route_input_slow and fib_validate_source (net/ipv4/route.c, fib_frontend.c), vxlan_xmit and vxlan_rcv
(drivers/net/vxlan/vxlan_core.c); each rule was tried on a 6.18 kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from clusters.state import Link
from probes.tables import ZERO_MAC, Hop, Tables, family_of
from probes.truth import FORWARDING, End, Owner, Truth

_UNDERLAY_HOPS: Final = 4


class Outcome(StrEnum):
    """What becomes of a packet, as far as the tables tell."""

    ARRIVES = "arrives"
    LOST = "lost"
    UNKNOWN = "unknown"


class Way(NamedTuple):
    """How far a packet comes: the nodes it passes, and why it ends at the last of them."""

    outcome: Outcome
    reason: str
    path: tuple[str, ...]


class World(NamedTuple):
    """Everybody's tables, perhaps with some entries corrected, under one truth."""

    truth: Truth
    tables: Mapping[str, Tables]


class _Packet(NamedTuple):
    src: End
    dst: End
    family: str


class _Landing(NamedTuple):
    """Where an outer packet ends on the underlay; `node` None: nowhere. Unsure: a router or ARP has to help."""

    node: str | None
    reason: str = ""
    sure: bool = True


def travel(world: World, src: End, dst: End) -> Way:
    """The way of a packet from one pod to another; of the same node it never leaves the bridge."""
    family = family_of(dst.ip)
    bridge = world.truth.owner(src.node, family).bridge
    tables = world.tables.get(src.node)
    if tables is not None and not _is_up(tables, bridge):
        return Way(Outcome.LOST, "pod-bridge-down", (src.node,))
    if src.node == dst.node:
        return Way(Outcome.ARRIVES, "delivered", (src.node,))
    return _received(world, _Packet(src, dst, family), bridge, (src.node,))


def carried(world: World, observer: str, local: str, dst: str) -> _Landing:
    """Where an outer packet ends that a node sends from `local` to the underlay address `dst`."""
    at, sure = observer, True
    for _ in range(_UNDERLAY_HOPS):
        tables = world.tables[at]
        if dst in tables.local:
            return _Landing(at, sure=sure)
        if at != observer and tables.settings.get(FORWARDING[family_of(dst)], 1) == 0:
            return _Landing(None, "underlay-not-forwarded")
        step = _underlay_step(world, tables, dst)
        if step.node is None or step.node not in world.tables:
            return step
        sure = sure and step.sure
        if refused := _underlay_refused(world, step.node, local):
            return _Landing(None, refused)
        at = step.node
    return _Landing(None, "underlay-loop")


class _Visit(NamedTuple):
    """A packet at the last node of its path."""

    world: World
    packet: _Packet
    tables: Tables
    path: tuple[str, ...]

    @property
    def own(self) -> Owner:
        """The node, as its peers should know it."""
        return self.world.truth.owner(self.tables.node, self.packet.family)

    def ends(self, reason: str, outcome: Outcome = Outcome.LOST) -> Way:
        """The packet comes no further."""
        return Way(outcome, reason, self.path)


def _received(world: World, packet: _Packet, device: str, path: tuple[str, ...]) -> Way:
    """A packet came in at the last node of the path, by that device."""
    node = path[-1]
    tables = world.tables.get(node)
    if tables is None:
        return Way(Outcome.UNKNOWN, "unreadable", path)
    visit = _Visit(world, packet, tables, path)
    if node in path[:-1]:
        return visit.ends("loop")
    if reason := _refused(tables, packet, device):
        return visit.ends(reason)
    route = tables.route(packet.dst.ip)
    if route.kind != "unicast":
        return visit.ends(route.kind or "no-route")
    return _merged([_sent(visit, hop) for hop in route.hops])


def _refused(tables: Tables, packet: _Packet, device: str) -> str:
    """Why the node's IP layer would not forward the packet; "" where it would."""
    if packet.dst.ip in tables.local:
        return "taken-locally"
    if tables.settings.get(FORWARDING[packet.family], 1) == 0:
        return "not-forwarding"
    return "" if _source_valid(tables, packet.src.ip, device) else "rp-filter"


def _source_valid(tables: Tables, src: str, device: str) -> bool:
    """The source check of ip_route_input; IPv6 has none."""
    if ":" in src:
        return True
    if src in tables.local:
        return False  # martian, whatever rp_filter says
    mode = tables.setting("rp_filter", device)
    if mode == 0:
        return True
    back = tables.route(src)
    return back.kind == "unicast" and (mode != 1 or back.by(device))


def _sent(visit: _Visit, hop: Hop) -> Way:
    """The node forwards the packet to that next hop."""
    own = visit.own
    link = visit.tables.links.get(hop.device)
    if link is None or not link.up:
        return visit.ends("device-down")
    if hop.device == own.bridge:
        return _delivered(visit, own.bridge)
    if link.vni is not None:
        return _encapsulated(visit, link, hop.via or visit.packet.dst.ip)
    if hop.device == own.underlay_device:
        return _unwrapped(visit, hop)
    return visit.ends("foreign-device")


def _delivered(visit: _Visit, bridge: str) -> Way:
    """The packet leaves by the bridge of the pods."""
    dst = visit.packet.dst
    if dst.node != visit.tables.node:
        return visit.ends("no-such-pod")
    if visit.world.truth.strange_pod_mac(visit.tables, bridge, dst.ip):
        return visit.ends("pod-neigh-wrong")
    return visit.ends("delivered", Outcome.ARRIVES)


def _encapsulated(visit: _Visit, link: Link, next_hop: str) -> Way:
    """The packet leaves by a VXLAN device."""
    tables = visit.tables
    mac = tables.mac(link.name, next_hop)
    if mac is None:
        return _unresolved(visit, link, next_hop)
    return _framed(visit, link, mac)


def _framed(visit: _Visit, link: Link, mac: str) -> Way:
    """The frame for that MAC leaves by a VXLAN device."""
    tables = visit.tables
    dsts = tables.fdb.get((link.name, mac)) or tables.fdb.get((link.name, ZERO_MAC), ())
    if not dsts:
        return visit.ends("fdb-missing")
    return _any_copy([_tunnelled(visit, link, mac, dst) for dst in dsts])


def _unresolved(visit: _Visit, link: Link, next_hop: str) -> Way:
    """No MAC for the next hop: ARP goes into the tunnel, or to the agent, whose memory no table shows.

    What would be lost even with the right answer is lost.
    """
    tables, truth = visit.tables, visit.world.truth
    if not truth.per_pod:
        flooded = (link.name, ZERO_MAC) in tables.fdb
        return (
            visit.ends("neigh-unanswered", Outcome.UNKNOWN)
            if flooded
            else visit.ends("neigh-missing")
        )
    right = truth.owner(visit.packet.dst.node, visit.packet.family).mac
    way = _framed(visit, link, right) if right is not None else None
    if way is not None and way.outcome is Outcome.LOST:
        return way
    asked = (link.name, next_hop) in tables.neigh
    return visit.ends("neigh-unanswered" if asked else "agent-memory", Outcome.UNKNOWN)


def _tunnelled(visit: _Visit, link: Link, mac: str, dst: str) -> Way:
    """One copy of the frame, to one underlay address."""
    world, packet = visit.world, visit.packet
    local = link.vxlan_local or visit.own.underlay
    if local not in visit.tables.local:
        return visit.ends("local-address-gone")
    landing = carried(world, visit.tables.node, local, dst)
    if landing.node is None:
        return visit.ends(landing.reason, Outcome.LOST if landing.sure else Outcome.UNKNOWN)
    path = (*visit.path, landing.node)
    if landing.node not in world.tables:
        return Way(Outcome.UNKNOWN, "unreadable", path)
    device, reason = _decapsulated(world.tables[landing.node], link, mac, family_of(dst))
    if reason:
        return Way(Outcome.LOST, reason, path)
    way = _received(world, packet, device, path)
    return way if landing.sure else _at_best_unknown(way)


def _decapsulated(tables: Tables, sender: Link, mac: str, outer: str) -> tuple[str, str]:
    """The device that takes the frame from the socket of the outer family, or the reason why none does."""
    link = next(
        (
            own
            for own in tables.links.values()
            if (own.vni, own.vxlan_port) == (sender.vni, sender.vxlan_port)
            and own.up
            and family_of(own.vxlan_local or outer) == outer
        ),
        None,
    )
    if link is None:
        return "", "no-vtep"
    if link.mac == sender.mac:
        return "", "own-mac-returns"
    return (link.name, "") if link.mac == mac else ("", "otherhost")


def _unwrapped(visit: _Visit, hop: Hop) -> Way:
    """The packet leaves by the underlay as it is: direct routing, or a leak."""
    step = _onto_wire(visit.world, visit.tables, hop, visit.packet.dst.ip)
    if step.node is None:
        return visit.ends("leaks")
    device = visit.world.truth.uplinks[step.node]
    return _received(visit.world, visit.packet, device, (*visit.path, step.node))


def _underlay_step(world: World, tables: Tables, dst: str) -> _Landing:
    """From one node over the wire to the next machine on the way to `dst`."""
    route = tables.route(dst)
    if route.kind != "unicast":
        return _Landing(None, "underlay-route")
    hop = route.hops[0]
    link = tables.links.get(hop.device)
    if link is None or not link.up or link.vni is not None or hop.device == "lo":
        return _Landing(None, "underlay-route")
    return _onto_wire(world, tables, hop, dst)


def _onto_wire(world: World, tables: Tables, hop: Hop, dst: str) -> _Landing:
    """Which machine the next hop's neighbour entry, or ARP, leads to."""
    ip = hop.via or dst
    row = tables.neigh.get((hop.device, ip))
    mac = tables.mac(hop.device, ip)
    station = world.truth.stations.get(mac or "")
    if station is not None:
        return _Landing(station)
    if ip in world.truth.unread:
        return _Landing(world.truth.unread[ip])
    holder = world.truth.holder(world.tables, ip)
    if holder is None and hop.via:
        return _Landing(None, "router", sure=False)
    if holder is None or (mac is not None and _has_station(world, holder)):
        return _Landing(None, "underlay-neigh")
    return _Landing(holder, sure=mac is not None or row is None)


def _has_station(world: World, node: str) -> bool:
    """Whether the MAC of a node's underlay device is known."""
    return node in world.truth.stations.values()


def _underlay_refused(world: World, node: str, local: str) -> str:
    """Why a node would not take an outer packet from the wire; "" where it would."""
    tables = world.tables[node]
    device = world.truth.uplinks[node]
    if not _is_up(tables, device):
        return "underlay-device-down"
    return "" if _source_valid(tables, local, device) else "underlay-rp-filter"


def _is_up(tables: Tables, device: str) -> bool:
    link = tables.links.get(device)
    return link is not None and link.up


def _at_best_unknown(way: Way) -> Way:
    return way._replace(outcome=Outcome.UNKNOWN) if way.outcome is Outcome.ARRIVES else way


def _merged(ways: list[Way]) -> Way:
    """Several next hops: each flow takes one of them."""
    if len(ways) == 1 or len({way.outcome for way in ways}) == 1:
        return ways[0]
    return Way(Outcome.UNKNOWN, "multipath", ways[0].path)


def _any_copy(ways: list[Way]) -> Way:
    """Several copies of one frame: one that arrives is enough."""
    rank = (Outcome.ARRIVES, Outcome.UNKNOWN, Outcome.LOST)
    return min(ways, key=lambda way: rank.index(way.outcome))
