"""Injecting and undoing on a cluster in memory."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from chaos import records
from chaos.fake import FakeCluster
from chaos.fake_bench import Bench
from chaos.faults.replica_stop import ReplicaStop
from chaos.journal import Event
from chaos.model import Arguments, Kind, Phase, Plan, ReplicaGoal, Slot, Step, View
from chaos.records import Moved, Recorded
from chaos.registry import FAULTS
from chaos.tables import fdb, neigh
from clusters.errors import (
    ClusterBusyError,
    ClusterGoneError,
    FaultNotAppliedError,
    InterruptedRunError,
    SetupError,
    UndoError,
    UsageError,
)
from clusters.ledger import Ledger
from clusters.providers.base import Completed

FOUNDING = {"victim": "n0", "peers": "n2,n3"}
WRONG_NEIGH = {"observer": "n1", "owner": "n2", "table": "neigh"}
PEER = neigh("flannel.1", "10.244.2.0")
ALIEN = "0e:00:00:00:00:77 permanent"


class Lying(ReplicaStop):
    """Promises one mode and brings about another."""

    name = "lying"

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:
        """Mute, though it says stopped."""
        plan = super().plan(view, args, tag=tag, rng=rng)
        (step,) = plan.steps
        replica = args.one("replica")
        return Plan(
            claims=plan.claims,
            steps=(Step(do=ReplicaGoal(replica=replica, mode="mute"), undo=step.undo),),
            expect=(ReplicaGoal(replica=replica, mode="stopped"),),
        )


class Stubborn(ReplicaStop):
    """Asks for a mode, in undo, that never comes."""

    name = "stubborn"

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:
        """Undo to a state that cannot be reached."""
        plan = super().plan(view, args, tag=tag, rng=rng)
        (step,) = plan.steps
        return Plan(
            claims=plan.claims,
            steps=(
                Step(undo=ReplicaGoal(replica=args.one("replica"), mode="never")),
                Step(do=step.do, undo=step.undo),
            ),
        )


ALL = MappingProxyType({**FAULTS, "lying": Lying(), "stubborn": Stubborn()})


def test_an_injection_shows_its_effect_and_undo_leaves_nothing(bench: Bench) -> None:
    """The whole way, once."""
    before = bench.portrait()
    engine = bench.engine()

    injection = engine.inject("founding", FOUNDING)
    broken = bench.portrait()
    report = engine.undo(injection.id)

    assert injection.kind is Kind.REVERSIBLE
    assert injection.phase is Phase.VERIFIED
    assert any("agent frozen" in line for line in injection.proof)
    assert [change.node for change in injection.changes] == ["n0"]
    assert broken != before
    assert bench.portrait() == before
    assert (report.foreign, report.differences) == ((), ())
    assert bench.ledger.replay() == ()


def test_every_move_is_in_the_ledger_before_what_follows(bench: Bench) -> None:
    """What was done is on the disk before it is done: a kill at any moment finds it there."""
    seen: list[tuple[str, Phase | None]] = []

    def watch(event: Event) -> None:
        entries = [e for e in records.read(bench.ledger) if isinstance(e, Moved | Recorded)]
        last = entries[-1] if entries else None
        seen.append((event.what, last.phase if isinstance(last, Moved) else Phase.RECORDED))

    engine = bench.engine(watch)
    engine.undo(engine.inject("replica-stop", {"replica": "dns-1"}).id)

    assert seen == [
        ("recorded", Phase.RECORDED),
        ("step 1 of 1 begins", Phase.RECORDED),
        ("step 1 of 1 done", Phase.RECORDED),
        ("applied", Phase.APPLIED),
        ("verified", Phase.VERIFIED),
        ("undo 1 of 1 begins", Phase.VERIFIED),
        ("undo 1 of 1 done", Phase.VERIFIED),
        ("undone", Phase.UNDONE),
        ("clean", Phase.CLEAN),
    ]


def test_another_process_undoes_what_the_ledger_shows(bench: Bench) -> None:
    """`inject` and `undo` are two commands."""
    before = bench.portrait()
    injection = bench.engine().inject("founding", FOUNDING)

    later = bench.engine()
    found = later.open_injections()
    (report,) = later.undo_all()

    assert [(one.id, one.params, one.phase) for one in found] == [
        (injection.id, FOUNDING, Phase.VERIFIED)
    ]
    assert report.id == injection.id
    assert bench.portrait() == before


def test_undo_is_idempotent(bench: Bench) -> None:
    """A second undo reports the same and does nothing; an id that never was is refused."""
    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)

    first = engine.undo(injection.id)
    after = bench.portrait()

    assert engine.undo(injection.id) == first
    assert bench.portrait() == after
    with pytest.raises(UsageError, match="no injection 'nothing' is open; open ones: none"):
        engine.undo("nothing")


def test_an_unknown_fault_is_refused_with_those_there_are(bench: Bench) -> None:
    """Exit 2, and nothing is written."""
    with pytest.raises(UsageError, match="unknown fault 'foundling'; there are: founding, node-"):
        bench.engine().inject("foundling", {})

    assert bench.ledger.size_bytes() is None


def test_a_fault_of_other_providers_is_refused(bench: Bench) -> None:
    """It says where it works."""
    bench.cluster.provider = "snapshot"

    with pytest.raises(UsageError, match="fault founding works on twin, kind, not on snapshot"):
        bench.engine().inject("founding", FOUNDING)


def test_an_overlapping_fault_is_refused_and_told_who_holds_the_key(bench: Bench) -> None:
    """Two faults on one entry could not be told apart, nor undone in either order."""
    engine = bench.engine()
    first = engine.inject("founding", FOUNDING)
    broken = bench.portrait()

    with pytest.raises(
        ClusterBusyError, match=f"tables:n1:n0:neigh .*{first.id}: run `graymesh undo"
    ):
        engine.inject("peer-entry", {**WRONG_NEIGH, "owner": "n0"})

    assert bench.portrait() == broken
    assert engine.inject("peer-entry", WRONG_NEIGH).phase is Phase.VERIFIED


def test_two_tables_of_one_pair_can_be_wrong_at_once(bench: Bench) -> None:
    """Two causes at a time, undone in the order in which they came."""
    before = bench.portrait()
    engine = bench.engine()
    first = engine.inject("peer-entry", WRONG_NEIGH)
    second = engine.inject("peer-entry", {**WRONG_NEIGH, "table": "fdb"})

    engine.undo(first.id)
    engine.undo(second.id)

    assert bench.portrait() == before


def test_an_effect_that_does_not_read_back_is_undone_and_said(bench: Bench) -> None:
    """A fault that did not happen would make every verdict after it worthless."""
    before = bench.portrait()

    with pytest.raises(FaultNotAppliedError, match=r"lying-.*dns-1: mute"):
        bench.engine(faults=ALL).inject("lying", {"replica": "dns-1"})

    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


@pytest.mark.parametrize("at", range(4))
def test_an_interrupted_injection_is_undone(bench: Bench, at: int) -> None:
    """Ctrl-C comes between any two actions."""
    before = bench.portrait()
    moments = iter(range(100))

    def watch(_event: Event) -> None:
        if next(moments) == at:
            raise InterruptedRunError("interrupted by SIGINT")

    with pytest.raises(InterruptedRunError, match="SIGINT"):
        bench.engine(watch).inject("replica-stop", {"replica": "dns-1"})

    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_a_failed_undo_stays_in_the_ledger_and_the_others_are_tried(bench: Bench) -> None:
    """Exit 5; the ledger says what is left."""
    engine = bench.engine(faults=ALL)
    stuck = engine.inject("stubborn", {"replica": "dns-0"})
    engine.inject("replica-mute", {"replica": "dns-1"})
    bench.cluster.refuses = "never"

    with pytest.raises(UndoError, match=f"{stuck.id}: not undone: .*graymesh recover --name fake"):
        engine.undo_all()

    assert bench.cluster.replica_mode("dns-1") == "serving"
    assert [one.id for one in bench.engine().open_injections()] == [stuck.id]


def test_an_undo_that_fails_after_a_failed_injection_says_both(bench: Bench) -> None:
    """The clean-up error stands beside the first, not in its place."""

    def watch(event: Event) -> None:
        if event.what == "step 1 of 1 done":
            raise SetupError("the disk is full")

    bench.cluster.refuses = "never"

    with pytest.raises(UndoError, match=r"stubborn-.*not undone.*\(after: the disk is full\)"):
        bench.engine(watch, faults=ALL).inject("stubborn", {"replica": "dns-0"})


def test_undo_all_stops_when_its_time_is_over(bench: Bench) -> None:
    """What was not tried is said, and stays in the ledger."""
    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)

    with pytest.raises(UndoError, match=f"{injection.id}: not tried: 0 s were over"):
        engine.undo_all(deadline_s=0)

    assert engine.undo_all()[0].id == injection.id


def test_what_somebody_else_wrote_meanwhile_is_left_and_reported(bench: Bench) -> None:
    """Neither ours nor from before: undo must not clobber it, nor fail because of it."""
    engine = bench.engine()
    injection = engine.inject("peer-entry", WRONG_NEIGH)
    bench.cluster.put("n1", PEER, ALIEN)

    report = engine.undo(injection.id)

    assert report.foreign == (f"n1: neigh 10.244.2.0 dev flannel.1: {ALIEN}",)
    assert dict(bench.cluster.held("n1"))[PEER] == ALIEN
    assert engine.open_injections() == ()


def test_the_printed_repair_run_by_hand_does_not_survive_undo(bench: Bench) -> None:
    """The repair names the fault's own MAC, which undo takes away: the pin would break the edge again."""
    before = bench.portrait()
    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)
    new = bench.cluster.inventory().node("n0").vtep.mac
    bench.cluster.put("n2", neigh("flannel.1", "10.244.0.0"), f"{new} permanent")

    report = engine.undo(injection.id)

    assert report.foreign == ()
    assert bench.portrait() == before


