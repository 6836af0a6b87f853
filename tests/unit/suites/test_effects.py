"""What each fault must cause, computed from its parameters and the tables around it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clusters.state import ClusterState, Link, NodeState
from clusters.topology import Inventory
from probes.model import Entry
from suites.scenario import Effect, Occurrence
from suites.scenarios import SCENARIOS

MakeInventory = Callable[..., Inventory]
OLD, NEW = "72:00:00:00:00:01", "02:00:00:00:00:00"


def _state(inventory: Inventory, macs: dict[str, str | None], rp_filter: int = 1) -> ClusterState:
    """Tables in which each node has an overlay device, but where `macs` says otherwise."""
    nodes = {}
    for node in inventory.nodes:
        mac = macs.get(node.name, node.vtep.mac)
        link = Link(name="flannel.1", ifindex=4, mac=mac or "", mtu_bytes=1450, up=True)
        nodes[node.name] = NodeState(
            node=node.name,
            links={"flannel.1": link} if mac else {},
            addresses=(),
            neighbours=(),
            fdb=(),
            routes=(),
            settings={"rp_filter/all": rp_filter, "rp_filter/flannel.1": rp_filter},
        )
    return ClusterState(inventory=inventory, nodes=nodes, leases=())


def _effect(name: str, params: dict[str, str], before: ClusterState, after: ClusterState) -> Effect:
    breakage = SCENARIOS[name].breaks
    assert breakage is not None
    return breakage.effect(Occurrence(params=params, before=before, after=after))


def test_founding_wants_one_neighbour_of_each_stale_peer(make_inventory: MakeInventory) -> None:
    """Only frames towards the victim are lost; the forwarding entries are right."""
    inventory = make_inventory()
    before, after = _state(inventory, {"n0": OLD}), _state(inventory, {"n0": NEW})

    effect = _effect("founding", {"victim": "n0", "peers": "n2,n3"}, before, after)

    assert effect.edges == {("n2", "n0"), ("n3", "n0")}
    assert effect.entries == {
        Entry(peer, "n0", "neigh", "10.244.0.0", OLD, NEW) for peer in ("n2", "n3")
    }
    assert not effect.also | effect.replicas | effect.nodes


def test_memory_of_an_l3miss_agent_lacks_the_new_forwarding_entry(
    make_inventory: MakeInventory,
) -> None:
    """Neighbours are per pod address, and there only where traffic asked for them."""
    inventory = make_inventory(replicas=(0, 1), dialect="l3miss")
    before, after = _state(inventory, {"n0": OLD}), _state(inventory, {"n0": NEW})

    effect = _effect("founding-l3miss", {"victim": "n0", "peers": "n2"}, before, after)

    assert effect.entries == {Entry("n2", "n0", "fdb", NEW, None, "172.18.0.2")}
    assert {entry.key for entry in effect.also} == {"10.244.0.2", "10.244.0.3"}
    assert {(entry.have, entry.want) for entry in effect.also} == {(OLD, NEW)}


@pytest.mark.parametrize(
    ("stays_away", "rp_filter", "both_ways"),
    [(True, 1, True), (True, 0, True), (False, 1, True), (False, 2, False), (False, 0, False)],
)
def test_a_deleted_device_loses_what_it_receives_unless_it_is_back_and_not_filtered(
    make_inventory: MakeInventory, *, stays_away: bool, rp_filter: int, both_ways: bool
) -> None:
    """Strict is 1; 0 is off and 2 is loose, which accepts any way back."""
    inventory = make_inventory(3)
    before = _state(inventory, {})
    after = _state(inventory, {"n0": None if stays_away else "02:00:00:00:00:00"}, rp_filter)

    effect = _effect("vtep-deleted", {"victim": "n0"}, before, after)

    sent = {("n0", "n1"), ("n0", "n2")}
    assert effect.edges == (sent | {edge[::-1] for edge in sent} if both_ways else sent)
    about = {(entry.owner, entry.table) for entry in effect.entries}
    wanted = {(owner, table) for owner in ("n1", "n2") for table in ("neigh", "fdb", "route")}
    assert about == (wanted | {("n0", "link")} if stays_away else wanted)
    assert all(entry.observer == "n0" and entry.have is None for entry in effect.entries)


def test_missing_service_rules_want_every_replica_back(make_inventory: MakeInventory) -> None:
    """The node is named, no edge is: every replica answers directly."""
    state = _state(make_inventory(), {})

    effect = _effect("vip-only", {"victim": "n1"}, state, state)

    assert effect.nodes == effect.vipless == {"n1"}
    (entry,) = effect.entries
    assert entry == Entry("n1", "n1", "vip", "udp", None, "10.244.1.3 10.244.2.4 10.244.3.5")
    assert not effect.edges


def test_the_rest_names_what_its_parameters_name(make_inventory: MakeInventory) -> None:
    """A direction, a replica, or nothing at all where the cluster heals by itself."""
    state = _state(make_inventory(), {})

    drop = {"victim": "n1", "peers": "n3", "direction": "in"}
    assert _effect("one-way-drop", drop, state, state).edges == {("n3", "n1")}
    stopped = _effect("one-replica-down", {"replica": "dns-2"}, state, state)
    assert stopped.replicas == {"dns-2"}
    assert not stopped.healthy
    assert _effect("node-restart", {"victim": "n1"}, state, state) == Effect()
    assert replace(stopped, causes=frozenset()).healthy
