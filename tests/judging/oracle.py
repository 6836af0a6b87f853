"""A second, naive opinion on where packets go: one packet at a time, straight over the rows of the tables.

It shares no code with probes.predict. What it does is written after the kernel's documentation and was compared with
a kernel (tests/twin/judging). It answers True (arrives), False (lost) or None (the tables do not tell).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from clusters.state import ClusterState, Neigh, NodeState, Route

_TTL = 12
_GOOD = ("permanent", "reachable", "stale", "delay", "probe", "noarp")


class Oracle:
    """Forwarding in one recorded cluster."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        places = (*state.inventory.pods, *state.inventory.replicas)
        self.home = {ip: place.node for place in places for ip in place.ips}

    def arrives(self, src: str, dst: str) -> bool | None:
        """Whether a packet from one pod address to another arrives."""
        start = self.home[src]
        if start == self.home[dst]:
            return True
        node = self.state.nodes.get(start)
        if node is not None and not up(node, "cni0"):
            return False
        return self._at(start, "cni0", src, dst, _TTL)

    def _at(self, name: str, came_by: str, src: str, dst: str, ttl: int) -> bool | None:
        node = self.state.nodes.get(name)
        if node is None:
            return None
        six = ":" in dst
        if ttl == 0 or owns(node, dst) or not accepts_source(node, came_by, src):
            return False
        if not six and not node.settings["ip_forward"]:
            return False
        route = best(node.routes, dst)
        if route is None or route.kind != "unicast":
            return False
        hops = route.nexthops or (((route.via or ""), route.device),)
        answers = {self._out(node, via, device, src, dst, ttl) for via, device in hops}
        return answers.pop() if len(answers) == 1 else None

    def _out(
        self, node: NodeState, via: str, device: str, src: str, dst: str, ttl: int
    ) -> bool | None:
        if not up(node, device):
            return False
        if device == "cni0":
            return self.home.get(dst) == node.node and pod_mac_right(node, dst)
        if device.startswith("flannel"):
            return self._tunnel(node, device, via or dst, src, dst, ttl)
        if device == "eth0":
            other = self._wire(node, device, via or dst)
            return other is not None and self._at(other, "eth0", src, dst, ttl - 1)
        return False

    def _tunnel(
        self, node: NodeState, device: str, next_hop: str, src: str, dst: str, ttl: int
    ) -> bool | None:
        row = neighbour(node, device, next_hop)
        if row is None or row.mac is None or row.state not in _GOOD:
            if (
                self.state.inventory.dialect == "l3miss"
            ):  # the agent answers, if its memory is right
                right = self.state.nodes.get(self.home[dst])
                link = right.links.get(device) if right else None
                answers = link and self._frame(node, device, link.mac, src, dst, ttl)
                return False if answers is False else None
            return None if has_default(node, device) else False
        return self._frame(node, device, row.mac, src, dst, ttl)

    def _frame(
        self, node: NodeState, device: str, mac: str, src: str, dst: str, ttl: int
    ) -> bool | None:
        copies = [f.dst for f in node.fdb if (f.device, f.mac) == (device, mac)]
        copies = copies or [f.dst for f in node.fdb if set(f.mac) == {"0", ":"}]
        answers = {self._copy(node, device, mac, to, src, dst, ttl) for to in copies}
        if True in answers:
            return True
        return None if None in answers else False

    def _copy(
        self, node: NodeState, device: str, mac: str, to: str, src: str, dst: str, ttl: int
    ) -> bool | None:
        sender = node.links[device]
        local = sender.vxlan_local or ""
        if not owns(node, local):
            return False
        other, sure = self._outer(node, local, to)
        if other is None:
            return False if sure else None
        receiver = self.state.nodes.get(other)
        if receiver is None:
            return None
        for link in receiver.links.values():
            wanted = (sender.vni, sender.vxlan_port, True)
            family = (":" in (link.vxlan_local or "")) == (":" in to)
            if (link.vni, link.vxlan_port, link.up) == wanted and link.vni and family:
                if link.mac != mac or link.mac == sender.mac:
                    return False
                answer = self._at(other, link.name, src, dst, ttl - 1)
                return answer if sure or answer is False else None
        return False

    def _outer(self, node: NodeState, local: str, to: str) -> tuple[str | None, bool]:
        """The node at which an outer packet ends, and whether that is certain."""
        at, sure = node, True
        for _ in range(_TTL):
            if owns(at, to):
                return at.node, sure
            if at is not node and not at.settings["ip_forward"]:
                return None, True
            route = best(at.routes, to)
            if route is None or route.kind != "unicast" or route.device != "eth0":
                return None, True
            if not up(at, "eth0"):
                return None, True
            next_hop = route.via or to
            other = self._wire(at, "eth0", next_hop)
            if other is None:
                gone = route.via is None or self._holder(route.via) is not None
                known = neighbour(at, "eth0", next_hop)
                return None, gone or bool(known and self._station(known.mac))
            row = neighbour(at, "eth0", next_hop)
            if row is not None and (row.mac is None or row.state not in _GOOD):
                sure = False
            if other not in self.state.nodes:
                return other, sure
            at = self.state.nodes[other]
            if not up(at, "eth0") or not accepts_source(at, "eth0", local):
                return None, True
        return None, True

    def _wire(self, node: NodeState, device: str, ip: str) -> str | None:
        """The machine that gets a frame for a next hop."""
        row = neighbour(node, device, ip)
        if row is not None and row.mac is not None and row.state in _GOOD:
            return self._station(row.mac)
        return self._holder(ip)

    def _station(self, mac: str | None) -> str | None:
        found = (n.node for n in self.state.nodes.values() if n.links["eth0"].mac == mac)
        return next(found, None)

    def _holder(self, ip: str) -> str | None:
        return next((n.node for n in self.state.nodes.values() if owns(n, ip)), None)