def test_what_was_odd_before_the_fault_is_odd_after_it(bench: Bench) -> None:
    """Undo restores what was, not what a healthy cluster would have."""
    bench.cluster.put("n1", fdb("flannel.1", "0e:00:00:00:00:05"), "172.18.0.9 permanent")
    mac = bench.cluster.inventory().node("n0").vtep.mac
    bench.cluster.put("n1", neigh("flannel.1", "10.244.0.0"), f"{mac} noarp")
    bench.cluster.put("n0", fdb("flannel.1", "0e:00:00:00:00:06"), "172.18.0.9 permanent")
    before = bench.portrait()
    engine = bench.engine()

    for fault, params in (("founding", FOUNDING), ("vtep-delete", {"victim": "n0"})):
        engine.undo(engine.inject(fault, params).id)
        assert bench.portrait() == before


def test_a_healing_fault_lists_what_remains_different(bench: Bench) -> None:
    """A new MAC, a new podCIDR, and what peers hold because of them."""
    engine = bench.engine()

    report = engine.undo(engine.inject("node-recreate", {"victim": "n1"}).id)

    assert any("n1: VTEP MAC was" in line for line in report.differences)
    assert "n1: podCIDR was 10.244.1.0/24, is 10.244.102.0/24" in report.differences
    assert "n1: rebooted" in report.differences
    assert any(
        line.startswith("on n0, n2, n3 new: neigh 10.244.102.0") for line in report.differences
    )


