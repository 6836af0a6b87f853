"""Tables as slots with one value each: how chaos compares what is, what was and what it wrote. Pure.

Values are the words that `ip` and `bridge` print and take: "aa:… permanent", "172.18.0.3 permanent",
"via 10.244.1.0 dev flannel.1 onlink proto 3", "mtu 1450 up".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from chaos.model import Facts, Slot, TablesGoal, VtepGoal, Want
from clusters.flannel.generations import GENERATIONS
from clusters.flannel.plan import Event, operations
from clusters.state import ClusterState, Fdb, Lease, Link, Neigh, NodeState, Route
from clusters.topology import Inventory

UNRESOLVED: Final = "unresolved"  # the kernel asks for the neighbour and has no answer
_LASTING: Final = frozenset({"permanent", "noarp"})
_PROTO: Final = " proto "

Standing = Literal["met", "unmet", "foreign"]


class Finding(NamedTuple):
    """One thing that was read back, as a line, and how it stands to the goal."""

    standing: Standing
    line: str


class Seen(NamedTuple):
    """What reading back a goal showed."""

    findings: tuple[Finding, ...]

    @property
    def standing(self) -> Standing:
        """The whole goal's: unmet before foreign before met."""
        present = {finding.standing for finding in self.findings}
        if "unmet" in present:
            return "unmet"
        return "foreign" if "foreign" in present else "met"

    def lines(self, *standings: Standing) -> tuple[str, ...]:
        """The lines that stand so; all of them where no standing is named."""
        return tuple(f.line for f in self.findings if not standings or f.standing in standings)


class Write(NamedTuple):
    """One slot to be changed from what it holds to `value` (None: emptied)."""

    slot: Slot
    now: str | None
    value: str | None


def everything(node: NodeState) -> dict[Slot, str]:
    """All slots of a node that hold something."""
    found = {_neigh_slot(row): _neigh_text(row) for row in node.neighbours}
    found |= {_fdb_slot(row): _fdb_text(row) for row in node.fdb}
    found |= {_route_slot(row): route_text(row) for row in node.routes}
    found |= {Slot("addr", row.device, row.cidr): "present" for row in node.addresses}
    return found | {Slot("link", name, ""): _link_text(row) for name, row in node.links.items()}


def entries(node: NodeState) -> dict[Slot, str]:
    """As `everything`, without neighbours that the kernel asks for in vain: to a plan these are absent."""
    return {slot: text for slot, text in everything(node).items() if text != UNRESOLVED}


def slots(node: NodeState, device: str, *, cached: bool = True) -> dict[Slot, str]:
    """The entries of one device, routes that use it included. `cached` False leaves out what the kernel ages."""
    routes = {_route_slot(row) for row in node.routes if _uses(row, device)}
    return {
        slot: text
        for slot, text in entries(node).items()
        if (slot.device == device or slot in routes) and (cached or not _aged(slot, text))
    }


def neigh(device: str, ip: str) -> Slot:
    """The slot of a neighbour entry."""
    return Slot("neigh", device, ip)


def fdb(device: str, mac: str) -> Slot:
    """The slot of a unicast MAC's forwarding entry."""
    return Slot("fdb", device, mac)


def route(cidr: str, metric: int = 0) -> Slot:
    """The slot of a route of the main table."""
    return Slot("route", "", f"{cidr} metric {metric}" if metric else cidr)


def programmed(dialect: str, lease: Lease, device: str) -> dict[Slot, str]:
    """What an agent of that generation keeps about a peer, from its lease. Routes are without protocol."""
    found = {}
    for op in operations(GENERATIONS[dialect], Event("added", lease)):
        if op.table == "route":
            found[route(op.key)] = f"via {op.value} dev {device} onlink"
        else:
            found[Slot(op.table, device, op.key)] = f"{op.value} permanent"
    return found


def look(node: NodeState, goal: TablesGoal) -> Seen:
    """How the node's tables stand to the goal."""
    held = everything(node)
    wanted = (
        Finding(_standing(now, want, goal.purge), f"{node.node}: {in_words(want.slot, now)}")
        for want in goal.wants
        for now in (held.get(want.slot),)
    )
    impure = (
        Finding("unmet", f"{node.node}: {in_words(slot, now)}") for slot, now in _impure(node, goal)
    )
    return Seen((*wanted, *impure))


def writes(node: NodeState, goal: TablesGoal) -> tuple[Write, ...]:
    """What has to be written to bring the node to the goal; foreign values are left."""
    held = everything(node)
    return (
        *(
            Write(want.slot, now, want.value)
            for want in goal.wants
            if _standing(now := held.get(want.slot), want, goal.purge) == "unmet"
            or (want.value is None and now == UNRESOLVED)
        ),
        *(Write(slot, now, None) for slot, now in _impure(node, goal)),
    )


