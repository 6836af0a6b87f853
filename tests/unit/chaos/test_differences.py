"""What remains different after a healing fault."""

from chaos.differences import about, changed, in_words
from chaos.fake import FakeCluster
from chaos.model import Change, Facts

WAS = Facts("0a:00:00:00:00:01", "172.18.0.2", "10.244.0.0/24", "1")
IS = Facts("0a:00:00:00:00:09", "172.18.0.2", "10.244.7.0/24", "2")


def test_only_nodes_that_changed_are_listed() -> None:
    """And a change of boot id alone is one."""
    again = WAS._replace(boot_id="2")

    assert changed({"n0": WAS, "n1": WAS}, {"n0": WAS, "n1": again}) == (Change("n1", WAS, again),)
    assert Change("n1", WAS, again).rebooted
    assert not Change("n1", WAS, WAS).rebooted


def test_a_change_is_said_field_by_field() -> None:
    """What was, what is."""
    lines = in_words([Change("n0", WAS, IS)], {}, {})

    assert lines == (
        "n0: VTEP MAC was 0a:00:00:00:00:01, is 0a:00:00:00:00:09",
        "n0: podCIDR was 10.244.0.0/24, is 10.244.7.0/24",
        "n0: rebooted",
    )


def test_lines_that_several_nodes_share_are_said_once() -> None:
    """A cluster of a hundred nodes has the same residue on ninety-nine."""
    before = {"n1": ("old", "kept"), "n2": ("old",), "n3": ("old",)}
    after = {"n1": ("kept",), "n2": ("new",), "n3": ("new",)}

    assert in_words([], before, after) == (
        "on n1, n2, n3 gone: old",
        "on n2, n3 new: new",
    )


def test_tables_are_searched_for_mac_and_pod_cidr_on_all_other_nodes() -> None:
    """An address that only begins alike is another node's."""
    cluster = FakeCluster(12)
    node = cluster.inventory().node("n1")
    marks = [Facts(node.vtep.mac, node.underlay[0], node.pod_cidrs[0])]

    lines = about(cluster.read_all(), marks, but=["n1"])

    assert "n1" not in lines
    assert len(lines["n0"]) == 3
    assert all("10.244.1.0" in line or str(node.vtep.mac) in line for line in lines["n0"])
