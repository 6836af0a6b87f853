"""Whatever moment graymesh dies at, what the ledger holds is enough to put the cluster right."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.fake import FakeCluster
from chaos.fake_bench import Bench
from chaos.goals import look
from chaos.journal import Event
from chaos.model import HealthGoal, Kind
from chaos.registry import FAULTS
from chaos.tables import Finding
from chaos.world import World
from clusters.ledger import Ledger

CASES: list[tuple[str, dict[str, str]]] = [
    ("founding", {"victim": "n0", "peers": "n2,n3"}),
    ("vtep-recreate", {"victim": "n1", "peers": "n0,n2,n3"}),
    ("vtep-delete", {"victim": "n2"}),
    *(
        ("peer-entry", {"observer": "n1", "owner": "n2", "table": table, "mode": mode})
        for table in ("neigh", "fdb", "route")
        for mode in ("wrong", "missing", "duplicate")
    ),
    ("underlay-drop", {"victim": "n0", "peers": "n1,n2", "direction": "both"}),
    ("replica-stop", {"replica": "dns-1"}),
    ("replica-mute", {"replica": "dns-1"}),
    ("vip-rules-missing", {"victim": "n3"}),
    ("node-restart", {"victim": "n1"}),
    ("node-recreate", {"victim": "n1"}),
]
DIALECTS = ("static", "persistent", "l3miss")


class Moment(NamedTuple):
    """The cluster and the bytes of the ledger when an event was announced."""

    what: str
    cluster: FakeCluster
    ledger: bytes


class Story(NamedTuple):
    """An injection and its undo, moment by moment, and how the cluster was before."""

    fault: str
    before: FakeCluster
    moments: tuple[Moment, ...]


@functools.cache
def story(number: int, dialect: str) -> Story:
    """One case played through."""
    fault, params = CASES[number]
    moments: list[Moment] = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(FakeCluster(dialect=dialect), Ledger(Path(directory) / "ledger.jsonl"))
        before = copy.deepcopy(bench.cluster)

        def watch(event: Event) -> None:
            ledger = bench.ledger.path.read_bytes() if bench.ledger.size_bytes() else b""
            moments.append(Moment(event.what, copy.deepcopy(bench.cluster), ledger))

        engine = bench.engine(watch)
        engine.undo(engine.inject(fault, params).id)
    return Story(fault, before, tuple(moments))


def possible(number: int, dialect: str) -> bool:
    """An on-miss agent keeps no route of a peer, and writes a missing neighbour at once."""
    params: Mapping[str, str] = CASES[number][1]
    table, mode = params.get("table"), params.get("mode")
    return dialect != "l3miss" or not (table == "route" or (table, mode) == ("neigh", "missing"))


STORIES = (
    st.tuples(st.integers(0, len(CASES) - 1), st.sampled_from(DIALECTS))
    .filter(lambda drawn: possible(*drawn))
    .map(lambda drawn: story(*drawn))
)


@settings(deadline=None)  # the disk's time is not what is tested
@given(told=STORIES, data=st.data())
def test_killed_at_any_moment_undo_puts_it_right(told: Story, data: st.DataObject) -> None:
    """Before, between and after any two actions, of the injection and of its undo."""
    moment = data.draw(st.sampled_from(told.moments))

    with tempfile.TemporaryDirectory() as directory:
        bench = _bench(directory, moment.cluster, moment.ledger)
        bench.engine().undo_all()

        _assert_restored(told, bench)
        assert bench.engine().open_injections() == ()


@settings(deadline=None)  # the disk's time is not what is tested
@given(told=STORIES, data=st.data())
def test_a_ledger_cut_off_at_any_byte_is_safe(told: Story, data: st.DataObject) -> None:
    """With the injection's record it is put right; without it nothing is touched."""
    moment = data.draw(st.sampled_from(told.moments))
    kept = data.draw(st.integers(0, len(moment.ledger)))

    with tempfile.TemporaryDirectory() as directory:
        bench = _bench(directory, moment.cluster, moment.ledger[:kept])
        untouched = bench.portrait()
        bench.engine().undo_all()

        if b"\n" in moment.ledger[:kept]:
            _assert_restored(told, bench)
        else:
            assert bench.portrait() == untouched


@settings(deadline=None)  # the disk's time is not what is tested
@given(told=STORIES, data=st.data())
def test_undo_interrupted_any_number_of_times_still_ends_well(
    told: Story, data: st.DataObject
) -> None:
    """Each try dies at some event; the last one gets through."""
    moment = data.draw(st.sampled_from(told.moments))
    deaths = data.draw(st.lists(st.integers(0, 6), max_size=3))

    with tempfile.TemporaryDirectory() as directory:
        bench = _bench(directory, moment.cluster, moment.ledger)
        for death in deaths:
            _die_in_undo(bench, death)
        bench.engine().undo_all()

        _assert_restored(told, bench)


class _Killed(BaseException):
    """Nothing catches it."""


def _die_in_undo(bench: Bench, at: int) -> None:
    left = iter([False] * at)

    def watch(_event: Event) -> None:
        if next(left, True):
            raise _Killed

    try:
        bench.engine(watch).undo_all()
    except _Killed:
        return


def _bench(directory: str, cluster: FakeCluster, ledger: bytes) -> Bench:
    path = Path(directory) / "ledger.jsonl"
    if ledger:
        path.write_bytes(ledger)
    return Bench(copy.deepcopy(cluster), Ledger(path))


def _assert_restored(told: Story, bench: Bench) -> None:
    if FAULTS[told.fault].kind is Kind.REVERSIBLE:
        before = Bench(told.before, bench.ledger)
        assert bench.portrait() == before.portrait()
        return
    world = World(bench.cluster, bench.cluster)
    for node in bench.cluster.inventory().nodes:
        seen = look(HealthGoal(node=node.name), world)
        assert seen.findings == (Finding("met", f"{node.name}: healthy"),)