def look_vtep(mac: str | None, goal: VtepGoal) -> Seen:
    """How a node's live VTEP MAC stands to the goal."""
    line = f"{goal.node}: {goal.device} {'is absent' if mac is None else f'has {mac}'}"
    if mac == goal.mac:
        return seen("met", line)
    ours = goal.ours is None or mac in goal.ours
    return seen("unmet" if ours else "foreign", line)


def seen(standing: Standing, line: str) -> Seen:
    """A read-back of one line."""
    return Seen((Finding(standing, line),))


def in_words(slot: Slot, now: str | None) -> str:
    """One entry as a line."""
    where = f" dev {slot.device}" if slot.device else ""
    key = f" {slot.key}" if slot.key else ""
    return f"{slot.table}{key}{where}: {'absent' if now is None else now}"


def facts(inventory: Inventory, boot_ids: Mapping[str, str]) -> dict[str, Facts]:
    """What every node is now."""
    return {
        node.name: Facts(
            mac=node.vtep.mac,
            underlay=node.underlay[0],
            pod_cidr=node.pod_cidrs[0],
            boot_id=boot_ids.get(node.name, ""),
        )
        for node in inventory.nodes
    }


def dump(state: ClusterState) -> dict[str, frozenset[str]]:
    """Every node's lasting state as lines: devices, addresses, entries, routes, settings.

    Not in it: counters, interface indexes, and neighbours that the kernel ages by itself.
    """
    return {name: frozenset(_dump_lines(node)) for name, node in state.nodes.items()}


def _dump_lines(node: NodeState) -> Iterator[str]:
    yield from (f"link {_device_text(link)}" for link in node.links.values())
    for slot, text in everything(node).items():
        if slot.table not in {"link", "route"} and not _aged(slot, text):
            yield in_words(slot, text)
    yield from (in_words(_route_slot(row), route_text(row)) for row in node.routes)
    yield from (f"setting {name}={number}" for name, number in node.settings.items())


def _device_text(link: Link) -> str:
    """All of a device but its index and its counters."""
    words = [link.name, link.kind, link.mac, _link_text(link), f"master {link.master or 'none'}"]
    if link.vni is not None:
        learning = "learning" if link.vxlan_learning else "nolearning"
        words.append(f"vni {link.vni} port {link.vxlan_port} local {link.vxlan_local} {learning}")
    return " ".join(words)


def _standing(now: str | None, want: Want, purge: tuple[str, ...]) -> Standing:
    found = None if now == UNRESOLVED else now
    if found == want.value:
        return "met"
    if want.ours is None or found in want.ours or _mentions(want.slot, found, purge):
        return "unmet"
    alike = (ours for ours in want.ours if ours and want.slot.table == "route")
    if found is not None and any(found.startswith(text + _PROTO) for text in alike):
        return "unmet"
    return "foreign"


def _impure(node: NodeState, goal: TablesGoal) -> Iterator[tuple[Slot, str]]:
    """Entries outside the goal's slots that hold a MAC which should be gone."""
    if not goal.purge:
        return
    named = {want.slot for want in goal.wants}
    for slot, text in slots(node, goal.device).items():
        if slot not in named and _mentions(slot, text, goal.purge):
            yield slot, text


def _mentions(slot: Slot, text: str | None, macs: tuple[str, ...]) -> bool:
    if slot.table == "fdb":
        return slot.key in macs and text is not None
    return slot.table == "neigh" and text is not None and text.split()[0] in macs


def _aged(slot: Slot, text: str) -> bool:
    return slot.table == "neigh" and text.rsplit(maxsplit=1)[-1] not in _LASTING


def _neigh_slot(row: Neigh) -> Slot:
    return Slot("neigh", row.device, row.ip)


def _neigh_text(row: Neigh) -> str:
    if row.mac is None or row.state in {"failed", "incomplete"}:
        return UNRESOLVED
    return f"{row.mac} {row.state if row.state in _LASTING else 'reachable'}"


def _fdb_slot(row: Fdb) -> Slot:
    several = row.mac.startswith("00:00:00:00:00:00") or int(row.mac[:2], 16) & 1
    return Slot("fdb", row.device, f"{row.mac}@{row.dst}" if several else row.mac)


def _fdb_text(row: Fdb) -> str:
    return f"{row.dst} {'permanent' if row.permanent else 'static'}"


def _route_slot(row: Route) -> Slot:
    return route(row.dst, row.metric)


def route_text(row: Route) -> str:
    """A route's words without its prefix and metric."""
    words = [] if row.kind == "unicast" else [row.kind]
    words += [f"via {row.via}"] if row.via else []
    words += [f"dev {row.device}"] if row.device and not row.nexthops else []
    words += ["onlink"] if row.onlink else []
    words += [f"nexthop via {via} dev {device}" for via, device in row.nexthops]
    return " ".join(words) + f"{_PROTO}{row.protocol}"


def _link_text(row: Link) -> str:
    return f"mtu {row.mtu_bytes} {'up' if row.up else 'down'}"


def _uses(row: Route, device: str) -> bool:
    return row.device == device or any(hop == device for _, hop in row.nexthops)
