"""Nodes of a twin that restart and are recreated."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from clusters.errors import ClusterGoneError, UsageError
from clusters.providers.base import Cluster
from clusters.providers.twin.client import TwinCluster
from clusters.state_reader import own_link, read_node, read_state
from clusters.waiting import Deadline, poll_until

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]
Ping = Callable[[Cluster, str, str], bool]
Ask = Callable[..., str | None]


@pytest.mark.parametrize("act", ["restart_node", "recreate_node"])
def test_everything_works_again_afterwards(make: Make, ping: Ping, ask: Ask, act: str) -> None:
    """Pods and replicas come back, peers follow the lease event, every node's rules are right."""
    cluster = make()

    getattr(cluster, act)("n1")

    inventory = cluster.inventory()
    for pod in inventory.pods:
        assert all(
            ping(cluster, pod.name, other.ips[0]) for other in inventory.pods if other != pod
        )
        replicas = {replica.ips[0] for replica in inventory.replicas}
        assert {ask(cluster, pod.name, inventory.vip) for _ in range(40)} == replicas


def test_a_restart_keeps_addresses_and_changes_the_boot_id(make: Make) -> None:
    """A reboot keeps the Node object, so podCIDR, pod addresses here and underlay address stay."""
    cluster = make(nodes=3)
    before, boots = cluster.inventory(), [cluster.boot_id(f"n{i}") for i in range(3)]

    cluster.restart_node("n1")

    after, later = cluster.inventory(), [cluster.boot_id(f"n{i}") for i in range(3)]
    assert [n.pod_cidrs for n in after.nodes] == [n.pod_cidrs for n in before.nodes]
    assert [n.underlay for n in after.nodes] == [n.underlay for n in before.nodes]
    assert (after.pods, after.replicas) == (before.pods, before.replicas)
    assert later[1] != boots[1]
    assert (later[0], later[2]) == (boots[0], boots[2])


@pytest.mark.parametrize(
    ("dialect", "kept"), [("static", False), ("l3miss", False), ("persistent", True)]
)
def test_a_restart_changes_the_mac_unless_the_generation_keeps_it(
    make: Make, dialect: str, *, kept: bool
) -> None:
    """v0.24.1 and later take the MAC from the Node's annotation."""
    cluster = make(nodes=3, dialect=dialect)
    before = cluster.inventory().nodes[1].vtep.mac

    cluster.restart_node("n1")

    assert (cluster.inventory().nodes[1].vtep.mac == before) is kept


def test_a_restart_empties_run_and_rules_made_by_hand(make: Make) -> None:
    """Namespace, conntrack and /run are new, as after a boot."""
    cluster = make(nodes=2, dns_replicas=1)
    cluster.run("n1", ["touch", "/run/by-hand"])
    cluster.run("n1", ["iptables", "-I", "FORWARD", "-j", "DROP"])
    cluster.run("n1", ["ip", "route", "add", "blackhole", "10.99.0.0/16"])

    cluster.restart_node("n1")

    assert cluster.run("n1", ["ls", "/run"]).stdout.split() == ["flannel"]
    assert "DROP" not in cluster.run("n1", ["iptables-save"]).stdout
    assert "10.99.0.0/16" not in {r.dst for r in read_node(cluster, "n1").routes}


def test_a_frozen_peer_misses_a_restart(make: Make, ping: Ping) -> None:
    """The silent reboot of the founding incident, done by rebooting."""
    cluster = make(nodes=3)
    cluster.freeze_agent("n2")

    cluster.restart_node("n0")

    assert ping(cluster, "n0-p0", "10.244.1.2")
    assert not ping(cluster, "n0-p0", "10.244.2.2")


def test_a_node_that_was_frozen_starts_live(make: Make) -> None:
    """Its flanneld is a new process."""
    cluster = make(nodes=2, dns_replicas=1)
    cluster.freeze_agent("n1")

    cluster.restart_node("n1")

    assert not any(agent.frozen for agent in cluster.agents())