@pytest.mark.parametrize("dialect", ["static", "l3miss"])
def test_a_node_that_peers_stay_stale_about_is_healed(tmp_path: Path, dialect: str) -> None:
    """Agents that missed the node's new life: some catch up when they run again, some must start anew."""
    bench = Bench(FakeCluster(dialect=dialect), Ledger(tmp_path / "ledger.jsonl"))
    engine = bench.engine()
    bench.cluster.freeze_agent("n3")

    engine.undo(engine.inject("node-restart", {"victim": "n1"}).id)

    mac = bench.cluster.inventory().node("n1").vtep.mac or ""
    assert bench.cluster.held("n3")[fdb("flannel.1", mac)] == "172.18.0.3 permanent"


def test_a_node_that_does_not_come_up_is_started_again(bench: Bench) -> None:
    """Undo of a healing fault ends with a healthy node, not with the hope of one."""
    engine = bench.engine()
    injection = engine.inject("node-restart", {"victim": "n1"})
    bench.cluster.dark.add("n1")

    report = engine.undo(injection.id)

    assert bench.cluster.dark == set()
    assert "n1: rebooted" in report.differences


def test_nothing_is_injected_where_a_node_cannot_be_read(bench: Bench) -> None:
    """What is not known before cannot be restored."""
    bench.cluster.dark.add("n3")

    with pytest.raises(ClusterGoneError, match="node n3 cannot be read: it is down"):
        bench.engine().inject("founding", FOUNDING)

    assert bench.ledger.size_bytes() is None


def test_a_command_that_fails_is_said_with_node_and_words(bench: Bench) -> None:
    """No iptables on the node, for one; nothing is left of the attempt."""
    before = bench.portrait()
    real = bench.cluster.run

    def run(
        place: str, argv: Sequence[str], *, timeout_s: float = 1.0, stdin: str = ""
    ) -> Completed:
        words = ["false"] if argv[0] == "iptables-restore" else argv
        return real(place, words, timeout_s=timeout_s, stdin=stdin)

    bench.cluster.run = run  # type: ignore[method-assign]  # this one cluster's

    with pytest.raises(
        SetupError, match="node n0: `iptables-restore -w --noflush` ended with 2: un"
    ):
        bench.engine().inject("underlay-drop", {"victim": "n0", "peers": "n1"})

    assert bench.portrait() == before


