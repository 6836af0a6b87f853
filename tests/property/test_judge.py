"""The judgement names exactly what is lost and exactly what is wrong, whatever was changed."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from clusters.state import ClusterState
from probes.judge import judge
from probes.judge.repair import break_argv
from probes.model import Entry, Judgement, State
from probes.testing import healthy_state
from tests.judging.changes import Change, Touched, applied, changes, shapes
from tests.judging.kernel import run
from tests.judging.world import World

_SETTINGS = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANY = ("peer", "underlay", "node")


def _entries(judgement: Judgement) -> set[Touched]:
    return {(e.observer, e.table, e.key) for f in judgement.findings for e in f.entries}


def _edges(judgement: Judgement) -> set[tuple[str, str]]:
    return {edge for finding in judgement.findings for edge in finding.edges}


def _exact(world: World, made: list[Change]) -> Judgement:
    """Check what every judgement must keep to; return it."""
    note(str([(one.node, one.name) for one in made]))
    observation = world.observe(full=True)
    judgement = judge(observation, world.state)
    note(str(judgement.findings))
    lost = world.lost_edges()
    explained = {pair for one in judgement.findings for pair in one.explained}

    assert _edges(judgement) == lost
    assert _entries(judgement) <= frozenset[Touched]().union(*(one.touched for one in made))
    assert judgement.verdict is (State.FAIL if lost else State.PASS)
    assert (not judgement.findings) is (not lost)
    assert (judgement.unpredicted, judgement.unfulfilled) == ((), ())
    assert {one.pair for one in observation.pairs if one.state is State.FAIL} == explained
    return judgement


def _detours(judgement: Judgement) -> set[Entry]:
    return {entry for one in judgement.notes if one.id == "detour" for entry in one.entries}


def _mended(state: ClusterState, judgement: Judgement) -> ClusterState:
    """After every printed repair; deletions first, for they may be of entries of a device that is made anew."""
    commands = [one for finding in judgement.findings for one in finding.repair]
    return run(state, sorted(commands, key=lambda one: one.argv[:3] != ("ip", "route", "del")))


@given(data=st.data())
@_SETTINGS
def test_one_change_of_an_entry_is_named_exactly(data: st.DataObject) -> None:
    """Any one wrong, missing, duplicated or hijacking entry on any node of any cluster in the promised range."""
    shape = data.draw(shapes())
    change = data.draw(changes(shape, kinds=ANY))
    world = World(applied(healthy_state(shape), change))
    assume(not world.uncertain())

    judgement = _exact(world, [change])

    if judgement.findings:
        assert _entries(judgement) == change.touched
        assert len(judgement.findings) == 1
        assert World(_mended(world.state, judgement)).lost_edges() == set()


@given(data=st.data())
@_SETTINGS
def test_one_change_is_named_exactly_where_neighbours_are_kept_per_pod(data: st.DataObject) -> None:
    """The same for the on-miss generation: one route for all, neighbours per pod address."""
    shape = data.draw(shapes(dialect="l3miss", most=6))
    change = data.draw(changes(shape, kinds=ANY))
    world = World(applied(healthy_state(shape), change))
    assume(not world.uncertain())

    judgement = _exact(world, [change])

    if judgement.findings:
        assert _entries(judgement) == change.touched
        assert World(_mended(world.state, judgement)).lost_edges() == set()


@given(data=st.data())
@_SETTINGS
def test_two_changes_are_named_exactly(data: st.DataObject) -> None:
    """Two at a time, wherever they are: on one path, on one node, or far apart; repaired by what is printed."""
    shape = data.draw(shapes(most=6))
    made = [data.draw(changes(shape, kinds=ANY)) for _ in range(2)]
    world = World(applied(healthy_state(shape), *made))
    assume(not world.uncertain())

    judgement = _exact(world, made)

    assert World(_mended(world.state, judgement)).lost_edges() == set()


@given(data=st.data())
@_SETTINGS
def test_a_node_that_lost_everything_is_one_finding(data: st.DataObject) -> None:
    """A device that is gone, down, flapped, or back without its entries: one cause, not one per peer."""
    shape = data.draw(shapes())
    change = data.draw(changes(shape, kinds=("collapse",)))
    world = World(applied(healthy_state(shape), change))

    judgement = _exact(world, [change])

    assert len(judgement.findings) == 1
    assert _entries(judgement) == change.touched
    mended = World(_mended(world.state, judgement))
    assert mended.lost_edges() == set()
    assert judge(mended.observe(), mended.state).verdict is State.PASS


@given(data=st.data())
@_SETTINGS
def test_harmless_changes_stay_pass(data: st.DataObject) -> None:
    """Left-overs, other states, other protocol numbers, detours that arrive: notes at most."""
    shape = data.draw(shapes())
    made = data.draw(st.lists(changes(shape, kinds=("harmless",)), min_size=1, max_size=1))
    state = applied(healthy_state(shape), *made)
    note(str([(one.node, one.name) for one in made]))

    judgement = judge(World(state).observe(), state)

    assert judgement.verdict is State.PASS
    assert judgement.findings == ()
    noted = {(e.observer, e.table, e.key) for one in judgement.notes for e in one.entries}
    assert made[0].touched <= noted


@given(data=st.data())
@_SETTINGS
def test_every_named_entry_is_needed(data: st.DataObject) -> None:
    """With one of them left out something is lost, or arrives only by way of another node, and that is noted.

    An entry that leads packets to a third node is at fault while that node cannot pass them on; once it can, it is a
    detour. Repair, then break, restores the same losses.
    """
    shape = data.draw(shapes(most=5))
    made = [data.draw(changes(shape, kinds=("peer", "underlay"))) for _ in range(2)]
    world = World(applied(healthy_state(shape), *made))
    assume(not world.uncertain())
    judgement = _exact(world, made)
    entries = [entry for finding in judgement.findings for entry in finding.entries]
    mended = _mended(world.state, judgement)

    for left_out in entries:
        again = World(run(mended, break_argv(left_out, world.state)))
        assert again.lost_edges() or left_out in _detours(judge(again.observe(), again.state))

    broken = mended
    for entry in reversed(entries):
        broken = run(broken, break_argv(entry, world.state))
    again = World(broken)
    assert again.lost_edges() == world.lost_edges()
    assert _entries(judge(again.observe(full=True), broken)) == _entries(judgement)
