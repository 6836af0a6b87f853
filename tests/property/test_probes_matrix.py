"""Laws of the grids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusters.topology import Inventory, Node, Pod, Replica
from probes.matrix import grid
from probes.model import PROTOCOLS, VIP, Observation, Pair, PairResult, State

NODES = ("n0", "n1", "n2")
PODS = ("n0-p0", "n0-p1", "n1-p0")
REPLICAS = ("dns-0", "dns-1")
INVENTORY = Inventory(
    provider="paper",
    name="paper",
    vips=("10.96.0.10",),
    nodes=tuple(Node(name=name, underlay=("u",), pod_cidrs=("c",)) for name in NODES),
    pods=tuple(Pod(name=name, node=name[:2], ips=("p",)) for name in PODS),
    replicas=tuple(Replica(name=name, node="n2", ips=("r",)) for name in REPLICAS),
)


@st.composite
def results(draw: st.DrawFn) -> PairResult:
    """Any result that a sweep of this inventory may give."""
    protocol = draw(st.sampled_from(PROTOCOLS))
    src = draw(st.sampled_from(PODS))
    if protocol.startswith("vip"):
        dst = VIP
    elif protocol.startswith("dns"):
        dst = draw(st.sampled_from(REPLICAS))
    else:
        dst = draw(st.sampled_from((*PODS, *REPLICAS)))
    state = draw(st.sampled_from(tuple(State)))
    return PairResult(pair=Pair(src, dst, protocol), sent=5, ok=5, state=state)


SEEN = st.lists(results(), max_size=30)


def observed(pairs: list[PairResult]) -> Observation:
    """One sweep with these results."""
    return Observation(pairs=tuple(pairs), timeout_s=1.0, duration_s=1.0)


@given(SEEN)
def test_every_node_and_replica_has_its_place_whatever_was_seen(pairs: list[PairResult]) -> None:
    """A vantage that vanished is unknown, not absent."""
    table = grid(INVENTORY, observed(pairs)).replicas

    assert table.rows == NODES
    assert table.columns[:3] == (*REPLICAS, VIP)
    assert {len(cells) for cells in table.cells} == {len(table.columns)}
    assert set("".join(table.cells)) <= set(".X?")


@given(SEEN)
def test_a_cell_is_the_worst_of_its_pairs(pairs: list[PairResult]) -> None:
    """Counted again, the slow way."""
    table = grid(INVENTORY, observed(pairs)).replicas

    for node in NODES:
        for replica in REPLICAS:
            states = {
                r.state
                for r in pairs
                if r.pair.src.startswith(node)
                and r.pair.dst == replica
                and r.pair.protocol != "oneway"
            }
            expected = "X" if State.FAIL in states else "." if states == {State.PASS} else "?"
            assert table.cell(node, replica) == expected


@given(SEEN, st.randoms())
def test_the_order_of_results_does_not_matter(pairs: list[PairResult], random: object) -> None:
    """A grid shows what was seen, not when."""
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert grid(INVENTORY, observed(shuffled)) == grid(INVENTORY, observed(pairs))
