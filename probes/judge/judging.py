"""The whole judgement: findings, what they leave unexplained, notes, verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from clusters.state import ClusterState
from clusters.topology import Inventory
from probes.audit import Audit, audited
from probes.forwarding import Outcome
from probes.judge import causes, from_matrix, from_tables, localise, vip
from probes.judge import notes as noting
from probes.judge.causes import Cause, Weighed
from probes.judge.patterns import patterns
from probes.judge.scene import Scene, scene
from probes.model import VIP, Finding, Judgement, Note, Observation, Pair, State
from probes.predict import Prediction, predict

_PAIR_FINDINGS: Final = 6  # more single pairs than these are no causes but a riddle


def judge(
    observation: Observation | None,
    state: ClusterState | None,
    *,
    before: ClusterState | None = None,
    inventory: Inventory | None = None,
) -> Judgement:
    """Name the causes of what fails, or of what the tables say must fail where nothing was measured.

    `state` are the tables after the sweep, `before` those before it (counters are compared), `inventory` says who
    sits where if there is no state. Either of observation and state may be None. No I/O, and nothing is random.
    """
    prediction = predict(state) if state else None
    known = inventory or (state.inventory if state else None)
    joined = scene(observation, state, before, known, prediction)
    findings, weighed = _findings(joined)
    audit = audited(prediction.textbook) if prediction else None
    verdict, reasons = _verdict(observation, joined, findings)
    lost = (
        {one.pair: share for one in joined.measured if (share := joined.lost_share(one.pair)) > 0}
        if prediction
        else {}
    )
    failing = dict.fromkeys(one.pair for one in joined.failing)
    return Judgement(
        verdict=verdict,
        findings=findings,
        notes=_notes(prediction, audit, findings, weighed),
        patterns=patterns(joined, observation, findings),
        predicted=tuple(lost),
        unpredicted=tuple(pair for pair in failing if joined.sure(pair)) if prediction else (),
        unfulfilled=tuple(
            pair for pair, share in lost.items() if share == 1 and pair not in failing
        ),
        reasons=reasons,
    )


@dataclass(slots=True)
class _Search:
    """Causes in the order in which they are looked for; each explains what the earlier ones left."""

    scene: Scene
    weighed: Weighed
    findings: list[Finding] = field(default_factory=list)

    def residual(self) -> tuple[Pair, ...]:
        """The failing pairs to places that no finding explains yet."""
        known = {pair for one in self.findings for pair in one.explained}
        return tuple(
            one.pair for one in self.scene.failing if one.pair.dst != VIP and one.pair not in known
        )

    def by_tables(self, found: Iterable[Cause]) -> None:
        """Take causes that the tables show."""
        prediction = self.scene.prediction
        if prediction is not None:
            self.findings += [
                from_tables.finding(self.scene, prediction.truth, one) for one in found
            ]

    def by_shape(self) -> None:
        """Localise what no table shows; single pairs last, after disputed entries."""
        found = list(localise.localised(self.scene, self.residual()))
        broad = [one for one in found if one.chosen.kind not in localise.PAIR_LEVEL]
        self.findings += from_matrix.findings(self.scene, broad)
        self.by_tables(causes.disputed(self.weighed, self.residual()))
        left = set(self.residual())
        narrow = [
            one
            for one in found
            if one.chosen.kind in localise.PAIR_LEVEL
            and any(result.pair in left for result in one.chosen.failing)
        ]
        if len(narrow) <= _PAIR_FINDINGS:
            self.findings += from_matrix.findings(self.scene, narrow)

    def by_service(self) -> None:
        """Explain the VIP by its replicas, then by its own rules; the rest is a finding as well."""
        explained = frozenset(pair for one in self.findings for pair in one.explained)
        view = vip.VipView(scene=self.scene, explained=explained)
        grown, settled = vip.attributed(view, self.findings)
        self.findings = [*grown, *vip.of_service(view, settled)]
        if left := self.residual():
            self.findings.append(from_matrix.unexplained(self.scene, left))


def _findings(joined: Scene) -> tuple[tuple[Finding, ...], Weighed]:
    weighed = causes.weigh(joined)
    search = _Search(joined, weighed)
    search.by_tables(causes.borne_out(joined, weighed))
    search.by_tables(causes.suspected(weighed, search.residual()))
    search.by_shape()
    search.by_service()
    ranked = sorted(search.findings, key=lambda one: (-len(one.explained), one.id, one.edges))
    return tuple(ranked), weighed


def _notes(
    prediction: Prediction | None,
    audit: Audit | None,
    findings: Sequence[Finding],
    weighed: Weighed,
) -> tuple[Note, ...]:
    if prediction is None or audit is None:
        return ()
    named = {entry for one in findings for entry in one.entries}
    defects = [
        defect
        for leg in prediction.legs.values()
        for defect in leg.defects
        if defect.entry in named
    ]
    return noting.notes(audit, prediction, named, causes.unconfirmed(weighed, defects))


def _verdict(
    observation: Observation | None, joined: Scene, findings: Collection[Finding]
) -> tuple[State, tuple[str, ...]]:
    """Fail over unknown over pass; with the reasons for unknown, and what could not be read."""
    reasons = list(noting.lines(joined.state.unreadable.items())) if joined.state else []
    if observation is None:
        return _by_tables(joined, findings, reasons)
    unknown = [one for one in observation.pairs if one.state is State.UNKNOWN]
    if joined.failing:
        return State.FAIL, tuple(reasons)
    if not joined.measured:
        return State.UNKNOWN, ("nothing was measured", *observation.trouble, *reasons)
    if unknown:
        whys = dict.fromkeys(one.unknown or "no reason given" for one in unknown)
        said = f"{len(unknown)} pairs could not be measured: {'; '.join(list(whys)[:3])}"
        return State.UNKNOWN, (said, *observation.trouble, *reasons)
    return State.PASS, tuple(reasons)


def _by_tables(
    joined: Scene, findings: Collection[Finding], reasons: list[str]
) -> tuple[State, tuple[str, ...]]:
    """Without a packet sent: what the tables of all nodes say."""
    if joined.prediction is None:
        return State.UNKNOWN, ("nothing was measured and no table was read",)
    if findings:
        return State.FAIL, tuple(reasons)
    open_legs = [one for one in joined.prediction.legs.values() if one.outcome is Outcome.UNKNOWN]
    asked = [one for one in open_legs if one.reason == "agent-memory"]
    if asked:
        reasons.append(
            f"{len(asked)} directions depend on what agents remember, which no table shows"
        )
    if reasons and joined.state and joined.state.unreadable:
        return State.UNKNOWN, tuple(reasons)
    others = dict.fromkeys(one.reason for one in open_legs if one.reason != "agent-memory")
    if others:
        return State.UNKNOWN, (*reasons, f"the tables leave open: {', '.join(others)}")
    return State.PASS, tuple(reasons)
