"""The engine that puts faults in and takes them out again, by way of the ledger."""

from __future__ import annotations

import contextlib
import random
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from chaos import differences, records, tables
from chaos.acts import Acts, one_line
from chaos.history import History
from chaos.journal import Event, Journal, now
from chaos.kernel import KernelTables, Tables
from chaos.model import (
    Facts,
    Fault,
    Injection,
    Phase,
    Plan,
    RebirthGoal,
    RecoverReport,
    UndoReport,
)
from chaos.parameters import parsed
from chaos.records import Command, Recorded, Remark, Repairing, TimerStarted
from chaos.registry import FAULTS
from chaos.repairs import entries_named
from chaos.timer import Mark, ProcessTimers, Timers
from chaos.undoing import Undoing
from chaos.world import Before, World
from clusters.errors import (
    ClusterBusyError,
    FaultNotAppliedError,
    GraymeshError,
    SetupError,
    UndoError,
    UsageError,
)
from clusters.ledger import Ledger
from clusters.lock import held
from clusters.providers.base import Cluster
from clusters.providers.registry import open_cluster
from clusters.waiting import Deadline

SETTLE_S: Final = 5.0  # for an effect, or its undo, to read back
UNDO_S: Final = 60.0  # for everything that is open to be undone


class Engine:
    """Drives injections on one cluster. The caller holds the cluster's lock (clusters.lock) as long as it uses this.

    `watch` is told of every move, and of every action before and after it; `rng` draws new MACs; within `settle_s` an
    effect, or its undo, must read back. `faults`, `reader` and `timers` are seams for tests.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        ledger: Ledger,
        run_id: str,
        rng: random.Random | None = None,
        watch: Callable[[Event], None] = lambda _event: None,
        faults: Mapping[str, Fault] = FAULTS,
        reader: Tables | None = None,
        timers: Timers | None = None,
        settle_s: float = SETTLE_S,
    ) -> None:
        """Read the ledger. Raises SetupError where it cannot be understood."""
        self._cluster = cluster
        self._run_id = run_id
        self._settle_s = settle_s
        self._rng = rng or random.SystemRandom()
        self._faults = faults
        self._timers = timers or ProcessTimers()
        self._world = World(cluster, reader or KernelTables(cluster))
        self._journal = Journal(ledger, watch)
        self._acts = Acts(self._world, self._journal, settle_s)
        self._undoing = Undoing(self._acts, self._timers)
        self._undone: dict[str, UndoReport] = {}

    def open_injections(self) -> tuple[Injection, ...]:
        """What is in, or may be, oldest first."""
        return self._journal.open_injections()

    def inject(
        self, name: str, params: Mapping[str, str], *, revert_after_s: float | None = None
    ) -> Injection:
        """Put a fault in and read its effect back. With `revert_after_s` it goes by itself after that time.

        Raises UsageError (unknown fault, wrong parameter) and ClusterBusyError (an open injection claims what this
        one would change) before anything is done, SetupError where the ledger cannot be written: nothing is done
        then either. Raises FaultNotAppliedError, or what the cluster raised, after taking back what was done; and
        UndoError where that failed: the ledger keeps it.
        """
        before = Before(self._world)
        recorded, plan = self._planned(name, params, before)
        self._refuse_overlap(name, plan.claims)
        with self._taken_back_on_error(recorded.id):
            self._journal.add(recorded, Phase.RECORDED.value)
            self._start_timer(recorded.id, revert_after_s)
            proof = self._apply(recorded.id, plan)
            changes = differences.changed(recorded.facts, self._acts.facts())
        return Injection(
            id=recorded.id,
            fault=name,
            params=recorded.params,
            kind=recorded.kind,
            phase=Phase.VERIFIED,
            claims=plan.claims,
            proof=proof,
            changes=changes,
        )

    def undo(self, injection: str) -> UndoReport:
        """Take one injection back and read back that nothing of it is left. Idempotent.

        Repairs that are open are broken again first. Raises UsageError for an id that is not open, UndoError
        where something of it is left: then it stays open in the ledger.
        """
        if injection in self._undone:
            return self._undone[injection]
        standing = self._journal.get(injection)
        if standing is None or not isinstance(standing.what, Recorded):
            there = ", ".join(each.id for each in self.open_injections()) or "none"
            raise UsageError(f"no injection {injection!r} is open; open ones: {there}")
        for repairing in reversed(self._journal.open_repairs()):
            self._undoing.break_again(repairing)
        return self._take_back(standing.what)

    def undo_all(self, *, deadline_s: float = UNDO_S) -> tuple[UndoReport, ...]:
        """Take everything back, latest first. One that fails does not keep the others from being tried.

        Raises UndoError that says what is left and why, after all were tried or the time was over.
        """
        deadline = Deadline.after(deadline_s)
        reports, failures = [], []
        for standing in reversed(self._journal.open()):
            try:
                if not deadline.left_s():
                    failures.append(f"{standing.what.id}: not tried: {deadline_s:g} s were over")
                elif isinstance(standing.what, Recorded):
                    reports.append(self._take_back(standing.what))
                else:
                    self._undoing.break_again(standing.what)
            except Exception as exc:  # noqa: BLE001  # the rest must be tried; all are raised together below
                failures.append(one_line(exc))
        if failures:
            raise UndoError("; ".join(failures))
        return tuple(reports)

    @contextlib.contextmanager
    def repaired(
        self,
        repairs: Sequence[tuple[str, Sequence[str]]],
        breaks: Sequence[tuple[str, Sequence[str]]],
    ) -> Iterator[None]:
        """Run repair commands (node, argv) for the block; after it the fault stands again exactly as before.

        For that the `breaks` are run, then every table entry whose key is a word of one of the commands gets back
        what it held. All this is in the ledger before the first repair, so that undo and recover come to the same.
        Raises FaultNotAppliedError where a repair command fails, UndoError where the fault cannot be brought back.
        """
        repairing = self._repairing(repairs, breaks)
        try:
            self._journal.add(repairing, Phase.RECORDED.value)
            for number, command in enumerate(repairing.repairs, 1):
                done = self._acts.run(repairing.id, command, f"repair {number}")
                if done.status:
                    said = " ".join((done.stderr or done.stdout).split())
                    raise FaultNotAppliedError(
                        f"repair on {command.node}: `{' '.join(command.argv)}`"
                        f" ended with {done.status}: {said}"
                    )
            self._journal.move(repairing.id, Phase.APPLIED)
            yield
        finally:
            if self._journal.get(repairing.id) is not None:
                self._undoing.break_again(repairing)

    def _planned(
        self, name: str, params: Mapping[str, str], before: Before
    ) -> tuple[Recorded, Plan]:
        """What is to be done, as it will stand in the ledger. Only reads."""
        fault = self._fault_named(name)
        if self._cluster.provider not in fault.providers:
            able = ", ".join(fault.providers)
            raise UsageError(f"fault {name} works on {able}, not on {self._cluster.provider}")
        args = parsed(fault, params, before.inventory)
        tag = f"{name}-{secrets.token_hex(3)}"
        plan = fault.plan(before, args, tag=tag, rng=self._rng)
        was = tables.facts(before.inventory, self._world.boot_ids())
        recorded = Recorded(
            id=tag,
            run_id=self._run_id,
            at=now(),
            fault=name,
            params={key: ",".join(values) for key, values in args.values.items()},
            kind=fault.kind,
            claims=plan.claims,
            steps=plan.steps,
            facts=was,
            lines=_lines_about_reborn(plan, before, was),
        )
        return recorded, plan

    def _fault_named(self, name: str) -> Fault:
        if name not in self._faults:
            raise UsageError(f"unknown fault {name!r}; there are: {', '.join(self._faults)}")
        return self._faults[name]

    def _repairing(
        self,
        repairs: Sequence[tuple[str, Sequence[str]]],
        breaks: Sequence[tuple[str, Sequence[str]]],
    ) -> Repairing:
        mending = tuple(Command(node, tuple(argv)) for node, argv in repairs)
        breaking = tuple(Command(node, tuple(argv)) for node, argv in breaks)
        commands = (*mending, *breaking)
        return Repairing(
            id=f"repair-{secrets.token_hex(3)}",
            run_id=self._run_id,
            at=now(),
            repairs=mending,
            breaks=breaking,
            before={
                node: entries_named(self._world.tables.read(node), commands)
                for node in dict.fromkeys(command.node for command in commands)
            },
        )

    def _refuse_overlap(self, name: str, claims: tuple[str, ...]) -> None:
        for other in self.open_injections():
            shared = sorted(set(claims) & set(other.claims))
            if shared:
                raise ClusterBusyError(
                    f"fault {name}: {shared[0]} is claimed by the open injection {other.id}:"
                    f" run `graymesh undo --name {self._cluster.name}` first"
                )

    def _start_timer(self, tag: str, after_s: float | None) -> None:
        if after_s is None:
            return
        mark = self._timers.start(self._cluster.name, tag, after_s)
        self._journal.add(
            TimerStarted(id=tag, at=now(), pid=mark.pid, started=mark.started, after_s=after_s),
            "timer started",
        )

    def _apply(self, tag: str, plan: Plan) -> tuple[str, ...]:
        """Bring the goals about, read the effect back; the lines that prove it."""
        goals = [step.do for step in plan.steps if step.do is not None]
        for number, goal in enumerate(goals, 1):
            self._acts.bring(tag, goal, f"step {number} of {len(goals)}")
        self._journal.move(tag, Phase.APPLIED)
        seen = self._acts.settled(plan.expect or goals, lambda one: one.standing == "met")
        wrong = [line for one in seen for line in one.lines("unmet", "foreign")]
        if wrong:
            raise FaultNotAppliedError(f"{tag}: {self._settle_s:g} s later: {'; '.join(wrong)}")
        self._journal.move(tag, Phase.VERIFIED)
        return tuple(line for one in seen for line in one.lines())

    @contextlib.contextmanager
    def _taken_back_on_error(self, tag: str) -> Iterator[None]:
        """Take the injection back where the block does not come to its end, whatever ended it."""
        done = False
        try:
            yield
            done = True
        finally:
            standing = self._journal.get(tag)
            if not done and standing is not None and isinstance(standing.what, Recorded):
                first = sys.exception()
                try:
                    self._take_back(standing.what)
                except UndoError as exc:
                    raise UndoError(f"{exc} (after: {one_line(first)})") from first

    def _take_back(self, recorded: Recorded) -> UndoReport:
        report = self._undone[recorded.id] = self._undoing.take_back(recorded)
        return report


def recover(cluster_name: str) -> RecoverReport:
    """Undo everything that the cluster's ledger shows as open, holding the cluster's lock.

    Where the cluster is gone, what was injected is gone with it: the ledger is removed. Idempotent. Raises
    ClusterBusyError where another process holds the lock, UndoError where something is left (the ledger keeps it),
    SetupError for a ledger that cannot be read.
    """
    with held(cluster_name, "recover"):
        ledger = Ledger.of(cluster_name)
        if ledger.size_bytes() is None:
            return RecoverReport(cluster=cluster_name, note="nothing was left open")
        with _reopened(cluster_name, ledger) as cluster:
            if cluster is None:
                note = "the cluster is gone, and with it what was injected; its ledger is removed"
                return RecoverReport(cluster=cluster_name, note=note)
            undone = Engine(cluster, ledger=ledger, run_id="recover").undo_all()
        ledger.remove()  # where a kill came between the last move and this
    return RecoverReport(cluster=cluster_name, undone=undone)


def revert(cluster_name: str, injection: str) -> None:
    """Undo one injection, for its revert timer. Raises ClusterBusyError where the lock is held: nothing is done then.

    Raises UndoError where something is left; the ledger then says why.
    """
    with held(cluster_name, f"the revert timer of {injection}"):
        ledger = Ledger.of(cluster_name)
        standing = History.of(records.read(ledger)).get(injection)
        if standing is None or not standing.open:
            return
        with _reopened(cluster_name, ledger) as cluster:
            if cluster is None:
                return
            try:
                Engine(cluster, ledger=ledger, run_id="revert-timer").undo(injection)
            except GraymeshError as exc:
                records.append(ledger, Remark(id=injection, at=now(), text=f"revert timer: {exc}"))
                raise


@contextlib.contextmanager
def _reopened(name: str, ledger: Ledger) -> Iterator[Cluster | None]:
    """The cluster; None where it is gone: then its ledger is removed, and the timers that it names are ended."""
    try:
        cluster = open_cluster(name)
    except UsageError:
        with contextlib.suppress(SetupError):  # unreadable: its timers see that the file has gone
            for standing in History.of(records.read(ledger)).open():
                if standing.timer is not None:
                    ProcessTimers().cancel(Mark(standing.timer.pid, standing.timer.started))
        ledger.remove()
        yield None
        return
    with contextlib.closing(cluster):
        yield cluster


def _lines_about_reborn(
    plan: Plan, before: Before, was: Mapping[str, Facts]
) -> dict[str, tuple[str, ...]]:
    """What all tables say about the nodes that the plan restarts: to list what remains different afterwards."""
    reborn = [step.do.node for step in plan.steps if isinstance(step.do, RebirthGoal)]
    marks = [was[node] for node in reborn]
    return differences.about(before.state, marks, but=reborn) if reborn else {}
