"""The printed commands, word by word, and that each has its reverse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.state import ClusterState, Fdb, NodeState
from probes import testing as made
from probes.judge import judge
from probes.judge.repair import break_argv, repair_argv
from probes.model import Entry
from probes.testing import Shape, changed, healthy_state
from tests.judging.kernel import run
from tests.judging.world import Weather, World

OLD = "02:de:ad:00:00:01"
GATEWAY, CIDR, MAC, UNDERLAY = made.gateway(0), made.cidr(0), made.mac(0), made.underlay(0)
ROUTE = f"via {GATEWAY} dev flannel.1 onlink"
STATE = healthy_state(Shape(nodes=4))


def words(entry: Entry, state: ClusterState = STATE) -> tuple[list[str], list[str]]:
    """The commands that repair and that break, as lines."""
    forth, back = repair_argv(entry, state), break_argv(entry, state)
    assert {one.node for one in (*forth, *back)} <= {entry.observer}
    return [" ".join(one.argv) for one in forth], [" ".join(one.argv) for one in back]


@pytest.mark.parametrize(
    ("table", "key", "have", "want", "repair", "undo"),
    [
        (
            "neigh", GATEWAY, OLD, MAC,
            f"ip neigh replace {GATEWAY} lladdr {MAC} dev flannel.1 nud permanent",
            f"ip neigh replace {GATEWAY} lladdr {OLD} dev flannel.1 nud permanent",
        ),
        (
            "neigh", GATEWAY, None, MAC,
            f"ip neigh replace {GATEWAY} lladdr {MAC} dev flannel.1 nud permanent",
            f"ip neigh del {GATEWAY} dev flannel.1",
        ),
        (
            "neigh", UNDERLAY, OLD, made.underlay_mac(0),
            f"ip neigh replace {UNDERLAY} lladdr {made.underlay_mac(0)} dev eth0 nud permanent",
            f"ip neigh replace {UNDERLAY} lladdr {OLD} dev eth0 nud permanent",
        ),
        (
            "fdb", MAC, None, UNDERLAY,
            f"bridge fdb replace {MAC} dev flannel.1 dst {UNDERLAY} self permanent",
            f"bridge fdb del {MAC} dev flannel.1 dst {UNDERLAY} self",
        ),
        (
            "fdb", MAC, "172.18.0.9", UNDERLAY,
            f"bridge fdb replace {MAC} dev flannel.1 dst {UNDERLAY} self permanent",
            f"bridge fdb replace {MAC} dev flannel.1 dst 172.18.0.9 self permanent",
        ),
        (
            "route", CIDR, None, ROUTE,
            f"ip route replace {CIDR} {ROUTE}",
            f"ip route del {CIDR} {ROUTE}",
        ),
        (
            "route", CIDR, "blackhole", ROUTE,
            f"ip route replace {CIDR} {ROUTE}",
            f"ip route replace blackhole {CIDR}",
        ),
        (
            "route", "10.244.0.2/32", "dev lo", None,
            "ip route del 10.244.0.2/32 dev lo",
            "ip route replace 10.244.0.2/32 dev lo",
        ),
        (
            "setting", "net.ipv4.ip_forward", "0", "1",
            "sysctl -w net.ipv4.ip_forward=1",
            "sysctl -w net.ipv4.ip_forward=0",
        ),
        (
            "address", "10.244.0.2/32", "dev lo", None,
            "ip address del 10.244.0.2/32 dev lo",
            "ip address replace 10.244.0.2/32 dev lo",
        ),
        (
            "link", "cni0", "down", "up",
            "ip link set dev cni0 up",
            "ip link set dev cni0 down",
        ),
    ],
)  # fmt: skip
def test_one_command_each_way(
    table: str, key: str, have: str | None, want: str | None, repair: str, undo: str
) -> None:
    """What is printed runs as it stands, and what breaks again restores exactly what was there."""
    assert words(Entry("n2", "n0", table, key, have, want)) == ([repair], [undo])


def test_an_own_pods_neighbour_is_on_the_bridge() -> None:
    """Told from a peer's entry by who it is about."""
    ip = made.pod_ip(2, 0)
    forth, _ = words(Entry("n2", "n2", "neigh", ip, OLD, "0a:58:0a:f4:02:02"))

    assert forth == [f"ip neigh replace {ip} lladdr 0a:58:0a:f4:02:02 dev cni0 nud permanent"]


