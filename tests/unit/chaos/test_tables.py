"""Slots, what may be overwritten, what has to be written."""

import pytest

from chaos.model import Slot, TablesGoal, VtepGoal, Want
from chaos.tables import (
    Write,
    dump,
    entries,
    everything,
    fdb,
    in_words,
    look,
    look_vtep,
    neigh,
    programmed,
    route,
    slots,
    writes,
)
from clusters.state import (
    Address,
    ClusterState,
    Fdb,
    Lease,
    Link,
    Neigh,
    NodeState,
    Route,
)
from clusters.topology import Inventory

OLD, NEW, ALIEN = "0a:00:00:00:00:01", "0a:00:00:00:00:02", "0a:00:00:00:00:03"
VIA = "via 10.244.0.0 dev flannel.1 onlink"
PEER = neigh("flannel.1", "10.244.0.0")


def node(
    *,
    neighbours: tuple[Neigh, ...] = (),
    forwarding: tuple[Fdb, ...] = (),
    routes: tuple[Route, ...] = (),
    mtu_bytes: int = 1450,
) -> NodeState:
    """A node with one overlay device."""
    return NodeState(
        node="n1",
        links={"flannel.1": Link("flannel.1", 4, "0a:00:00:00:00:09", mtu_bytes, up=True)},
        addresses=(Address("flannel.1", "10.244.1.0/32"),),
        neighbours=neighbours,
        fdb=forwarding,
        routes=routes,
        settings={"rp_filter/all": 1},
    )


def goal(*wants: Want, purge: tuple[str, ...] = ()) -> TablesGoal:
    """A goal for that node."""
    return TablesGoal(node="n1", device="flannel.1", wants=wants, purge=purge)


def test_every_table_is_read_as_the_words_of_the_tools() -> None:
    """The ledger is read by people, and values are compared as text."""
    state = node(
        neighbours=(Neigh("flannel.1", "10.244.0.0", OLD, "permanent"),),
        forwarding=(Fdb("flannel.1", OLD, "172.18.0.2"),),
        routes=(Route("10.244.0.0/24", "flannel.1", "10.244.0.0", onlink=True, protocol=3),),
    )

    assert everything(state) == {
        PEER: f"{OLD} permanent",
        fdb("flannel.1", OLD): "172.18.0.2 permanent",
        route("10.244.0.0/24"): f"{VIA} proto 3",
        Slot("addr", "flannel.1", "10.244.1.0/32"): "present",
        Slot("link", "flannel.1", ""): "mtu 1450 up",
    }


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Route("10.244.0.0/24", kind="blackhole", protocol=4), "blackhole proto 4"),
        (Route("10.244.0.0/24", "eth0", protocol=2), "dev eth0 proto 2"),
        (
            Route("10.244.0.0/24", nexthops=(("10.0.0.1", "a"), ("10.0.0.2", "b")), protocol=3),
            "nexthop via 10.0.0.1 dev a nexthop via 10.0.0.2 dev b proto 3",
        ),
    ],
)
def test_a_route_of_any_kind_has_words(row: Route, text: str) -> None:
    """Somebody else's routes must be put back as they were too."""
    assert everything(node(routes=(row,)))[route("10.244.0.0/24")] == text


def test_routes_of_different_metric_are_different_slots() -> None:
    """They exist side by side in the kernel."""
    rows = tuple(Route("10.244.0.0/24", "flannel.1", metric=metric) for metric in (0, 100))

    held = everything(node(routes=rows))

    assert {route("10.244.0.0/24"), route("10.244.0.0/24", 100)} <= held.keys()


def test_an_all_zero_mac_may_have_several_destinations() -> None:
    """It is the default entry of a VXLAN device, one per destination."""
    rows = tuple(Fdb("flannel.1", "00:00:00:00:00:00", f"172.18.0.{n}") for n in (2, 3))

    held = everything(node(forwarding=rows))

    assert sum(slot.table == "fdb" for slot in held) == 2


