"""Whether a node and its peers hold right entries about each other."""

from dataclasses import replace

import pytest

from chaos.fake import FakeCluster
from chaos.health import complaints
from chaos.model import Slot
from chaos.tables import fdb, neigh, route
from clusters.state import ClusterState

GATEWAY = neigh("flannel.1", "10.244.0.0")


def found(cluster: FakeCluster, node: str = "n0") -> list[tuple[str, str]]:
    """The complaints about that node."""
    return [tuple(each) for each in complaints(cluster.read_all(), cluster.leases(), node)]


def mac_of(cluster: FakeCluster, node: str) -> str:
    """The live MAC."""
    return cluster.inventory().node(node).vtep.mac or ""


@pytest.mark.parametrize("dialect", ["static", "persistent", "l3miss"])
def test_a_fresh_cluster_is_healthy(dialect: str) -> None:
    """The control."""
    assert found(FakeCluster(dialect=dialect)) == []


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        (GATEWAY, None),
        (GATEWAY, "0e:00:00:00:00:01 permanent"),
        (route("10.244.0.0/24"), None),
        (route("10.244.0.0/24"), "via 10.244.3.0 dev flannel.1 onlink proto 3"),
    ],
)
def test_a_wrong_entry_about_the_node_is_the_observers(slot: Slot, value: str | None) -> None:
    """There its agent has to be started anew, not on the node that the entry is about."""
    cluster = FakeCluster()
    cluster.put("n2", slot, value)

    assert [node for node, _ in found(cluster)] == ["n2"]


def test_a_wrong_entry_of_the_node_about_a_peer_counts_too() -> None:
    """Both directions have to work."""
    cluster = FakeCluster()
    cluster.put("n0", fdb("flannel.1", mac_of(cluster, "n3")), "172.18.0.9 permanent")

    ((node, text),) = found(cluster)

    assert node == "n0"
    assert "172.18.0.9 permanent, not 172.18.0.5 permanent" in text


def test_entries_between_others_are_no_concern() -> None:
    """Another injection may have made them."""
    cluster = FakeCluster()
    cluster.put("n1", neigh("flannel.1", "10.244.2.0"), None)

    assert found(cluster) == []


def test_an_entry_written_in_another_way_loses_nothing() -> None:
    """Not permanent, another protocol number: harmless."""
    cluster = FakeCluster()
    cluster.put("n1", GATEWAY, f"{mac_of(cluster, 'n0')} reachable")
    cluster.put("n1", route("10.244.0.0/24"), "via 10.244.0.0 dev flannel.1 onlink proto 17")

    assert found(cluster) == []


def test_a_device_that_is_gone_is_the_nodes_own() -> None:
    """Its own agent has to be started anew."""
    cluster = FakeCluster()
    published = mac_of(cluster, "n0")
    cluster.put("n0", Slot("link", "flannel.1", ""), None)

    first, *entries = found(cluster)

    assert first == ("n0", f"n0: flannel.1: no device, published: {published}")
    assert {node for node, _ in entries} == {"n0"}


def test_a_device_that_is_down_is_the_nodes_own() -> None:
    """It has its MAC and all entries, and forwards nothing."""
    cluster = FakeCluster()
    state = cluster.read_all()
    node = state.nodes["n0"]
    down = replace(
        node, links={**node.links, "flannel.1": node.links["flannel.1"]._replace(up=False)}
    )
    dark = replace(state, nodes={**state.nodes, "n0": down})

    assert [tuple(each) for each in complaints(dark, cluster.leases(), "n0")] == [
        ("n0", "n0: flannel.1 is down")
    ]


def test_a_node_that_cannot_be_read_is_said_first() -> None:
    """Nothing else can be known then."""
    cluster = FakeCluster()
    state = cluster.read_all()
    dark = ClusterState(
        inventory=state.inventory,
        nodes={name: node for name, node in state.nodes.items() if name != "n0"},
        leases=state.leases,
        unreadable={"n0": "its namespace is gone"},
    )

    assert [tuple(each) for each in complaints(dark, cluster.leases(), "n0")] == [
        ("n0", "node n0: its namespace is gone")
    ]
