"""What people do by hand while a fault is in: repairs, other changes, kills."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from chaos.engine import Engine, recover
from chaos.model import Injection
from chaos.testing import portrait
from clusters.ledger import Ledger
from clusters.lock import held
from clusters.providers.base import Cluster

pytestmark = pytest.mark.twin

FOUNDING = {"victim": "n0", "peers": "n2,n3"}
WRONG = {"observer": "n1", "owner": "n2", "table": "neigh"}
ALIEN = "0e:00:00:00:00:77"


@pytest.fixture
def engine(twin: str, cluster: Cluster) -> Engine:
    """An engine on the module's twin; nobody else uses that."""
    return Engine(cluster, ledger=Ledger.of(twin), run_id="r-1")


def neigh(node: str, address: str, mac: str) -> tuple[str, list[str]]:
    """The repair command of a neighbour entry, as `diagnose` prints it."""
    words = ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "flannel.1"]
    return node, [*words, "nud", "permanent"]


def live_mac(cluster: Cluster, node: str) -> str:
    """The MAC that the node has now."""
    return cluster.inventory().node(node).vtep.mac or ""


def shown(cluster: Cluster, node: str, address: str) -> str:
    """The neighbour entry in the kernel's own words."""
    return cluster.run(node, ["ip", "neigh", "show", "to", address, "dev", "flannel.1"]).stdout


def test_the_printed_repair_is_taken_back_with_the_fault(cluster: Cluster, engine: Engine) -> None:
    """It names the MAC that undo takes away."""
    before = portrait(cluster)
    engine.inject("founding", FOUNDING)
    node, argv = neigh("n2", "10.244.0.0", live_mac(cluster, "n0"))
    cluster.run(node, argv)

    (report,) = engine.undo_all()

    assert report.foreign == ()
    assert portrait(cluster) == before


def test_a_value_of_somebody_else_stays_and_is_reported(cluster: Cluster, engine: Engine) -> None:
    """Neither ours nor the one from before."""
    right = live_mac(cluster, "n2")
    engine.inject("peer-entry", WRONG)
    node, argv = neigh("n1", "10.244.2.0", ALIEN)
    cluster.run(node, argv)

    (report,) = engine.undo_all()
    left = shown(cluster, "n1", "10.244.2.0")
    node, argv = neigh("n1", "10.244.2.0", right)
    cluster.run(node, argv)

    assert report.foreign == (f"n1: neigh 10.244.2.0 dev flannel.1: {ALIEN} permanent",)
    assert ALIEN in left


def test_a_foreign_rule_beside_ours_stays(cluster: Cluster, engine: Engine) -> None:
    """Rules are deleted by their own words, the table only when it is bare."""
    rule = ["PREROUTING", "-s", "192.0.2.7/32", "-j", "DROP"]
    before = portrait(cluster)
    engine.inject("underlay-drop", {"victim": "n0", "peers": "n1"})
    cluster.run("n0", ["iptables", "-t", "raw", "-I", *rule])

    engine.undo_all()
    left = cluster.run("n0", ["iptables-save", "-t", "raw"]).stdout
    cluster.run("n0", ["iptables", "-t", "raw", "-D", *rule])
    cluster.run("n0", ["nft", "delete", "table", "ip", "raw"])

    assert "192.0.2.7" in left
    assert "graymesh" not in left
    assert portrait(cluster) == before


def test_a_proxy_that_wrote_its_rules_again_is_no_difference(
    cluster: Cluster, engine: Engine
) -> None:
    """What kube-proxy does every half minute."""
    before = portrait(cluster)
    engine.inject("vip-rules-missing", {"victim": "n3"})
    cluster.sync_proxy("n3")  # type: ignore[attr-defined]  # a twin has that power

    (report,) = engine.undo_all()

    assert report.foreign == ()
    assert portrait(cluster) == before


def test_break_fix_break_is_exact(cluster: Cluster, engine: Engine) -> None:
    """`--prove`: repaired inside the block, broken again after it exactly as before, then undone."""
    before = portrait(cluster)
    engine.inject("founding", FOUNDING)
    broken = portrait(cluster)
    old = shown(cluster, "n2", "10.244.0.0").split()[2]
    new = live_mac(cluster, "n0")

    with engine.repaired([neigh("n2", "10.244.0.0", new)], [neigh("n2", "10.244.0.0", old)]):
        mended = shown(cluster, "n2", "10.244.0.0")
    again = portrait(cluster)
    engine.undo_all()

    assert new in mended
    assert again == broken
    assert portrait(cluster) == before


@pytest.mark.parametrize("at", range(8))
def test_killed_in_the_middle_of_a_proof_recover_restores_the_state_before_the_fault(
    twin: str, cluster: Cluster, at: int
) -> None:
    """The repair must be broken again before the fault is undone, else undo takes it for somebody else's."""
    before = portrait(cluster)
    right = live_mac(cluster, "n2")

    def prove(engine: Engine) -> None:
        wrong = shown(cluster, "n1", "10.244.2.0").split()[2]
        repairs = [neigh("n1", "10.244.2.0", ALIEN), neigh("n1", "10.244.2.0", right)]
        with engine.repaired(repairs, [neigh("n1", "10.244.2.0", wrong)]):
            pass

    _killed_after(twin, cluster, at, prove)
    report = recover(twin)

    assert [one.foreign for one in report.undone] == [()]
    assert portrait(cluster) == before


def _killed_after(
    twin: str, cluster: Cluster, events: int, prove: Callable[[Engine], None]
) -> Injection | None:
    """Inject, then prove in a process that ends without clean-up at that event of the proof."""
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
        return None
    status = 1
    try:
        with held(twin, "run r-1"):
            left = iter(range(events))

            def watch(event: object) -> None:
                if str(getattr(event, "id", "")).startswith("repair-") and next(left, None) is None:
                    os._exit(137)

            engine = Engine(cluster, ledger=Ledger.of(twin), run_id="r-1", watch=watch)
            engine.inject("peer-entry", WRONG)
            prove(engine)
    finally:
        os._exit(status)
