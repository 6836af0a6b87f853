"""What a fresh twin consists of, seen from inside."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from clusters.errors import ClusterGoneError
from clusters.netns import inside
from clusters.providers.base import (
    AgentLogs,
    Cluster,
    CniAgents,
    Executes,
    NodeLifecycle,
    ReplicaControl,
    ServiceProxies,
)
from clusters.providers.twin.client import TwinCluster
from clusters.state_reader import read_state

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]
Ping = Callable[[Cluster, str, str], bool]
Ask = Callable[..., str | None]


def test_every_pod_reaches_every_pod_and_replica(healthy: TwinCluster, ping: Ping) -> None:
    """The control of every scenario."""
    inventory = healthy.inventory()
    places = (*inventory.pods, *inventory.replicas)

    dead = [
        (src.name, dst.name)
        for src, dst in itertools.permutations(places, 2)
        if not ping(healthy, src.name, dst.ips[0])
    ]

    assert dead == []


def test_an_address_nobody_has_does_not_answer(healthy: TwinCluster, ping: Ping) -> None:
    """Shows that the reach test can fail."""
    assert not ping(healthy, "n0-p0", "10.244.9.9")


@pytest.mark.parametrize("tcp", [False, True])
def test_every_replica_answers_under_its_own_address(
    healthy: TwinCluster, ask: Ask, *, tcp: bool
) -> None:
    """Direct replica probes tell which replica is dead, so each must be there itself."""
    inventory = healthy.inventory()

    for replica in inventory.replicas:
        assert ask(healthy, "n0-p0", replica.ips[0], tcp=tcp) == replica.ips[0]


def test_the_service_address_leads_to_every_replica_from_pods_and_nodes(
    healthy: TwinCluster, ask: Ask
) -> None:
    """The rules spread fresh flows over all endpoints; 40 queries miss one of three with 3e-7."""
    inventory = healthy.inventory()
    replicas = {replica.ips[0] for replica in inventory.replicas}

    for place in ("n0-p0", "n1-p0", "dns-0", "n0"):
        assert {ask(healthy, place, inventory.vip) for _ in range(40)} == replicas


def test_a_node_holds_what_flannel_writes(healthy: TwinCluster) -> None:
    """The twin may not drift from real flannel: one route, neighbour and FDB entry per peer, no more."""
    state = read_state(healthy)
    macs = {node.name: node.vtep.mac for node in state.inventory.nodes}

    n0 = state.nodes["n0"]
    overlay = n0.links["flannel.1"]

    assert {(e.ip, e.mac, e.state) for e in n0.neighbours if e.device == "flannel.1"} == {
        (f"10.244.{i}.0", macs[f"n{i}"], "permanent") for i in (1, 2, 3)
    }
    assert {(e.mac, e.dst, e.permanent) for e in n0.fdb} == {
        (macs[f"n{i}"], f"172.18.0.{2 + i}", True) for i in (1, 2, 3)
    }
    assert {(r.dst, r.via, r.onlink) for r in n0.routes if r.device == "flannel.1"} == {
        (f"10.244.{i}.0/24", f"10.244.{i}.0", True) for i in (1, 2, 3)
    }
    assert (overlay.vni, overlay.vxlan_port, overlay.vxlan_local) == (1, 8472, "172.18.0.2")
    assert (overlay.vxlan_learning, overlay.mtu_bytes) == (False, 1450)
    assert "10.244.0.0/32" in {a.cidr for a in n0.addresses if a.device == "flannel.1"}


def test_what_faults_depend_on_is_set_in_every_node(healthy: TwinCluster) -> None:
    """Hosts differ in what namespaces inherit; a fault's signature must not."""
    state = read_state(healthy)

    for node in state.nodes.values():
        wanted = {"rp_filter/all": 1, "rp_filter/flannel.1": 1, "rp_filter/cni0": 1}
        assert wanted.items() <= node.settings.items()
        assert node.settings["ip_forward"] == 1
        assert ("0.0.0.0/0", "172.18.0.1") in {(r.dst, r.via) for r in node.routes}
        sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables"
        assert healthy.run(node.node, ["cat", sysctl]).stdout == "1\n"


