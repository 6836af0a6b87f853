"""Changes that hands or faults make to tables, each with the entries it touches: (node, table, key)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from hypothesis import strategies as st

from clusters.state import Address, ClusterState, NodeState, Route
from probes import testing as made
from probes.testing import Shape

DEAD = "02:de:ad:00:00:01"
NOBODY = "172.18.9.9"
WHOLE = "10.244.0.0/16"

Touched = tuple[str, str, str]


class Change(NamedTuple):
    """One change of one node's tables."""

    name: str
    node: str
    apply: Callable[[NodeState], NodeState]
    touched: frozenset[Touched]


def applied(state: ClusterState, *changes: Change) -> ClusterState:
    """The cluster after these changes."""
    for change in changes:
        state = made.changed(state, change.node, change.apply)
    return state


@st.composite
def shapes(
    draw: st.DrawFn, *, dialect: str = "static", least: int = 4, most: int = 10, dual: bool = False
) -> Shape:
    """Clusters of the sizes that the product promises to be exact for."""
    nodes = draw(st.integers(least, most))
    replicas = draw(st.integers(2, 5))
    return Shape(
        nodes=nodes,
        pods=draw(st.integers(1, 3)),
        replicas=replicas,
        dialect=dialect,
        dual=dual,
        rp_filter=draw(st.sampled_from((1, 1, 1, 0, 2))),
        replica_nodes=draw(
            st.lists(st.integers(0, nodes - 1), min_size=replicas, max_size=replicas)
        ),
    )


def _change(
    name: str, node: int, apply: Callable[[NodeState], NodeState], table: str, key: str
) -> Change:
    return Change(name, f"n{node}", apply, frozenset({(f"n{node}", table, key)}))


def _chained(*steps: Callable[[NodeState], NodeState]) -> Callable[[NodeState], NodeState]:
    def apply(node: NodeState) -> NodeState:
        for step in steps:
            node = step(node)
        return node

    return apply


def _prepended(route: Route) -> Callable[[NodeState], NodeState]:
    """As `ip route prepend`, which refuses what is there already."""
    return lambda node: (
        node if route in node.routes else replace(node, routes=(route, *node.routes))
    )


def peer_entries(x: int, a: int, c: int) -> Iterator[Change]:
    """Wrong, missing, duplicated or hijacked entries of node x about node a; c is a third node."""
    yield from _neighbours(x, a, c)
    yield from _fdb(x, a, c)
    yield from _routes(x, a, c)
    pod = made.pod_ip(a, 0)
    for length in (25, 32):
        dst = f"{made.gateway(a)}/25" if length == 25 else f"{pod}/32"
        yield from _hijacks(x, a, c, dst)


def _neighbours(x: int, a: int, c: int) -> Iterator[Change]:
    key = made.gateway(a)
    stale = _chained(made.set_neigh(key, DEAD), made.set_fdb(DEAD, made.underlay(a)))
    yield _change("neigh stale, residue in the FDB", x, stale, "neigh", key)
    yield _change("neigh wrong", x, made.set_neigh(key, DEAD), "neigh", key)
    yield _change("neigh missing", x, made.del_neigh(key), "neigh", key)
    yield _change("neigh failed", x, made.set_neigh(key, made.mac(a), nud="failed"), "neigh", key)
    yield _change("neigh of another node", x, made.set_neigh(key, made.mac(c)), "neigh", key)
    yield _change("neigh is the observer", x, made.set_neigh(key, made.mac(x)), "neigh", key)


def _fdb(x: int, a: int, c: int) -> Iterator[Change]:
    key = made.mac(a)
    yield _change("fdb missing", x, made.del_fdb(key), "fdb", key)
    yield _change("fdb to a third node", x, made.set_fdb(key, made.underlay(c)), "fdb", key)
    yield _change("fdb to nobody", x, made.set_fdb(key, NOBODY), "fdb", key)
    yield _change("fdb to itself", x, made.set_fdb(key, made.underlay(x)), "fdb", key)