def best(routes: Iterable[Route], ip: str) -> Route | None:
    """Longest prefix, then lowest metric, then the first."""
    address = ipaddress.ip_address(ip)
    found: Route | None = None
    for route in routes:
        network = ipaddress.ip_network(route.dst)
        if network.version != address.version or address not in network:
            continue
        if found is None or _rank(route) > _rank(found):
            found = route
    return found


def _rank(route: Route) -> tuple[int, int]:
    return ipaddress.ip_network(route.dst).prefixlen, -route.metric


def owns(node: NodeState, ip: str) -> bool:
    """Whether an address is local to a node."""
    return any(str(ipaddress.ip_interface(a.cidr).ip) == ip for a in node.addresses)


def up(node: NodeState, device: str) -> bool:
    """Whether a device is there and up."""
    return device in node.links and node.links[device].up


def neighbour(node: NodeState, device: str, ip: str) -> Neigh | None:
    """A neighbour entry."""
    found = (row for row in node.neighbours if (row.device, row.ip) == (device, ip))
    return next(found, None)


def has_default(node: NodeState, device: str) -> bool:
    """Whether unknown MACs are sent somewhere."""
    return any(f.device == device and set(f.mac) == {"0", ":"} for f in node.fdb)


def accepts_source(node: NodeState, device: str, src: str) -> bool:
    """The reverse path filter, and the refusal of one's own addresses (IPv4)."""
    if ":" in src:
        return True
    if owns(node, src):
        return False
    mode = max(node.settings.get("rp_filter/all", 0), node.settings.get(f"rp_filter/{device}", 0))
    if mode == 0:
        return True
    back = best(node.routes, src)
    if back is None or back.kind != "unicast":
        return False
    devices = [device for _, device in back.nexthops] or [back.device]
    return mode == 2 or device in devices


def pod_mac_right(node: NodeState, ip: str) -> bool:
    """Whether a lasting entry of an own pod has the MAC that the CNI gives it."""
    row = neighbour(node, "cni0", ip)
    if row is None or row.state != "permanent" or ":" in ip:
        return True
    return row.mac == "0a:58:" + ":".join(f"{int(part):02x}" for part in ip.split("."))
