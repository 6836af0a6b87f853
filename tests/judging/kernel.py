"""A small model of `ip`, `bridge` and `sysctl`: what the printed commands do to a node's tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import replace

from clusters.state import Address, ClusterState, Fdb, Link, Neigh, NodeState, Route
from probes.model import Repair

_KINDS = ("blackhole", "unreachable", "prohibit")


class RefusedError(Exception):
    """The real tool would have exited non-zero."""


def run(state: ClusterState, commands: Iterable[Repair]) -> ClusterState:
    """The cluster after these commands. Raises RefusedError where one would fail."""
    for command in commands:
        node = executed(state.nodes[command.node], command.argv)
        state = replace(state, nodes={**state.nodes, command.node: node})
    return state


def executed(node: NodeState, argv: Sequence[str]) -> NodeState:
    """One command on one node."""
    match argv:
        case ("ip", "neigh", verb, ip, *words):
            return _neigh(node, verb, ip, _named(words))
        case ("bridge", "fdb", verb, mac, *words):
            return _fdb(node, verb, mac, words)
        case ("ip", "route", verb, *words):
            return _route(node, verb, words)
        case ("ip", "address", verb, cidr, "dev", device):
            return _address(node, verb, cidr, device)
        case ("ip", "link", verb, *words):
            return _link(node, verb, words)
        case ("sysctl", "-w", word):
            name, _, value = word.partition("=")
            assert name == "net.ipv4.ip_forward"
            return replace(node, settings={**node.settings, "ip_forward": int(value)})
    raise AssertionError(f"unknown command {argv}")


def _named(words: Sequence[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _neigh(node: NodeState, verb: str, ip: str, given: dict[str, str]) -> NodeState:
    device = given["dev"]
    _must(device in node.links, f"no device {device}")
    kept = tuple(row for row in node.neighbours if (row.device, row.ip) != (device, ip))
    if verb == "del":
        _must(len(kept) < len(node.neighbours), f"no neighbour {ip}")
        return replace(node, neighbours=kept)
    assert verb == "replace"
    row = Neigh(device, ip, given["lladdr"], given["nud"])
    return replace(node, neighbours=(*kept, row))


def _fdb(node: NodeState, verb: str, mac: str, words: Sequence[str]) -> NodeState:
    at = words.index("self")
    given = _named(words[:at])
    device, dst = given["dev"], given["dst"]
    _must(device in node.links, f"no device {device}")
    rows = [row for row in node.fdb if (row.device, row.mac) == (device, mac)]
    others = tuple(row for row in node.fdb if row not in rows)
    if verb == "del":
        _must(bool(rows), f"no FDB entry {mac}")
        return replace(node, fdb=(*others, *(row for row in rows if row.dst != dst)))
    assert words[at + 1 :] == ["permanent"] or tuple(words[at + 1 :]) == ("permanent",)
    if verb == "append":  # of a unicast MAC that has an entry: exit 0, no effect (catalogue D.7)
        return replace(node, fdb=(*node.fdb, Fdb(device, mac, dst))) if not rows else node
    assert verb == "replace"
    return replace(node, fdb=(*others, Fdb(device, mac, dst), *rows[1:]))


def _route(node: NodeState, verb: str, words: Sequence[str]) -> NodeState:
    route = _parsed(words)
    for device in (route.device, *(hop for _, hop in route.nexthops)):
        _must(not device or device in node.links, f"no device {device}")
    rows = list(node.routes)
    if verb == "del":
        same = [r for r in rows if _alike(r, route)]
        _must(bool(same), f"no route {words}")
        rows.remove(same[0])
        return replace(node, routes=tuple(rows))
    assert verb == "replace"
    keyed = [r for r in rows if (r.dst, r.metric) == (route.dst, route.metric)]
    if keyed:
        rows[rows.index(keyed[0])] = route
    else:
        rows.insert(0, route)
    return replace(node, routes=tuple(rows))


def _parsed(words: Sequence[str]) -> Route:
    rest = list(words)
    kind = rest.pop(0) if rest[0] in _KINDS else "unicast"
    dst = rest.pop(0)
    if "nexthop" in rest:
        hops = []
        for part in " ".join(rest).split("nexthop ")[1:]:
            hop = part.split()
            hops.append((hop[hop.index("via") + 1], hop[hop.index("dev") + 1]))
        return Route(dst, nexthops=tuple(hops), protocol=3)
    onlink = "onlink" in rest
    given = _named([word for word in rest if word != "onlink"])
    return Route(
        dst,
        given.get("dev", ""),
        given.get("via"),
        onlink=onlink,
        kind=kind,
        protocol=3,
        metric=int(given.get("metric", "0")),
    )


def _alike(row: Route, wanted: Route) -> bool:
    """`ip route del` deletes the first that matches what was said."""
    return (
        (row.dst, row.kind, row.metric, row.nexthops)
        == (wanted.dst, wanted.kind, wanted.metric, wanted.nexthops)
        and (not wanted.device or row.device == wanted.device)
        and (wanted.via is None or row.via == wanted.via)
    )


def _address(node: NodeState, verb: str, cidr: str, device: str) -> NodeState:
    _must(device in node.links, f"no device {device}")
    row = Address(device, cidr)
    if verb == "del":
        _must(row in node.addresses, f"no address {cidr}")
        kept = tuple(one for one in node.addresses if one != row)
        return replace(node, addresses=kept)
    assert verb == "replace"
    interface = ipaddress.ip_interface(cidr)
    known = tuple(one for one in node.addresses if one != row)
    node = replace(node, addresses=(*known, row))
    if interface.network.prefixlen == interface.max_prefixlen:
        return node
    connected = Route(str(interface.network), device, protocol=2)
    return replace(node, routes=(connected, *(r for r in node.routes if r != connected)))


def _link(node: NodeState, verb: str, words: Sequence[str]) -> NodeState:
    if verb == "add":
        return _made(node, words)
    if verb == "del":
        _must(words[1] in node.links, f"no device {words[1]}")
        return _flushed(
            replace(
                node,
                links={n: link for n, link in node.links.items() if n != words[1]},
                addresses=tuple(a for a in node.addresses if a.device != words[1]),
                fdb=tuple(f for f in node.fdb if f.device != words[1]),
            ),
            words[1],
        )
    assert verb == "set"
    assert words[0] == "dev"
    device, what = words[1], list(words[2:])
    _must(device in node.links, f"no device {device}")
    link = node.links[device]
    if (
        what[0] == "address"
    ):  # wipes the device's own neighbours, permanent ones too (catalogue D.3)
        node = replace(node, neighbours=tuple(n for n in node.neighbours if n.device != device))
        return _linked(node, link._replace(mac=what[1]))
    if what == ["down"]:
        node = _flushed(node, device)
    return _linked(node, link._replace(up=what == ["up"]))


def _made(node: NodeState, words: Sequence[str]) -> NodeState:
    name = words[0]
    _must(name not in node.links, f"{name} exists")
    assert words[-1] == "nolearning"
    given = _named(words[1:-1])
    assert given["type"] == "vxlan"
    _must(given["dev"] in node.links, "no lower device")
    link = Link(
        name,
        99,
        given["address"],
        int(given["mtu"]),
        up=False,
        kind="vxlan",
        vni=int(given["id"]),
        vxlan_port=int(given["dstport"]),
        vxlan_local=given["local"],
        vxlan_learning=False,
    )
    return _linked(node, link)


def _flushed(node: NodeState, device: str) -> NodeState:
    """Down, or gone: routes and neighbours go (catalogue D.4)."""
    return replace(
        node,
        neighbours=tuple(row for row in node.neighbours if row.device != device),
        routes=tuple(row for row in node.routes if row.device != device),
    )


def _linked(node: NodeState, link: Link) -> NodeState:
    return replace(node, links={**node.links, link.name: link})


def _must(holds: bool, why: str) -> None:  # noqa: FBT001  # the condition of the tool
    if not holds:
        raise RefusedError(why)
