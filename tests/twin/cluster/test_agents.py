"""The flannel agents of a twin at work on a real kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusters.errors import UsageError
from clusters.providers.base import Cluster
from clusters.providers.twin.client import TwinCluster
from clusters.state import NodeState
from clusters.state_reader import own_link, read_node, read_state
from clusters.waiting import Deadline, poll_until

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]
Ping = Callable[[Cluster, str, str], bool]


def _macs_of(state: NodeState, index: int) -> tuple[str | None, set[str]]:
    """What a node keeps about node `index`: the neighbour's MAC, the FDB's MACs."""
    neigh = {e.ip: e.mac for e in state.neighbours}
    return neigh.get(f"10.244.{index}.0"), {
        e.mac for e in state.fdb if e.dst == f"172.18.0.{index + 2}"
    }


def _mac(cluster: TwinCluster, node: str) -> str | None:
    link = own_link(cluster.vantage(node), "flannel.1")
    return link.mac if link else None


def test_frozen_agents_keep_the_old_mac_and_live_ones_follow(make: Make, ping: Ping) -> None:
    """The founding incident: A's new MAC is known to B, not to C and D."""
    cluster = make()
    before = _mac(cluster, "n0")
    for peer in ("n2", "n3"):
        cluster.freeze_agent(peer)

    cluster.renew_vtep("n0")
    after = _mac(cluster, "n0")
    state = read_state(cluster)

    assert after != before
    assert _macs_of(state.nodes["n1"], 0) == (after, {before, after})  # the old FDB entry leaks
    for stale in ("n2", "n3"):
        assert _macs_of(state.nodes[stale], 0) == (before, {before})
    assert {lease.mac for lease in state.leases if lease.node == "n0"} == {after}
    assert ping(cluster, "n0-p0", "10.244.1.2")
    assert not ping(cluster, "n0-p0", "10.244.2.2")
    assert not ping(cluster, "n0-p0", "10.244.3.3")
    assert ping(cluster, "n2-p0", "10.244.3.2")


def test_a_new_mac_can_be_chosen(make: Make) -> None:
    """Runs are deterministic from their seed."""
    cluster = make(nodes=2, dns_replicas=1)

    cluster.renew_vtep("n0", "02:00:00:00:00:42")

    assert _mac(cluster, "n0") == "02:00:00:00:00:42"
    assert cluster.inventory().nodes[0].vtep.mac == "02:00:00:00:00:42"


def test_freezing_is_read_back_and_thawing_ends_it(make: Make) -> None:
    """A fault proves its effect by reading it back."""
    cluster = make(nodes=3)

    cluster.freeze_agent("n1")
    cluster.freeze_agent("n1")
    frozen = {a.node for a in cluster.agents() if a.frozen}
    cluster.thaw_agent("n1")
    cluster.thaw_agent("n1")

    assert frozen == {"n1"}
    assert not any(a.frozen for a in cluster.agents())


@pytest.mark.parametrize("dialect", ["static", "persistent"])
def test_a_thawed_agent_of_kube_mode_catches_up(make: Make, dialect: str, ping: Ping) -> None:
    """The informer compares old and new annotations on reconnecting, so the change is seen."""
    cluster = make(nodes=3, dialect=dialect)
    before = _mac(cluster, "n0")
    cluster.freeze_agent("n1")
    cluster.renew_vtep("n0")
    stale = _macs_of(read_node(cluster, "n1"), 0)

    cluster.thaw_agent("n1")

    after = _mac(cluster, "n0")
    assert stale == (before, {before})
    assert _macs_of(read_node(cluster, "n1"), 0) == (after, {before, after})
    assert ping(cluster, "n1-p0", "10.244.0.2")