def test_a_neighbour_that_ages_is_one_value_whatever_its_state() -> None:
    """The kernel moves it from reachable to stale to probe by itself: no difference to anybody."""
    texts = {
        entries(node(neighbours=(Neigh("flannel.1", "10.244.0.0", OLD, state),)))[PEER]
        for state in ("reachable", "stale", "delay", "probe")
    }

    assert texts == {f"{OLD} reachable"}


def test_an_unresolved_neighbour_is_an_absent_one_that_can_be_removed() -> None:
    """The kernel asks for what a fault took away; after undo not even the question should stay."""
    state = node(neighbours=(Neigh("flannel.1", "10.244.0.0", None, "failed"),))
    absent = goal(Want(PEER, None, (None,)))

    assert PEER not in entries(state)
    assert look(state, absent).standing == "met"
    assert writes(state, absent) == (Write(PEER, "unresolved", None),)


def test_slots_of_a_device_take_its_routes_and_leave_other_devices() -> None:
    """What goes away with the device, and nothing else."""
    state = node(
        neighbours=(
            Neigh("flannel.1", "10.244.0.0", OLD, "permanent"),
            Neigh("flannel.1", "10.244.0.7", OLD, "stale"),
            Neigh("cni0", "10.244.1.2", ALIEN, "permanent"),
        ),
        routes=(Route("10.244.0.0/24", "flannel.1"), Route("10.244.1.0/24", "cni0")),
    )

    lasting = slots(state, "flannel.1", cached=False)

    assert PEER in lasting
    assert route("10.244.0.0/24") in lasting
    assert not {
        slot for slot in lasting if slot.device == "cni0" or slot.key.startswith("10.244.1.0/24")
    }
    assert neigh("flannel.1", "10.244.0.7") not in lasting
    assert neigh("flannel.1", "10.244.0.7") in slots(state, "flannel.1")


@pytest.mark.parametrize(
    ("now", "standing"),
    [(OLD, "met"), (NEW, "unmet"), (ALIEN, "foreign"), (None, "foreign")],
)
def test_only_what_was_written_by_graymesh_is_overwritten(now: str | None, standing: str) -> None:
    """A value that is neither ours nor the one from before is somebody else's work."""
    held = (Neigh("flannel.1", "10.244.0.0", now, "permanent"),) if now else ()
    state = node(neighbours=held)
    back = goal(Want(PEER, f"{OLD} permanent", (f"{NEW} permanent",)))

    assert look(state, back).standing == standing
    assert bool(writes(state, back)) == (standing == "unmet")


def test_any_value_may_be_overwritten_where_the_want_says_so() -> None:
    """A fault writes over whatever is there: it recorded that before."""
    state = node(neighbours=(Neigh("flannel.1", "10.244.0.0", ALIEN, "permanent"),))

    assert writes(state, goal(Want(PEER, f"{NEW} permanent"))) == (
        Write(PEER, f"{ALIEN} permanent", f"{NEW} permanent"),
    )


@pytest.mark.parametrize(("via", "standing"), [("10.244.0.0", "unmet"), ("10.244.9.0", "foreign")])
def test_a_route_is_ours_whatever_its_protocol_number(via: str, standing: str) -> None:
    """Agents write with a number of their own; another gateway is another matter."""
    row = Route("10.244.0.0/24", "flannel.1", via, onlink=True, protocol=17)
    want = Want(route("10.244.0.0/24"), None, (VIA,))

    assert look(node(routes=(row,)), goal(want)).standing == standing


def test_a_mac_to_be_purged_goes_from_neighbours_and_fdb_but_not_from_slots_that_want_it() -> None:
    """Caches of a MAC that is gone are found by the MAC: their keys were not known before."""
    state = node(
        neighbours=(
            Neigh("flannel.1", "10.244.0.7", NEW, "reachable"),
            Neigh("flannel.1", "10.244.0.8", OLD, "reachable"),
        ),
        forwarding=(Fdb("flannel.1", NEW, "172.18.0.2"), Fdb("flannel.1", OLD, "172.18.0.2")),
    )
    kept = Want(fdb("flannel.1", NEW), "172.18.0.2 permanent")

    without_kept = {write.slot.key for write in writes(state, goal(purge=(NEW,)))}
    with_kept = {write.slot.key for write in writes(state, goal(kept, purge=(NEW,)))}

    assert without_kept == {"10.244.0.7", NEW}
    assert with_kept == {"10.244.0.7"}


