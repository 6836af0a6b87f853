"""Every kind of entry written to a real kernel reads back as the same words."""

from __future__ import annotations

import pytest

from chaos.kernel import KernelTables
from chaos.model import Slot
from chaos.tables import Write, everything, fdb, neigh, route
from clusters.errors import ClusterGoneError, KernelRefusedError
from clusters.providers.base import Cluster

pytestmark = pytest.mark.twin

MAC = "0a:de:ad:00:00:01"

ENTRIES = [
    (neigh("flannel.1", "10.244.77.0"), f"{MAC} permanent"),
    (neigh("flannel.1", "10.244.77.1"), f"{MAC} reachable"),
    (neigh("flannel.1", "10.244.77.2"), f"{MAC} noarp"),
    (fdb("flannel.1", MAC), "172.18.0.9 permanent"),
    (fdb("flannel.1", MAC), "172.18.0.9 static"),
    (fdb("flannel.1", "00:00:00:00:00:00@172.18.0.9"), "172.18.0.9 permanent"),
    (route("10.244.77.0/24"), "via 10.244.77.0 dev flannel.1 onlink proto 3"),
    (route("10.244.77.0/24", 100), "via 10.244.77.0 dev flannel.1 onlink proto 17"),
    (route("10.244.77.0/24"), "dev flannel.1 proto 4"),
    (route("10.244.77.0/24"), "blackhole proto 3"),
    (route("10.244.77.0/24"), "unreachable proto 3"),
    (
        route("10.244.77.0/24"),
        "nexthop via 10.244.2.0 dev flannel.1 nexthop via 10.244.3.0 dev flannel.1 proto 3",
    ),
    (
        route("10.244.77.0/24"),
        "nexthop via 172.18.0.4 dev eth0 nexthop via 172.18.0.5 dev eth0 proto 3",
    ),
    (Slot("addr", "flannel.1", "10.244.77.9/32"), "present"),
]


@pytest.mark.parametrize(("slot", "value"), ENTRIES)
def test_an_entry_comes_back_as_written_and_goes(cluster: Cluster, slot: Slot, value: str) -> None:
    """Undo puts back other people's entries too: none may change its words on the way."""
    tables = KernelTables(cluster)
    before = everything(tables.read("n1"))

    tables.write("n1", [Write(slot, None, value)])
    during = everything(tables.read("n1"))
    tables.write("n1", [Write(slot, value, None)])
    after = everything(tables.read("n1"))

    assert during.get(slot) == value
    assert after == before


def test_a_value_is_replaced_by_another(cluster: Cluster) -> None:
    """A fault writes over the right one, undo over the wrong one."""
    tables = KernelTables(cluster)
    for slot, first, second in (
        (neigh("flannel.1", "10.244.77.0"), f"{MAC} permanent", "0a:de:ad:00:00:02 reachable"),
        (fdb("flannel.1", MAC), "172.18.0.9 permanent", "172.18.0.8 permanent"),
        (
            route("10.244.77.0/24"),
            "via 10.244.77.0 dev flannel.1 onlink proto 3",
            "blackhole proto 3",
        ),
    ):
        tables.write("n1", [Write(slot, None, first)])
        tables.write("n1", [Write(slot, first, second)])
        seen = everything(tables.read("n1")).get(slot)
        tables.write("n1", [Write(slot, second, None)])

        assert seen == second


def test_deleting_what_is_gone_is_no_error(cluster: Cluster) -> None:
    """Somebody may be quicker."""
    tables = KernelTables(cluster)
    before = everything(tables.read("n1"))

    tables.write("n1", [Write(slot, value, None) for slot, value in ENTRIES[:9]])

    assert everything(tables.read("n1")) == before


def test_an_address_is_exchanged_without_losing_the_entries(cluster: Cluster) -> None:
    """The last address of a device takes its routes and neighbours along."""
    tables = KernelTables(cluster)
    before = everything(tables.read("n1"))
    own, other = (Slot("addr", "flannel.1", f"10.244.{n}.0/32") for n in (1, 77))

    tables.write("n1", [Write(own, "present", None), Write(other, None, "present")])
    during = everything(tables.read("n1"))
    tables.write("n1", [Write(other, "present", None), Write(own, None, "present")])

    assert {s for s in before if s.table in {"neigh", "route"}} <= during.keys() | {
        s for s in before if s.key.startswith("10.244.1.")
    }
    assert everything(tables.read("n1")) == before


def test_the_mtu_of_a_device_is_put_back(cluster: Cluster) -> None:
    """A device made anew has the agent's."""
    tables, slot = KernelTables(cluster), Slot("link", "flannel.1", "")

    tables.write("n1", [Write(slot, "mtu 1450 up", "mtu 1400 up")])
    during = everything(tables.read("n1"))[slot]
    tables.write("n1", [Write(slot, "mtu 1400 up", "mtu 1450 up")])

    assert during == "mtu 1400 up"
    assert everything(tables.read("n1"))[slot] == "mtu 1450 up"


def test_what_the_kernel_refuses_is_said_with_node_and_entry(cluster: Cluster) -> None:
    """After all that could be done was done."""
    tables = KernelTables(cluster)
    bad = Write(route("10.244.77.0/24"), None, "via 10.244.77.0 dev flannel.1 proto 3")
    good = Write(fdb("flannel.1", MAC), None, "172.18.0.9 permanent")

    with pytest.raises(
        KernelRefusedError, match=r"n1: the kernel refused `route 10\.244\.77\.0/24"
    ):
        tables.write("n1", [bad, good])

    assert everything(tables.read("n1"))[good.slot] == good.value
    tables.write("n1", [Write(good.slot, good.value, None)])


def test_a_missing_device_and_a_missing_node_are_said(cluster: Cluster) -> None:
    """Nothing is written anywhere else instead."""
    tables = KernelTables(cluster)

    with pytest.raises(KernelRefusedError, match=r"device flannel\.9 is absent"):
        tables.write("n1", [Write(neigh("flannel.9", "10.0.0.1"), None, f"{MAC} permanent")])
    with pytest.raises(ClusterGoneError, match="n9"):
        tables.write("n9", [Write(route("10.0.0.0/24"), None, "blackhole proto 3")])