def test_a_peer_heals_by_restarting_its_own_agent(make: Make) -> None:
    """Measured on real flannel: restarting the node that an entry points to does nothing for the observer."""
    cluster = make(nodes=3)
    wrong = [
        "ip",
        "neigh",
        "replace",
        "10.244.0.0",
        "lladdr",
        "02:00:00:00:00:01",
        "dev",
        "flannel.1",
        "nud",
        "permanent",
    ]
    cluster.run("n1", wrong)
    cluster.run("n1", ["ip", "route", "del", "10.244.2.0/24"])

    cluster.restart_agent("n0")
    untouched = read_node(cluster, "n1")
    cluster.restart_agent("n1")
    healed = read_node(cluster, "n1")

    assert _macs_of(untouched, 0)[0] == "02:00:00:00:00:01"
    assert _macs_of(healed, 0)[0] == _mac(cluster, "n0")
    assert "10.244.2.0/24" not in {r.dst for r in untouched.routes}
    assert "10.244.2.0/24" in {r.dst for r in healed.routes}


def test_a_restarted_agent_adopts_and_publishes_the_mac_it_finds(make: Make, ping: Ping) -> None:
    """Measured (b6): the MAC changed in place is published by the restart, and live peers follow."""
    cluster = make(nodes=3)
    cluster.run("n0", ["ip", "link", "set", "flannel.1", "address", "02:11:22:33:44:55"])
    dark = ping(cluster, "n1-p0", "10.244.0.2")

    cluster.restart_agent("n0")

    assert not dark
    assert _mac(cluster, "n0") == "02:11:22:33:44:55"
    assert _macs_of(read_node(cluster, "n1"), 0)[0] == "02:11:22:33:44:55"
    assert ping(cluster, "n1-p0", "10.244.0.2")


def test_a_deleted_device_stays_away_on_static(make: Make, ping: Ping) -> None:
    """v0.9.0 to v0.24.0 watch nothing of the kernel; only the agent's restart brings the device back."""
    cluster = make(nodes=3)
    cluster.run("n0", ["ip", "link", "del", "flannel.1"])

    assert _mac(cluster, "n0") is None
    assert cluster.inventory().nodes[0].vtep.mac is None
    assert not ping(cluster, "n0-p0", "10.244.1.2")
    cluster.restart_agent("n0")
    assert _mac(cluster, "n0") is not None
    assert ping(cluster, "n0-p0", "10.244.1.2")


def _deleted_and_back(cluster: TwinCluster) -> None:
    cluster.run("n0", ["ip", "link", "del", "flannel.1"])
    _await_device(cluster)


def _await_device(cluster: TwinCluster) -> None:
    poll_until(
        lambda: cluster.agent_log("n0"),
        until=lambda lines: any("recreated" in line for line in lines),
        awaited="the device to come back",
        deadline=Deadline.after(2.0),
    )


def test_a_deleted_device_comes_back_without_its_peers_on_persistent(
    make: Make, ping: Ping
) -> None:
    """Measured (a): "recreated successfully" marks a dead node, whose own tables are empty."""
    cluster = make(nodes=3, dialect="persistent")
    before = _mac(cluster, "n0")

    _deleted_and_back(cluster)
    state = read_node(cluster, "n0")

    assert _mac(cluster, "n0") == before
    assert {a.cidr for a in state.addresses if a.device == "flannel.1"} == {"10.244.0.0/32"}
    assert not state.fdb
    assert not [e for e in state.neighbours if e.device == "flannel.1"]
    assert not [r for r in state.routes if r.device == "flannel.1"]
    assert not ping(cluster, "n1-p0", "10.244.0.2")
    cluster.restart_agent("n0")
    assert ping(cluster, "n1-p0", "10.244.0.2")


def test_a_frozen_watcher_brings_its_device_back_when_it_is_thawed(make: Make) -> None:
    """The event waits in the socket of a stopped flanneld until it runs again."""
    cluster = make(nodes=3, dialect="persistent")
    before = _mac(cluster, "n0")
    cluster.freeze_agent("n0")
    cluster.run("n0", ["ip", "link", "del", "flannel.1"])
    cluster.agents()  # one round through the holder's event loop
    away = _mac(cluster, "n0")

    cluster.thaw_agent("n0")

    assert away is None
    assert _mac(cluster, "n0") == before


