"""Grids of what was seen."""

from __future__ import annotations

import time

from clusters.topology import Inventory, Node, Pod, Replica
from probes.matrix import grid
from probes.model import Observation, Pair, PairResult, State


def inventory(nodes: int = 3, *, ready: bool = True) -> Inventory:
    """Two pods on every node, replicas on the first two."""
    return Inventory(
        provider="paper",
        name="paper",
        vips=("10.96.0.10",),
        nodes=tuple(Node(name=f"n{i}", underlay=("u",), pod_cidrs=("c",)) for i in range(nodes)),
        pods=tuple(
            Pod(name=f"n{i}-p{j}", node=f"n{i}", ips=("p",)) for i in range(nodes) for j in (0, 1)
        ),
        replicas=(
            Replica(name="dns-0", node="n0", ips=("r",)),
            Replica(name="dns-1", node="n1", ips=("r",), ready=ready),
        ),
    )


def seen(results: dict[tuple[str, str, str], State]) -> Observation:
    """An observation of these pairs."""
    return Observation(
        pairs=tuple(
            PairResult(pair=Pair(*pair), sent=5, ok=5, state=state)
            for pair, state in results.items()
        ),
        timeout_s=1.0,
        duration_s=1.0,
    )


def test_a_cell_is_failed_by_any_pair_and_protocol() -> None:
    """One pod of two, one protocol of two."""
    table = grid(
        inventory(),
        seen(
            {
                ("n0-p0", "dns-0", "dns-udp"): State.PASS,
                ("n0-p1", "dns-0", "dns-udp"): State.FAIL,
                ("n1-p0", "dns-0", "icmp"): State.PASS,
                ("n1-p0", "dns-0", "dns-tcp"): State.FAIL,
                ("n2-p0", "dns-0", "dns-tcp"): State.PASS,
            }
        ),
    ).replicas

    assert [table.cell(node, "dns-0") for node in table.rows] == ["X", "X", "."]


def test_unknown_is_stronger_than_pass_and_weaker_than_fail() -> None:
    """Unknown is never pass."""
    table = grid(
        inventory(),
        seen(
            {
                ("n0-p0", "vip", "vip"): State.PASS,
                ("n0-p1", "vip", "vip"): State.UNKNOWN,
                ("n1-p0", "vip", "vip"): State.FAIL,
                ("n1-p1", "vip", "vip"): State.UNKNOWN,
                ("n2-p0", "vip", "vip"): State.PASS,
            }
        ),
    ).replicas

    assert [table.cell(node, "vip") for node in table.rows] == ["?", "X", "."]


def test_rows_and_columns_come_from_the_inventory() -> None:
    """What nothing was measured of is there, and unknown."""
    table = grid(inventory(), seen({("n0-p0", "dns-0", "icmp"): State.PASS})).replicas

    assert table.rows == ("n0", "n1", "n2")
    assert table.columns == ("dns-0", "dns-1", "vip")
    assert table.cells == (".??", "???", "???")


def test_a_replica_that_is_not_ready_is_classed_apart() -> None:
    """Its column expects nothing."""
    table = grid(inventory(ready=False), seen({("n0-p0", "dns-0", "icmp"): State.PASS})).replicas

    assert table.cells == (".-?", "?-?", "?-?")


def test_pinned_queries_have_their_own_column() -> None:
    """One pinned flow says 0 % or 100 %, which must not colour the VIP's cell."""
    results = {
        ("n0-p0", "vip", "vip"): State.PASS,
        ("n0-p0", "vip", "vip-pinned"): State.FAIL,
    }

    table = grid(inventory(), seen(results)).replicas

    assert table.columns == ("dns-0", "dns-1", "vip", "vip-pinned")
    assert (table.cell("n0", "vip"), table.cell("n0", "vip-pinned")) == (".", "X")


def test_oneway_names_the_direction() -> None:
    """Rows send, columns receive; a node expects nothing of itself."""
    results = {
        (f"n{i}-p0", f"n{j}-p0", "oneway"): State.FAIL if (i, j) == (2, 0) else State.PASS
        for i in range(3)
        for j in range(3)
        if i != j
    }

    grids = grid(inventory(), seen(results))

    assert grids.oneway is not None
    assert grids.oneway.cells == ("-..", ".-.", "X.-")
    assert grids.icmp is None


def test_pods_of_one_node_show_on_the_diagonal() -> None:
    """Where they were probed."""
    table = grid(inventory(), seen({("n0-p0", "n0-p1", "icmp"): State.FAIL})).icmp

    assert table is not None
    assert table.cells == ("X??", "?-?", "??-")


def test_a_thousand_nodes_take_a_moment() -> None:
    """The decision layer works at sizes that no test machine holds; half a million directed pairs here."""
    size = 1000
    results = {
        (f"n{i}-p0", f"n{(i + step) % size}-p0", "oneway"): State.PASS
        for i in range(size)
        for step in range(1, 501)
    }
    observation = seen(results)

    started_s = time.process_time()
    table = grid(inventory(size), observation).oneway
    taken_s = time.process_time() - started_s

    assert table is not None
    assert table.cells[0] == "-" + "." * 500 + "?" * 499
    assert taken_s < 3.0