def test_a_recreated_node_has_new_addresses_and_the_old_ones_are_gone(make: Make) -> None:
    """Live peers process the removal of the old lease, and its three entries with it."""
    cluster = make(nodes=3, dialect="persistent")
    before = cluster.inventory()

    cluster.recreate_node("n1")

    after, state = cluster.inventory(), read_state(cluster)
    old, new = before.nodes[1], after.nodes[1]
    assert new.pod_cidrs == ("10.244.3.0/24",)
    assert new.vtep.mac != old.vtep.mac  # the annotation went with the Node object
    assert new.underlay == old.underlay
    assert after.pods[1].ips == ("10.244.3.2",)
    for peer in ("n0", "n2"):
        tables = state.nodes[peer]
        assert "10.244.1.0/24" not in {r.dst for r in tables.routes}
        assert "10.244.1.0" not in {e.ip for e in tables.neighbours}
        assert {e.mac for e in tables.fdb if e.dst == "172.18.0.3"} == {new.vtep.mac}
    assert {lease.pod_cidr for lease in state.leases if lease.node == "n1"} == {"10.244.3.0/24"}


def test_a_peer_thawed_after_a_recreation_keeps_the_old_podcidrs_entries(
    make: Make, ping: Ping
) -> None:
    """The informer sees an update of the Node, and nothing looks at the podCIDR that was."""
    cluster = make(nodes=3)
    cluster.freeze_agent("n0")
    cluster.recreate_node("n1")

    cluster.thaw_agent("n0")

    routes = {r.dst for r in read_node(cluster, "n0").routes}
    assert {"10.244.1.0/24", "10.244.3.0/24"} <= routes
    assert ping(cluster, "n0-p0", "10.244.3.2")


def test_names_of_a_recreated_nodes_pods_follow(make: Make) -> None:
    """kube-dns watches the API; so do the replicas here, without losing a query."""
    cluster = make(nodes=2, dns_replicas=2)
    lookup = (
        "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1);"
        "n=b''.join(bytes([len(p)])+p.encode() for p in sys.argv[1].split('.'));"
        "s.sendto(b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0'+n+b'\\0\\0\\1\\0\\1',(sys.argv[2],53));"
        "print(s.recv(512)[3] & 15)"
    )

    def rcode(name: str, server: str) -> str:
        argv = ["python3", "-c", lookup, f"{name}.default.pod.cluster.local", server]
        return cluster.run("n0-p0", argv).stdout.strip()

    server = cluster.inventory().replicas[1].ips[0]
    assert (rcode("10-244-1-2", server), rcode("10-244-2-2", server)) == ("0", "3")

    cluster.recreate_node("n1")

    assert (rcode("10-244-1-2", server), rcode("10-244-2-2", server)) == ("3", "0")


def test_a_node_is_really_away_while_it_is_down(make: Make, ping: Ping) -> None:
    """Dark time must be seen, and nobody may go on living in the old namespace."""
    cluster = make(nodes=3)
    stale = cluster.vantage("n1")
    restarting = threading.Thread(target=cluster.restart_node, args=("n1",), kwargs={"down_s": 0.6})

    restarting.start()
    poll_until(
        lambda: _is_down(cluster.vantage), awaited="n1 to be down", deadline=Deadline.after(1.0)
    )
    link_in_stale_namespace = own_link(stale, "eth0")
    reached = ping(cluster, "n0-p0", "10.244.1.2")
    inventory = cluster.inventory()
    with pytest.raises(ClusterGoneError, match="n1 is down"):
        cluster.boot_id("n1")
    with pytest.raises(ClusterGoneError, match="n1 is down"):
        cluster.restart_node("n1")
    restarting.join()

    assert link_in_stale_namespace is None
    assert not reached
    assert [node.name for node in inventory.nodes] == ["n0", "n1", "n2"]
    assert inventory.nodes[1].vtep.mac is None
    assert ping(cluster, "n0-p0", "10.244.1.2")


def _is_down(vantage: Callable[[str], object]) -> bool:
    try:
        vantage("n1-p0")
    except ClusterGoneError:
        return True
    return False


def test_other_handles_see_a_rebuilt_node_at_once(make: Make, ping: Ping) -> None:
    """A watcher in another process or thread must not look into the node that was."""
    from clusters.providers.twin.provider import TwinProvider

    cluster = make(nodes=2, dns_replicas=1)
    other = TwinProvider().open(cluster.name)
    before = other.boot_id("n1"), other.vantage("n1-p0")

    cluster.restart_node("n1")

    assert other.boot_id("n1") != before[0]
    assert ping(other, "n1-p0", "10.244.0.2")
    other.close()


@pytest.mark.parametrize("down_s", [-1.0, 1e9])
def test_an_impossible_down_time_is_refused_before_anything_happens(
    healthy: TwinCluster, down_s: float
) -> None:
    """A usage error must not cost a node."""
    with pytest.raises(UsageError, match="down_s"):
        healthy.restart_node("n0", down_s=down_s)

    assert healthy.vantage("n0")