def test_an_on_miss_node_has_one_route_and_learns_pods_when_asked(make: Make, ping: Ping) -> None:
    """v0.5.0 to v0.8.0: one route, FDB written ahead, neighbours per pod address as the kernel asks."""
    cluster = make(nodes=3, dialect="l3miss")
    at_first = read_node(cluster, "n0")

    reached = ping(cluster, "n0-p0", "10.244.1.2")
    state = read_node(cluster, "n0")

    assert reached
    assert {r.dst for r in state.routes if r.device == "flannel.1"} == {"10.244.0.0/16"}
    assert len(state.fdb) == 2
    assert not [e for e in at_first.neighbours if e.device == "flannel.1"]
    assert {(e.ip, e.mac, e.state) for e in state.neighbours if e.device == "flannel.1"} == {
        ("10.244.1.2", _mac(cluster, "n1"), "reachable")
    }


def test_an_on_miss_agent_logs_what_no_lease_covers(make: Make, ping: Ping) -> None:
    """The line of the founding report."""
    cluster = make(nodes=3, dialect="l3miss")

    assert not ping(cluster, "n0-p0", "10.244.77.7")

    assert "L3 miss but route for 10.244.77.7 not found" in cluster.agent_log("n0")
    assert not cluster.agent_log("n1")


def test_stale_memory_brings_a_deleted_entry_back_with_the_old_mac(make: Make, ping: Ping) -> None:
    """What marks the on-miss variant: deleting the neighbour does not help, thawing does not either."""
    cluster = make(nodes=3, dialect="l3miss")
    before = _mac(cluster, "n0")
    assert ping(cluster, "n1-p0", "10.244.0.2")
    cluster.freeze_agent("n1")
    cluster.renew_vtep("n0")

    cluster.run("n1", ["ip", "neigh", "del", "10.244.0.2", "dev", "flannel.1"])
    assert not ping(cluster, "n1-p0", "10.244.0.2")
    frozen = {e.ip: e.mac for e in read_node(cluster, "n1").neighbours}
    cluster.thaw_agent("n1")
    cluster.run("n1", ["ip", "neigh", "del", "10.244.0.2", "dev", "flannel.1"])
    assert not ping(cluster, "n1-p0", "10.244.0.2")
    thawed = {e.ip: e.mac for e in read_node(cluster, "n1").neighbours}
    cluster.restart_agent("n1")
    cluster.run("n1", ["ip", "neigh", "del", "10.244.0.2", "dev", "flannel.1"])

    assert frozen["10.244.0.2"] == thawed["10.244.0.2"] == before
    assert ping(cluster, "n1-p0", "10.244.0.2")
    assert {e.mac for e in read_node(cluster, "n1").fdb if e.dst == "172.18.0.2"} == {
        _mac(cluster, "n0")
    }  # its start compares the FDB with the leases


def test_the_owners_next_lease_event_heals_stale_memory(make: Make, ping: Ping) -> None:
    """In etcd mode every write is an event, also one that changes nothing."""
    cluster = make(nodes=2, dns_replicas=1, dialect="l3miss")
    cluster.freeze_agent("n1")
    cluster.renew_vtep("n0")
    cluster.thaw_agent("n1")
    dark = ping(cluster, "n1-p0", "10.244.0.2")

    cluster.restart_agent("n0")
    cluster.run("n1", ["ip", "neigh", "del", "10.244.0.2", "dev", "flannel.1"])

    assert not dark
    assert ping(cluster, "n1-p0", "10.244.0.2")


def test_an_unknown_node_is_a_usage_error(healthy: TwinCluster) -> None:
    """The caller's mistake, with what would be right."""
    with pytest.raises(UsageError, match="node: expected one of n0, n1, n2, n3, got 'n7'"):
        healthy.freeze_agent("n7")