def test_a_device_that_vanished_meanwhile_is_made_again(bench: Bench) -> None:
    """Renewing a device passes through its absence: a kill may come there."""
    before = bench.portrait()
    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)
    bench.cluster.put("n0", Slot("link", "flannel.1", ""), None)

    report = engine.undo(injection.id)

    assert report.foreign == ()
    assert bench.portrait() == before


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("founding", {"victim": "n0", "peers": "n3"}),
        ("founding", {"victim": "n3", "peers": "n0"}),
        ("vtep-delete", {"victim": "n0"}),
        ("peer-entry", {"observer": "n0", "owner": "n1", "table": "fdb"}),
        ("peer-entry", {"observer": "n1", "owner": "n0", "table": "route"}),
        ("underlay-drop", {"victim": "n0", "peers": "n1"}),
        ("vip-rules-missing", {"victim": "n0"}),
        ("replica-stop", {"replica": "dns-0"}),
    ],
)
def test_a_node_is_not_restarted_under_another_fault(
    bench: Bench, fault: str, params: dict[str, str]
) -> None:
    """The restart would mend it, and its undo would find nothing of its own; elsewhere both may be in."""
    bench.engine().inject(fault, params)

    with pytest.raises(ClusterBusyError, match="claimed by the open injection"):
        bench.engine().inject("node-restart", {"victim": "n0"})
    with pytest.raises(ClusterBusyError, match="claimed by the open injection"):
        bench.engine().inject("node-recreate", {"victim": "n0"})


def test_faults_far_from_a_restarted_node_may_stay(bench: Bench) -> None:
    """The control: the claims are of that node, not of the cluster."""
    engine = bench.engine()
    engine.inject("peer-entry", WRONG_NEIGH)
    engine.inject("underlay-drop", {"victim": "n1", "peers": "n2"})
    engine.inject("vip-rules-missing", {"victim": "n1"})

    assert engine.inject("node-restart", {"victim": "n0"}).phase is Phase.VERIFIED


def test_new_endpoints_rewrite_every_nodes_rules(bench: Bench) -> None:
    """So a recreated node, whose pods get other addresses, claims all of them."""
    bench.engine().inject("vip-rules-missing", {"victim": "n1"})

    with pytest.raises(ClusterBusyError, match="vip:n1 is claimed"):
        bench.engine().inject("node-recreate", {"victim": "n0"})


def test_a_revert_timer_runs_while_the_injection_is_open(bench: Bench) -> None:
    """It starts after the record and before the effect, and ends with the undo, whoever undoes."""
    events: list[str] = []
    engine = bench.engine(lambda event: events.append(event.what))
    injection = engine.inject("founding", FOUNDING, revert_after_s=120)
    running = dict(bench.timers.running)

    bench.engine().undo(injection.id)

    assert list(running.values()) == [(injection.id, 120)]
    assert events[:3] == ["recorded", "timer started", "step 1 of 5 begins"]
    assert bench.timers.running == {}


def test_no_timer_without_a_time(bench: Bench) -> None:
    """A fault is put in to stay, unless asked otherwise."""
    bench.engine().inject("founding", FOUNDING)

    assert bench.timers.running == {}


def test_a_repair_holds_for_its_block_and_then_the_fault_stands_again(bench: Bench) -> None:
    """Break, fix, break: exactly as before, though the breaking command writes it a little differently."""
    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)
    broken = bench.portrait()
    slot = neigh("flannel.1", "10.244.0.0")
    old = dict(bench.cluster.held("n2"))[slot].split()[0]
    new = bench.cluster.inventory().node("n0").vtep.mac or ""

    with engine.repaired([_neigh("n2", new)], [_neigh("n2", old, state="noarp")]):
        mended = dict(bench.cluster.held("n2"))[slot]

    assert mended == f"{new} permanent"
    assert bench.portrait() == broken
    assert [one.id for one in engine.open_injections()] == [injection.id]


def test_a_repair_that_fails_is_said_and_the_fault_stands(bench: Bench) -> None:
    """The first of two may have been run."""
    engine = bench.engine()
    engine.inject("founding", FOUNDING)
    broken = bench.portrait()
    mending = [_neigh("n2", "0e:00:00:00:00:01"), ("n3", ["false"])]

    with (
        pytest.raises(FaultNotAppliedError, match="repair on n3: `false` ended with 2: unknown"),
        engine.repaired(mending, []),
    ):
        pytest.fail("the block must not run")

    assert bench.portrait() == broken