def _routes(x: int, a: int, c: int) -> Iterator[Change]:
    dst = made.cidr(a)
    yield _change("route missing", x, made.del_route(dst), "route", dst)
    yield from _hijacks(x, a, c, dst)
    lo = Route(dst, "lo", protocol=3)
    yield _change("route prepended", x, _prepended(lo), "route", dst)
    hops = ((made.gateway(a), "flannel.1"), (made.gateway(c), "flannel.1"))
    yield _change("route multipath", x, made.set_route(Route(dst, nexthops=hops)), "route", dst)


def _hijacks(x: int, a: int, c: int, dst: str) -> Iterator[Change]:
    rows = (
        Route(dst, kind="blackhole"),
        Route(dst, kind="unreachable"),
        Route(dst, "lo"),
        Route(dst, "cni0"),
        Route(dst, "flannel.1"),
        Route(dst, "flannel.1", made.gateway(c), onlink=True),
        Route(dst, "eth0", made.underlay(a)),
        Route(dst, "eth0", "172.18.0.1"),
    )
    for row in rows:
        name = f"route {row.kind} {row.device} {row.via}"
        yield _change(name, x, made.set_route(row), "route", dst)


def pod_neighbours(x: int, a: int, c: int) -> Iterator[Change]:
    """Wrong entries of node x about the first pod of node a, where neighbours are kept per pod; and its one route."""
    key = made.pod_ip(a, 0)
    stale = _chained(made.set_neigh(key, DEAD, nud="stale"), made.set_fdb(DEAD, made.underlay(a)))
    yield _change("pod neigh stale", x, stale, "neigh", key)
    pinned = _chained(made.set_neigh(key, DEAD), made.set_fdb(DEAD, made.underlay(a)))
    yield _change("pod neigh pinned", x, pinned, "neigh", key)
    yield _change("pod neigh of another", x, made.set_neigh(key, made.mac(c)), "neigh", key)
    yield _change("one route missing", x, made.del_route(WHOLE), "route", WHOLE)
    hole = made.set_route(Route(WHOLE, kind="blackhole"))
    yield _change("one route a black hole", x, hole, "route", WHOLE)
    yield from _fdb(x, a, c)
    for dst in (made.cidr(a), f"{key}/32"):
        for row in (Route(dst, kind="blackhole"), Route(dst, "lo"), Route(dst, "eth0")):
            name = f"hijack {row.kind} {row.device}"
            yield _change(name, x, made.set_route(row), "route", dst)


def underlay_entries(x: int, a: int, c: int) -> Iterator[Change]:
    """Wrong underlay entries of node x about node a."""
    ip = made.underlay(a)
    wrong = made.set_neigh(ip, DEAD, dev="eth0")
    other = made.set_neigh(ip, made.underlay_mac(c), dev="eth0")
    yield _change("underlay neigh wrong", x, wrong, "neigh", ip)
    yield _change("underlay neigh of another node", x, other, "neigh", ip)
    yield _change("underlay neigh missing", x, made.del_neigh(ip, "eth0"), "neigh", ip)
    for row in (
        Route(f"{ip}/32", kind="blackhole"),
        Route(f"{ip}/32", "lo"),
        Route(f"{ip}/32", "flannel.1"),
        Route(f"{ip}/32", "eth0", made.underlay(c)),
        Route(f"{ip}/32", "eth0"),
    ):
        name = f"underlay route {row.kind} {row.device} {row.via}"
        yield _change(name, x, made.set_route(row), "route", f"{ip}/32")


def node_entries(x: int, a: int) -> Iterator[Change]:
    """Things wrong with node x itself."""
    yield _change(
        "ip_forward 0", x, made.set_setting("ip_forward", 0), "setting", "net.ipv4.ip_forward"
    )
    yield _change("vtep with another VNI", x, _vtep(vni=2), "link", "flannel.1")
    yield _change("vtep with another port", x, _vtep(vxlan_port=4789), "link", "flannel.1")
    yield _change("vtep with another MAC", x, _vtep(mac="02:0b:0b:0b:0b:0b"), "link", "flannel.1")
    yield _change("vtep with a peer's MAC", x, _vtep(mac=made.mac(a)), "link", "flannel.1")
    pod = made.pod_ip(a, 0)
    yield _change("address of a pod", x, _address("lo", f"{pod}/32"), "address", f"{pod}/32")
    own = made.pod_ip(x, 0)
    yield _change("pod's MAC wrong", x, made.set_neigh(own, DEAD, dev="cni0"), "neigh", own)
    yield _change(
        "own pod hijacked", x, made.set_route(Route(f"{own}/32", "lo")), "route", f"{own}/32"
    )