def test_no_neighbour_of_a_link_that_is_not_the_overlay_can_age(
    healthy: TwinCluster, ping: Ping
) -> None:
    """The host's table of ageing neighbours is shared by all namespaces and holds 1,024."""
    ping(healthy, "n0-p0", "10.244.1.2")
    state = read_state(healthy)

    states = {e.state for node in state.nodes.values() for e in node.neighbours}

    assert states == {"permanent"}


def test_the_bridge_sends_back_to_the_port_it_came_from(healthy: TwinCluster) -> None:
    """A replica reaches itself through the service address only over a hairpin."""
    ports = healthy.run("n1", ["bridge", "-d", "link", "show"]).stdout

    assert ports.count("hairpin on") == 2


def test_each_node_has_its_own_run_directory(healthy: TwinCluster) -> None:
    """/run is what a reboot empties and what flanneld fills for the CNI plugin."""
    healthy.run("n0", ["touch", "/run/only-on-n0"])

    assert (
        "FLANNEL_SUBNET=10.244.2.1/24"
        in healthy.run("n2", ["cat", "/run/flannel/subnet.env"]).stdout
    )
    assert healthy.run("n0", ["ls", "/run"]).stdout.split() == ["flannel", "only-on-n0"]
    assert healthy.run("n0-p0", ["ls", "/run"]).stdout.split() == ["flannel", "only-on-n0"]
    assert healthy.run("n1", ["ls", "/run"]).stdout.split() == ["flannel"]


def test_a_command_runs_where_it_was_asked_to(healthy: TwinCluster) -> None:
    """`graymesh exec` is how tables are changed by hand."""
    done = healthy.run("n3", ["sh", "-c", "cat; ip -4 -o addr show dev eth0; exit 3"], stdin="in\n")

    assert done.status == 3
    assert done.stdout.startswith("in\n")
    assert "172.18.0.5/16" in done.stdout


def test_a_place_that_does_not_exist_is_said_to_be_gone(healthy: TwinCluster) -> None:
    """A vantage that vanished is unknown or failed, never silently another one."""
    with pytest.raises(ClusterGoneError, match="n9"):
        healthy.vantage("n9")


def test_devices_say_whose_they_are(healthy: TwinCluster) -> None:
    """Somebody who finds a namespace by hand must see what it belongs to."""
    with inside(healthy.vantage("dns-0")):
        pass
    shown = healthy.run("dns-0", ["ip", "link", "show", "eth0"]).stdout

    assert f"graymesh {healthy.name} replica dns-0 on n1" in shown


def test_the_handle_has_every_power(healthy: TwinCluster) -> None:
    """Faults find powers with isinstance; a misspelt method would switch faults off silently."""
    powers = (
        Cluster,
        NodeLifecycle,
        CniAgents,
        AgentLogs,
        ReplicaControl,
        ServiceProxies,
        Executes,
    )

    assert all(isinstance(healthy, power) for power in powers)


def test_two_twins_side_by_side_do_not_meet(make: Make, ping: Ping) -> None:
    """Same addresses in both, and neither sees the other."""
    one, other = make(), make(nodes=1, dns_replicas=1)

    assert ping(one, "n0-p0", "10.244.3.2")
    assert not ping(other, "n0-p0", "10.244.3.2")
    assert ping(other, "n0-p0", "10.244.0.3")


def test_many_pods_on_one_node_reach_each_other(make: Make, ping: Ping) -> None:
    """Pods of one node talk over its bridge, whose neighbours never age either."""
    cluster = make(nodes=1, pods_per_node=12, dns_replicas=2)

    assert all(ping(cluster, "n0-p0", pod.ips[0]) for pod in cluster.inventory().pods[1:])


def test_replicas_go_where_the_spec_places_them(make: Make) -> None:
    """Scenarios choose placement by seed, such as a replica on the victim."""
    cluster = make(nodes=3, dns_replicas=3, replica_nodes=(2, 2, 0))

    assert [r.node for r in cluster.inventory().replicas] == ["n2", "n2", "n0"]


def test_the_reverse_path_filter_is_as_asked(make: Make) -> None:
    """With 0, a deleted overlay device loses one direction only."""
    cluster = make(nodes=2, dns_replicas=1, rp_filter=0)

    settings = read_state(cluster).nodes["n1"].settings

    assert settings["rp_filter/all"] == settings["rp_filter/flannel.1"] == 0