def test_a_fault_that_repairs_cannot_be_taken_back_from_is_an_undo_error(bench: Bench) -> None:
    """An entry that does not come back would let the undo take it for somebody else's."""
    engine = bench.engine()
    engine.inject("founding", FOUNDING)
    new = bench.cluster.inventory().node("n0").vtep.mac or ""
    bench.cluster.ignores = neigh("flannel.1", "10.244.0.0")

    with (
        pytest.raises(UndoError, match=r"repair-.*not broken again: n2: neigh 10.244.0.0"),
        engine.repaired([_neigh("n2", new)], []),
    ):
        pass


def test_undo_breaks_open_repairs_again_first(bench: Bench) -> None:
    """A process that was killed in the middle of a proof leaves both in the ledger."""
    before = bench.portrait()
    first = bench.engine()
    injection = first.inject("peer-entry", WRONG_NEIGH)
    block = first.repaired([_neigh("n1", "0e:00:00:00:00:01", ip="10.244.2.0")], [])
    block.__enter__()  # and never left

    reports = bench.engine().undo_all()

    assert [report.id for report in reports] == [injection.id]
    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_undoing_one_injection_breaks_open_repairs_again_first(bench: Bench) -> None:
    """The revert timer undoes one, by its id."""
    before = bench.portrait()
    first = bench.engine()
    injection = first.inject("peer-entry", WRONG_NEIGH)
    block = first.repaired([_neigh("n1", "0e:00:00:00:00:01", ip="10.244.2.0")], [])
    block.__enter__()  # and never left

    report = bench.engine().undo(injection.id)

    assert report.foreign == ()
    assert bench.portrait() == before


def test_on_a_full_disk_nothing_is_injected(bench: Bench) -> None:
    """The record comes first; without it there would be no way back after a kill."""
    before = bench.portrait()

    with _files_limited_to(100), pytest.raises(SetupError, match="ledger"):
        bench.engine().inject("founding", FOUNDING)

    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_a_disk_that_fills_up_after_the_record_undoes_the_injection(bench: Bench) -> None:
    """And leaves no ledger, though not even that could be noted."""
    before = bench.portrait()

    def fill(event: Event) -> None:
        if event.what == "recorded":
            limit = _files_limited_to(bench.ledger.path.stat().st_size)
            filled.enter_context(limit)

    with contextlib.ExitStack() as filled, pytest.raises(SetupError, match="ledger"):
        bench.engine(fill).inject("founding", FOUNDING)

    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_undo_works_on_a_full_disk(bench: Bench) -> None:
    """What cannot be noted is done all the same; the last one out takes the ledger away."""
    before = bench.portrait()
    engine = bench.engine()
    engine.inject("founding", FOUNDING)
    engine.inject("peer-entry", WRONG_NEIGH)

    with _files_limited_to(bench.ledger.path.stat().st_size):
        engine.undo_all()

    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_an_undo_that_was_not_noted_is_done_again_without_harm(bench: Bench) -> None:
    """The ledger still shows it as open: another process comes to the same."""
    before = bench.portrait()
    engine = bench.engine()
    first = engine.inject("founding", FOUNDING)
    second = engine.inject("peer-entry", WRONG_NEIGH)
    with _files_limited_to(bench.ledger.path.stat().st_size):
        engine.undo(second.id)

    later = bench.engine()
    still_open = [one.id for one in later.open_injections()]
    later.undo_all()

    assert still_open == [first.id, second.id]
    assert bench.portrait() == before
    assert bench.ledger.replay() == ()


def test_a_ledger_of_another_version_is_refused(bench: Bench) -> None:
    """To skip what is not understood could mean to forget an undo."""
    bench.ledger.append({"record": "teleported", "id": "x"})

    with pytest.raises(
        SetupError, match=r"line 1: .*teleported.*the version of graymesh that wrote"
    ):
        bench.engine()


def test_a_ledger_that_contradicts_itself_is_refused(bench: Bench) -> None:
    """A move of an injection that it does not hold, or one that the state machine does not have."""
    bench.ledger.append({"record": "moved", "id": "x", "at": "now", "phase": "clean"})

    with pytest.raises(SetupError, match="speaks of 'x', which it does not hold"):
        bench.engine()


def _neigh(
    node: str, mac: str, *, state: str = "permanent", ip: str = "10.244.0.0"
) -> tuple[str, list[str]]:
    return node, ["ip", "neigh", "replace", ip, "lladdr", mac, "dev", "flannel.1", "nud", state]


@contextlib.contextmanager
def _files_limited_to(size_bytes: int) -> Iterator[None]:
    """Writes beyond that fail, as on a full disk (setrlimit(2), RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