def test_an_aging_entry_is_broken_again_as_it_was() -> None:
    """A wrong entry that was stale does not become permanent by proving it."""
    state = changed(STATE, "n2", made.set_neigh(GATEWAY, OLD, nud="stale"))

    _, back = words(Entry("n2", "n0", "neigh", GATEWAY, OLD, MAC), state)

    assert back == [f"ip neigh replace {GATEWAY} lladdr {OLD} dev flannel.1 nud stale"]


def test_a_route_of_another_metric_is_not_left_beside_the_right_one() -> None:
    """`replace` keys by prefix and metric: the old one is deleted first, and put back alone."""
    have = "dev lo metric 50"

    assert words(Entry("n2", "n0", "route", CIDR, have, ROUTE)) == (
        [f"ip route del {CIDR} {have}", f"ip route replace {CIDR} {ROUTE}"],
        [f"ip route del {CIDR} {ROUTE}", f"ip route replace {CIDR} {have}"],
    )


def test_hops_by_the_overlay_are_on_link() -> None:
    """Their gateways lie in no network, so the kernel refuses them otherwise."""
    other = "nexthop via 172.18.0.9 dev eth0"
    have = f"nexthop via {GATEWAY} dev flannel.1 {other}"

    _, back = words(Entry("n2", "n0", "route", CIDR, have, ROUTE))

    assert back == [f"ip route replace {CIDR} nexthop via {GATEWAY} dev flannel.1 onlink {other}"]


def test_several_destinations_go_one_by_one() -> None:
    """`bridge fdb replace` changes the first destination alone."""
    entry = Entry("n2", "n0", "fdb", MAC, "172.18.0.8 172.18.0.9", UNDERLAY)
    state = changed(
        STATE,
        "n2",
        lambda own: replace(
            own,
            fdb=(
                *(row for row in own.fdb if row.mac != MAC),
                Fdb("flannel.1", MAC, "172.18.0.8"),
                Fdb("flannel.1", MAC, "172.18.0.9"),
            ),
        ),
    )

    mended = run(state, repair_argv(entry, state))

    assert [row.dst for row in mended.nodes["n2"].fdb if row.mac == MAC] == [UNDERLAY]


def test_service_rules_have_no_command() -> None:
    """The proxy has to write them."""
    assert words(Entry("n2", "n2", "vip", "udp", None, "10.244.1.3")) == ([], [])


def _with_link(**properties: object) -> ClusterState:
    link = STATE.nodes["n2"].links["flannel.1"]._replace(**properties)  # type: ignore[arg-type]
    return changed(STATE, "n2", made.set_link(link))


@pytest.mark.parametrize(
    "properties",
    [{"vni": 2}, {"vxlan_port": 4789}, {"mac": "02:0b:0b:0b:0b:0b"}],
    ids=["vni", "port", "mac"],
)
def test_a_wrong_device_is_mended_with_all_its_entries_and_broken_again(
    properties: dict[str, object],
) -> None:
    """VNI and port are fixed at birth, a new MAC wipes neighbours: either way the peers' entries come back."""
    state = _with_link(**properties)
    (finding,) = judge(World(state).observe(), state).findings
    (entry,) = finding.entries

    mended = run(state, finding.repair)
    broken = run(mended, break_argv(entry, state))

    assert World(mended).lost_edges() == set()
    assert World(broken).lost_edges() == World(state).lost_edges()


@pytest.mark.parametrize("dialect", ["static", "l3miss"])
def test_a_deleted_device_is_made_anew_as_flannel_makes_it(dialect: str) -> None:
    """MAC, VNI, port, local address and MTU, its address, the peers' entries; and it can be deleted again."""
    whole = healthy_state(Shape(nodes=4, dialect=dialect))
    state = changed(whole, "n2", made.del_link("flannel.1"))
    (finding,) = judge(World(state).observe(), state).findings

    mended = run(state, finding.repair)
    link = next(one for one in finding.entries if one.table == "link")

    assert finding.repair[0].argv == tuple(
        f"ip link add flannel.1 address {made.mac(2)} mtu 1450 type vxlan id 1"
        f" local {made.underlay(2)} dev eth0 dstport 8472 nolearning".split()
    )
    assert World(mended).lost_edges() == set()
    assert "flannel.1" not in run(mended, break_argv(link, state)).nodes["n2"].links


def test_a_device_that_is_down_comes_up_with_its_routes() -> None:
    """Down flushed routes and neighbours; broken again it is down again."""
    state = changed(_with_link(up=False), "n2", made.flap_link("flannel.1"))
    (finding,) = judge(World(state).observe(), state).findings
    (link,) = (one for one in finding.entries if one.table == "link")

    mended = run(state, finding.repair)

    assert World(mended).lost_edges() == set()
    assert not run(mended, break_argv(link, state)).nodes["n2"].links["flannel.1"].up