def test_a_slot_pinned_to_a_purged_mac_by_hand_is_ours() -> None:
    """Who repaired by hand with the fault's own MAC would be left with a pin to a MAC that goes away."""
    state = node(neighbours=(Neigh("flannel.1", "10.244.0.0", NEW, "noarp"),))

    seen = look(state, goal(Want(PEER, f"{OLD} permanent", ()), purge=(NEW,)))

    assert seen.standing == "unmet"


def test_the_worst_standing_is_the_goals() -> None:
    """Unmet means that something of ours is left; foreign alone does not."""
    state = node(neighbours=(Neigh("flannel.1", "10.244.0.0", ALIEN, "permanent"),))
    met = Want(neigh("flannel.1", "10.244.7.0"), None)
    foreign = Want(PEER, None, ())
    unmet = Want(fdb("flannel.1", OLD), "172.18.0.2 permanent")

    assert look(state, goal(met)).standing == "met"
    assert look(state, goal(met, foreign)).standing == "foreign"
    assert look(state, goal(met, foreign, unmet)).standing == "unmet"
    assert look(state, goal(met, foreign, unmet)).lines("foreign") == (
        f"n1: {in_words(PEER, f'{ALIEN} permanent')}",
    )


@pytest.mark.parametrize(
    ("mac", "standing"), [(OLD, "met"), (NEW, "unmet"), (None, "unmet"), (ALIEN, "foreign")]
)
def test_a_device_with_a_third_mac_is_somebody_elses(mac: str | None, standing: str) -> None:
    """Renewing it would undo what they did."""
    back = VtepGoal(node="n0", device="flannel.1", mac=OLD, ours=(NEW, None))

    assert look_vtep(mac, back).standing == standing


@pytest.mark.parametrize(
    ("dialect", "tables"),
    [
        ("static", {"neigh", "fdb", "route"}),
        ("persistent", {"neigh", "fdb", "route"}),
        ("l3miss", {"fdb"}),
    ],
)
def test_what_an_agent_keeps_about_a_peer_follows_its_generation(
    dialect: str, tables: set[str]
) -> None:
    """The on-miss generation has no lasting neighbour and no route for a peer."""
    lease = Lease("n0", "10.244.0.0/24", "172.18.0.2", OLD)

    found = programmed(dialect, lease, "flannel.1")

    assert {slot.table for slot in found} == tables
    assert found[fdb("flannel.1", OLD)] == "172.18.0.2 permanent"


def test_a_dump_says_what_lasts() -> None:
    """Counters, indexes and cached neighbours change by themselves; devices, entries and settings do not."""

    def dumped(state: NodeState) -> frozenset[str]:
        inventory = Inventory(
            provider="twin", name="x", vips=("10.96.0.10",), nodes=(), pods=(), replicas=()
        )
        return dump(ClusterState(inventory=inventory, nodes={"n1": state}, leases=()))["n1"]

    plain = node()
    counted = node(neighbours=(Neigh("flannel.1", "10.244.0.7", OLD, "stale"),))
    link = counted.links["flannel.1"]._replace(ifindex=77, rx_packets=5, rx_otherhost=3)
    counted = NodeState(
        node="n1",
        links={"flannel.1": link},
        addresses=counted.addresses,
        neighbours=counted.neighbours,
        fdb=counted.fdb,
        routes=counted.routes,
        settings=counted.settings,
    )

    assert dumped(counted) == dumped(plain)
    assert dumped(node(mtu_bytes=1400)) != dumped(plain)
    assert dumped(node(forwarding=(Fdb("flannel.1", OLD, "172.18.0.2"),))) != dumped(plain)
