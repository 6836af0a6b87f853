"""What a scenario puts an open cluster through: control, break, observe, judge, prove, undo, recover."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Final

from chaos.engine import Engine
from chaos.model import Injection, Kind, UndoReport
from chaos.tables import dump
from clusters.errors import (
    ControlFailedError,
    DeadlineExceededError,
    FaultNotAppliedError,
    GraymeshError,
    MeasureError,
)
from clusters.ledger import Ledger
from clusters.providers.base import Cluster
from clusters.state import ClusterState
from clusters.waiting import Deadline, poll_until
from probes.continuous import watching
from probes.model import Observation, Pair, State
from suites.expectation import assess, unexpected
from suites.measuring import Judged, Look, Probing, grid_parts, judged, look, look_at_tables, probe
from suites.phases import Phases
from suites.proof import proved
from suites.record import Record
from suites.report.document import DarkRow
from suites.report.evidence import pairs_document, state_document
from suites.scenario import Assertion, Breakage, Effect, Occurrence, Outcome

RECOVERY_S: Final = 30.0
# Where agents answer misses from memory a neighbour is only asked about again when it has aged: up to 45 s
# reachable, 5 s delayed (arp(7)); every other generation is done in a second.
HEALING_S: Final = 90.0
REVERT_AFTER_S: Final = 900.0  # longer than any run: reverts what a killed graymesh leaves
WATCH_HZ: Final = 20.0
_QUICK_COUNT: Final = 2  # probes per pair while waiting for all to pass


@dataclass(slots=True, kw_only=True)
class Ordeal:
    """The phases that need an open cluster; this module is imported once there is one (see measuring)."""

    cluster: Cluster
    record: Record
    phases: Phases

    def run(self) -> None:
        """All phases, each recorded. What was injected is undone whatever happens. Raises GraymeshError."""
        breakage = self.record.request.scenario.breaks
        before = self._control()
        if breakage is None:
            self._judge(self._observe(), Effect())
            return
        self._watched(breakage, before)

    def _control(self) -> ClusterState:
        """Every expected pair must pass before anything is broken."""
        with self.phases.run_phase("control") as note:
            self.record.inventory = self.cluster.inventory()
            self.record.request.scenario.check_inventory(self.record.inventory)
            seen = self._judged(self._look())
            if seen.judgement.verdict is not State.PASS or seen.look.state is None:
                raise ControlFailedError(_unhealthy(seen))
            self._keep("tables-before", seen.look.state)
            note.detail = f"{_pairs(seen)} pairs pass"
        self._assert("control-passes", "pass")
        return seen.look.state

    def _watched(self, breakage: Breakage, before: ClusterState) -> None:
        engine = self._engine()
        others = {one.id for one in engine.open_injections()}
        with watching(self.cluster, rate_hz=WATCH_HZ) as watch:
            try:
                self._broken(engine, breakage, before)
            finally:
                began_s = time.monotonic()
                reports = self._undo(engine, others)
            self._recover(began_s)
            self.record.convergence = tuple(
                DarkRow(
                    src=one.src,
                    dst=one.dst,
                    dark_s=round(one.dark_s, 3),
                    recovered=one.recovered,
                )
                for one in watch.finish()
            )
        self._read_back(before, reports)

    def _engine(self) -> Engine:
        request, folder = self.record.request, self.phases.folder
        return Engine(
            self.cluster,
            ledger=Ledger.of(self.cluster.name),
            run_id=request.run_id,
            rng=Random(request.seed),  # noqa: S311  # MACs and the like, repeatable
            watch=lambda event: (
                folder.event("fault", id=event.id, what=event.what) if folder else None
            ),
        )

    def _broken(self, engine: Engine, breakage: Breakage, before: ClusterState) -> None:
        injection = self._inject(engine, breakage)
        effect = self._prove_effect(injection, breakage, before)
        if effect.healthy:
            self._settle()
        seen = self._observe()
        self._judge(seen, effect)
        if self.record.request.prove and breakage.repairable:
            self._prove(engine, seen)

    def _inject(self, engine: Engine, breakage: Breakage) -> Injection:
        with self.phases.run_phase("inject") as note:
            params = breakage.choose(self.cluster.inventory(), Random(self.record.request.seed))  # noqa: S311
            injection = engine.inject(breakage.fault, params, revert_after_s=REVERT_AFTER_S)
            self.record.injected.append(injection)
            spoken = " ".join(f"{key}={value}" for key, value in injection.params.items())
            note.detail = f"{injection.fault} {spoken}"
        return injection

    def _prove_effect(
        self, injection: Injection, breakage: Breakage, before: ClusterState
    ) -> Effect:
        """The effect as the kernel or API shows it; no packet decides about it."""
        with self.phases.run_phase("effect-proof") as note:
            if not injection.proof:
                raise FaultNotAppliedError(f"{injection.fault} read back nothing of its effect")
            after = look_at_tables(self.cluster).state
            if after is None or after.unreadable:
                raise FaultNotAppliedError(f"{injection.fault} left tables that cannot be read")
            self._keep("tables-broken", after)
            note.detail = f"{len(injection.proof)} read-backs"
        self._assert("effect-proved", "pass")
        return breakage.effect(Occurrence(params=injection.params, before=before, after=after))

    def _settle(self) -> None:
        """Wait until a cluster that should heal by itself has; if it does not, the observation shows it."""
        with self.phases.run_phase("settle") as note:
            healed = self._passes_within(HEALING_S)
            note.detail = healed or "every pair passes"

    def _observe(self) -> Look:
        with self.phases.run_phase("observe") as note:
            seen = self._look()
            if seen.observation is None:
                raise MeasureError("nothing was measured")
            if self.phases.folder is not None:
                self.phases.folder.evidence("pairs", pairs_document(seen.observation))
            note.detail = f"{len(seen.observation.pairs)} pairs"
        return seen

    def _judge(self, seen: Look, effect: Effect) -> None:
        with self.phases.run_phase("judge") as note:
            judged = self._judged(seen)
            observation = seen.observation
            if observation is None:
                raise MeasureError("nothing was measured")
            self.record.assertions.extend(
                assess(effect, judged.judgement, observation, seen.inventory)
            )
            self.record.unexpected = tuple(unexpected(effect, observation, seen.inventory))
            found = ", ".join(one.id for one in judged.judgement.findings) or "no finding"
            note.detail = f"{judged.judgement.verdict}: {found}"

    def _prove(self, engine: Engine, seen: Look) -> None:
        judgement = self.record.judgement
        if judgement is None or seen.state is None:
            raise MeasureError("nothing was judged")
        with self.phases.run_phase("prove") as note:
            judgement = proved(engine, judgement, seen.state, self._reprobe)
            self.record.judgement = judgement
            answers = [one.proved for one in judgement.findings]
            note.detail = f"{answers.count(True)} of {len(answers)} findings proved by repair"
        good = bool(answers) and all(answers)
        message = "" if good else "a repair did not mend, or breaking again did not bring it back"
        self._assert("proved-by-repair", "pass" if good else "fail", message)

    def _undo(self, engine: Engine, others: Collection[str]) -> tuple[UndoReport, ...]:
        """Undo what this run injected; signals wait. An error is recorded, never raised over one that led here."""
        try:
            with self.phases.interrupts.shielded(), self.phases.run_phase("undo"):
                mine = [one.id for one in engine.open_injections() if one.id not in others]
                return tuple(engine.undo(one) for one in reversed(mine))
        except GraymeshError as exc:
            self.record.fail(exc)
            return ()

    def _recover(self, began_s: float) -> None:
        if self.record.error is not None:
            return
        with self.phases.run_phase("recover") as note:
            failing = self._passes_within(RECOVERY_S)
            if failing is None:
                self.record.recovered_s = round(time.monotonic() - began_s, 3)
                note.detail = "every pair passes"
            else:
                note.detail = failing
        self._assert("recovered", "fail" if failing else "pass", failing or "")

    def _read_back(self, before: ClusterState, reports: tuple[UndoReport, ...]) -> None:
        """A reversible fault leaves the tables as they were; a healing one says what it leaves."""
        if self.record.error is not None:
            return
        with self.phases.run_phase("read-back") as note:
            after = look_at_tables(self.cluster).state
            if after is None:
                raise MeasureError("the tables could not be read back")
            self._keep("tables-after", after)
            left = [line for one in reports for line in (*one.foreign, *one.differences)]
            if all(one.kind is Kind.REVERSIBLE for one in self.record.injected):
                left += _differences(before, after)
                self._assert("clean", "fail" if left else "pass", "; ".join(left))
            else:
                self._assert("clean", "pass", "; ".join(left))
            note.detail = f"{len(left)} differences remain"

    def _passes_within(self, bound_s: float) -> str | None:
        """None once every pair passes, else what was still failing when the time was over."""

        def failing() -> tuple[str, ...]:
            observation = probe(self.cluster, self._probing(count=_QUICK_COUNT))
            pairs = (one.pair for one in observation.pairs if one.state is not State.PASS)
            return tuple(f"{pair.src} → {pair.dst} {pair.protocol}" for pair in pairs)

        try:
            poll_until(
                failing,
                until=lambda seen: not seen,
                awaited="every pair to pass",
                deadline=Deadline.after(bound_s),
                every_s=0.1,
            )
        except DeadlineExceededError as exc:
            return str(exc)
        return None

    def _probing(
        self, *, count: int | None = None, only: Collection[Pair] | None = None
    ) -> Probing:
        request = self.record.request
        return Probing(
            protocols=request.protocols,
            count=count or request.count,
            timeout_s=request.timeout_s,
            seed=request.seed,
            full=request.full,
            only=only,
        )

    def _reprobe(self, pairs: Collection[Pair]) -> Observation:
        return probe(self.cluster, self._probing(only=pairs))

    def _look(self) -> Look:
        return look(self.cluster, self._probing(), self.phases.console.progress)

    def _judged(self, seen: Look) -> Judged:
        """The judgement, kept as the record's."""
        result = judged(seen)
        self.record.inventory = seen.inventory
        self.record.observation = seen.observation
        self.record.judgement = result.judgement
        self.record.timing = result.timing
        self.record.grids = grid_parts(seen)
        return result

    def _keep(self, name: str, state: ClusterState) -> None:
        if self.phases.folder is not None:
            self.phases.folder.evidence(name, state_document(state))

    def _assert(self, name: str, outcome: Outcome, message: str = "") -> None:
        self.record.assertions.append(Assertion(name=name, outcome=outcome, message=message))


def _unhealthy(seen: Judged) -> str:
    judgement = seen.judgement
    causes = [one.summary for one in judgement.findings] or list(judgement.reasons)
    why = causes[0] if causes else f"the verdict is {judgement.verdict}"
    return f"unhealthy before anything was injected: {why}"


def _pairs(seen: Judged) -> int:
    return len(seen.look.observation.pairs) if seen.look.observation else 0


def _differences(before: ClusterState, after: ClusterState) -> list[str]:
    old, new = dump(before), dump(after)
    lines = []
    for node in sorted({*old, *new}):
        was, now = old.get(node, frozenset()), new.get(node, frozenset())
        lines += [f"{node} lost {line}" for line in sorted(was - now)]
        lines += [f"{node} gained {line}" for line in sorted(now - was)]
    return lines