def _vtep(**properties: object) -> Callable[[NodeState], NodeState]:
    def apply(node: NodeState) -> NodeState:
        link = node.links.get("flannel.1")
        if link is None:
            return node
        return made.set_link(link._replace(**properties))(node)  # type: ignore[arg-type]

    return apply


def _address(device: str, cidr: str) -> Callable[[NodeState], NodeState]:
    return lambda node: replace(node, addresses=(*node.addresses, Address(device, cidr)))


def collapses(shape: Shape, x: int) -> Iterator[Change]:
    """Changes after which a node lacks entries of every peer."""
    node = f"n{x}"
    link = (node, "link", "flannel.1")
    peers = [i for i in range(shape.nodes) if i != x]
    neigh = frozenset((node, "neigh", made.gateway(i)) for i in peers)
    routes = frozenset((node, "route", made.cidr(i)) for i in peers)
    fdb = frozenset((node, "fdb", made.mac(i)) for i in peers)
    yield Change("device deleted", node, made.del_link("flannel.1"), neigh | routes | fdb | {link})
    yield Change("device flapped", node, made.flap_link("flannel.1"), neigh | routes)
    down = _chained(made.flap_link("flannel.1"), _vtep(up=False))
    yield Change("device down", node, down, neigh | routes | {link})

    def emptied(state: NodeState) -> NodeState:
        return replace(made.flap_link("flannel.1")(state), fdb=())

    yield Change("device came back empty", node, emptied, neigh | routes | fdb)


def harmless(x: int, a: int, c: int) -> Iterator[Change]:
    """Changes that lose nothing."""
    key, dst = made.gateway(a), made.cidr(a)
    text = Route(dst, "flannel.1", key, onlink=True, protocol=42)
    yield _change("residue", x, made.set_fdb(DEAD, made.underlay(a)), "fdb", DEAD)
    right = made.set_neigh(key, made.mac(a), nud="reachable")
    yield _change("neigh reachable", x, right, "neigh", key)
    yield _change("route of another protocol", x, made.set_route(text), "route", dst)
    yield _change("neigh via another node", x, made.set_neigh(key, made.mac(c)), "neigh", key)
    around = Route(dst, "flannel.1", made.gateway(c), onlink=True, protocol=3)
    yield _change("route via another node", x, made.set_route(around), "route", dst)
    gone = _chained(made.set_neigh("10.244.200.0", DEAD), made.set_fdb(DEAD, "172.18.200.1"))
    yield _change("entries of a node that is gone", x, gone, "neigh", "10.244.200.0")
    behind = Route(dst, "lo", metric=99)
    yield _change("route behind", x, made.set_route(behind), "route", dst)


@st.composite
def changes(
    draw: st.DrawFn, shape: Shape, *, kinds: tuple[str, ...] = ("peer", "underlay", "node")
) -> Change:
    """One change somewhere."""
    x, a, c = draw(st.lists(st.integers(0, shape.nodes - 1), min_size=3, max_size=3, unique=True))
    pool: list[Change] = []
    if "peer" in kinds:
        per_pod = shape.dialect == "l3miss"
        pool += pod_neighbours(x, a, c) if per_pod else peer_entries(x, a, c)
    if "underlay" in kinds:
        pool += underlay_entries(x, a, c)
    if "node" in kinds:
        pool += node_entries(x, a)
    if "collapse" in kinds:
        pool += collapses(shape, x)
    if "harmless" in kinds:
        pool += harmless(x, a, c)
    return draw(st.sampled_from(pool))