def test_an_address_of_an_on_miss_node_brings_its_one_route() -> None:
    """Without the address the route of the whole overlay went as well."""
    state = healthy_state(Shape(nodes=4, dialect="l3miss"))
    entry = Entry("n2", "n2", "address", f"{made.gateway(2)}/32", None, "dev flannel.1")

    forth, _ = words(entry, state)

    assert forth == [
        f"ip address replace {made.gateway(2)}/32 dev flannel.1",
        "ip route replace 10.244.0.0/16 dev flannel.1",
    ]


def test_an_ipv6_device_is_made_with_room_for_its_larger_header() -> None:
    """The outer IPv6 header is 20 bytes longer."""
    state = changed(healthy_state(Shape(nodes=4, dual=True)), "n2", made.del_link("flannel-v6.1"))

    (finding,) = judge(None, state).findings

    assert finding.repair[0].argv[3:8] == (
        "flannel-v6.1", "address", made.mac(2, "ipv6"), "mtu", "1430",
    )  # fmt: skip
    assert all("flannel.1" not in one.argv for one in finding.repair)


def _without_cni0(node: NodeState) -> NodeState:
    return replace(node, links={n: link for n, link in node.links.items() if n != "cni0"})


def test_a_bridge_that_is_gone_cannot_be_made_by_one_command() -> None:
    """The pods' ports went with it: named, without a repair."""
    state = changed(STATE, "n2", _without_cni0)

    (finding,) = judge(None, state).findings

    assert finding.id == "pod-bridge-down"
    assert finding.entries[0].have is None
    assert finding.repair == ()


def test_a_lost_underlay_address_is_put_back_with_its_network() -> None:
    """The prefix length is the other nodes'."""

    def bare(node: NodeState) -> NodeState:
        return replace(
            node,
            addresses=tuple(row for row in node.addresses if row.device != "eth0"),
            routes=tuple(row for row in node.routes if row.device != "eth0"),
            neighbours=tuple(row for row in node.neighbours if row.device != "eth0"),
        )

    state = changed(STATE, "n2", bare)
    (finding,) = judge(World(state).observe(), state).findings

    assert finding.id == "node-address-missing"
    assert finding.repair[0].argv == ("ip", "address", "replace", "172.18.0.4/16", "dev", "eth0")
    assert World(run(state, finding.repair)).lost_edges() == set()


def test_a_bridge_without_address_gets_it_back_with_its_route() -> None:
    """The route to the node's own pods is the connected one of that address."""

    def bare(node: NodeState) -> NodeState:
        return replace(
            node,
            addresses=tuple(row for row in node.addresses if row.device != "cni0"),
            routes=tuple(row for row in node.routes if row.device != "cni0"),
        )

    state = changed(STATE, "n2", bare)
    (finding,) = judge(World(state).observe(), state).findings

    assert finding.id == "pod-gateway-missing"
    assert finding.repair[0].argv == ("ip", "address", "replace", "10.244.2.1/24", "dev", "cni0")
    assert World(run(state, finding.repair)).lost_edges() == set()


def test_a_missing_route_to_the_own_pods_is_put_back() -> None:
    """The address is there, its connected route is not."""
    state = changed(STATE, "n2", made.del_route(made.cidr(2)))
    (finding,) = judge(World(state).observe(), state).findings

    assert finding.id == "pod-route-missing"
    assert finding.repair[0].argv == ("ip", "route", "replace", made.cidr(2), "dev", "cni0")
    assert World(run(state, finding.repair)).lost_edges() == set()


def test_a_missing_route_to_the_underlay_is_blamed_where_its_frames_are_lost() -> None:
    """They go to the default gateway, which may or may not pass them on: the measurement decides."""
    state = changed(STATE, "n2", made.del_route("172.18.0.0/16"))
    home = {p.name: p.node for p in (*STATE.inventory.pods, *STATE.inventory.replicas)}
    lost = Weather(drops=lambda src, dst, _: home[src] == "n2" != home[dst])

    (finding,) = judge(World(state, lost).observe(), state).findings

    assert judge(World(state).observe(), state).findings == ()
    assert finding.id == "underlay-route-missing"
    assert finding.edges == (("n2", "n0"), ("n2", "n1"), ("n2", "n3"))
    assert finding.repair[0].argv == ("ip", "route", "replace", "172.18.0.0/16", "dev", "eth0")
