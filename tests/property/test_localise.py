"""Losses that no table shows are localised from the matrix alone, singly, two at a time, and beside table causes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from clusters.state import ClusterState
from probes.judge import judge
from probes.model import Judgement, State
from probes.testing import Shape, healthy_state
from tests.judging.changes import applied, changes, shapes
from tests.judging.world import Weather, World

_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Drops = Callable[[str, str, str], bool]


class Cause(NamedTuple):
    """A loss outside the tables, with the names that a finding must give."""

    ids: frozenset[str]
    edges: frozenset[tuple[str, str]] = frozenset()
    nodes: frozenset[str] = frozenset()
    pods: frozenset[str] = frozenset()
    replicas: frozenset[str] = frozenset()
    drops: Drops = lambda _src, _dst, _protocol: False
    refused: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()


def homes(state: ClusterState) -> dict[str, str]:
    """The node of every place."""
    return {p.name: p.node for p in (*state.inventory.pods, *state.inventory.replicas)}


def one_way(state: ClusterState, a: str, b: str) -> Cause:
    """Everything from one node to another is lost."""
    home = homes(state)
    return Cause(
        ids=frozenset({"one-way-drop"}),
        edges=frozenset({(a, b)}),
        drops=lambda src, dst, _: (home[src], home[dst]) == (a, b),
    )


def dark(state: ClusterState, a: str) -> Cause:
    """Nothing goes to or from a node."""
    home = homes(state)
    return Cause(
        ids=frozenset({"node-dark"}),
        nodes=frozenset({a}),
        drops=lambda src, dst, _: home[src] != home[dst] and a in {home[src], home[dst]},
    )


def stopped(replica: str) -> Cause:
    """A replica's port is closed."""
    names = frozenset({replica})
    return Cause(ids=frozenset({"replica-down"}), replicas=names, refused=names)


def muted(replica: str) -> Cause:
    """A replica does not answer."""
    names = frozenset({replica})
    return Cause(ids=frozenset({"replica-mute"}), replicas=names, mute=names)


def cut_off(place: str, replicas: frozenset[str]) -> Cause:
    """Nothing reaches a pod or replica, and nothing comes from it."""
    names = frozenset({place})
    return Cause(
        ids=frozenset({"pod-unreachable"}),
        pods=names - replicas,
        replicas=names & replicas,
        drops=lambda src, dst, _: place in {src, dst},
    )


@st.composite
def losses(draw: st.DrawFn, state: ClusterState, shape: Shape) -> Cause:
    """One cause outside the tables that the matrix can name."""
    a, b = draw(st.lists(st.integers(0, shape.nodes - 1), min_size=2, max_size=2, unique=True))
    replicas = [one.name for one in state.inventory.replicas]
    pool = [
        one_way(state, f"n{a}", f"n{b}"),
        stopped(draw(st.sampled_from(replicas))),
        muted(draw(st.sampled_from(replicas))),
    ]
    if shape.pods > 1:  # a node's only pod cannot be told from its node without counters
        pool += [dark(state, f"n{a}"), cut_off(f"n{a}-p1", frozenset(replicas))]
    return draw(st.sampled_from(pool))


def weather(*causes: Cause) -> Weather:
    """All of them at once."""
    return Weather(
        drops=lambda *leg: any(cause.drops(*leg) for cause in causes),
        refused=frozenset[str]().union(*(cause.refused for cause in causes)),
        mute=frozenset[str]().union(*(cause.mute for cause in causes)),
    )


def named(judgement: Judgement) -> tuple[set[tuple[str, str]], set[str], set[str], set[str]]:
    """Edges, nodes, pods and replicas that the findings name."""
    found = judgement.findings
    return (
        {edge for one in found for edge in one.edges},
        {node for one in found for node in one.nodes},
        {pod for one in found for pod in one.pods},
        {replica for one in found for replica in one.replicas},
    )


@given(data=st.data())
@_SETTINGS
def test_one_loss_that_no_table_shows_is_named_exactly(data: st.DataObject) -> None:
    """The directed edge, node, pod or replica and nothing else; said to be without a cause in the tables."""
    shape = data.draw(shapes(most=7))
    state = healthy_state(shape)
    cause = data.draw(losses(state, shape))
    world = World(state, weather(cause))

    judgement = judge(world.observe(), state)

    note(str(judgement.findings))
    assert judgement.verdict is State.FAIL
    (finding,) = judgement.findings
    assert {finding.id} == cause.ids
    assert named(judgement) == (cause.edges, cause.nodes, cause.pods, cause.replicas)
    assert finding.entries == ()
    assert len(finding.explained) == finding.of


@given(data=st.data())
@_SETTINGS
def test_a_loss_beside_a_wrong_entry_is_told_apart(data: st.DataObject) -> None:
    """The entry is named with its edges, and the loss that no table shows with its own; neither hides the other."""
    shape = data.draw(shapes(most=6))
    change = data.draw(changes(shape, kinds=("peer",)))
    state = applied(healthy_state(shape), change)
    tables = World(state)
    assume(not tables.uncertain())
    lost = tables.lost_edges()
    assume(lost)
    concerned = {node for edge in lost for node in edge}
    others = [node for node in (f"n{i}" for i in range(shape.nodes)) if node not in concerned]
    assume(len(others) > 1)
    a, b = others[:2]
    cause = one_way(state, a, b)

    judgement = judge(World(state, weather(cause)).observe(full=True), state)

    note(f"{change.node} {change.name} {judgement.findings}")
    assert named(judgement)[0] == lost | cause.edges
    entries = {(e.observer, e.table, e.key) for f in judgement.findings for e in f.entries}
    assert entries == change.touched


@given(data=st.data())
@_SETTINGS
def test_an_edge_and_a_replica_at_once_are_both_named(data: st.DataObject) -> None:
    """A dead column beside a dead direction: rows and columns of the matrix are told apart."""
    shape = data.draw(shapes(most=6))
    state = healthy_state(shape)
    a, b = data.draw(st.lists(st.integers(0, shape.nodes - 1), min_size=2, max_size=2, unique=True))
    replica = data.draw(st.sampled_from(state.inventory.replicas)).name
    edge, column = one_way(state, f"n{a}", f"n{b}"), muted(replica)

    judgement = judge(World(state, weather(edge, column)).observe(), state)

    note(str(judgement.findings))
    assert named(judgement) == (edge.edges, set(), set(), column.replicas)


@given(data=st.data())
@_SETTINGS
def test_a_lossy_direction_is_named_like_a_dead_one(data: st.DataObject) -> None:
    """Three of four packets lost one way: some pairs get through, the edge is named all the same."""
    shape = data.draw(shapes(most=6))
    state = healthy_state(shape)
    a, b = data.draw(st.lists(st.integers(0, shape.nodes - 1), min_size=2, max_size=2, unique=True))
    cause = one_way(state, f"n{a}", f"n{b}")
    lossy = Weather(drops=cause.drops, share=0.75)

    judgement = judge(World(state, lossy).observe(), state)

    note(str(judgement.findings))
    assert named(judgement) == (cause.edges, set(), set(), set())
