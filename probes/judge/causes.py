"""Findings that the tables explain: predicted losses that the measurement bears out, grouped by cause."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from probes.defects import Defect
from probes.forwarding import Outcome
from probes.judge.grouping import Group, grouped
from probes.judge.scene import ONEWAY, Scene
from probes.model import Pair, State
from probes.predict import Leg


class Standing(StrEnum):
    """What the measurement says about a leg that the tables call lost."""

    CONFIRMED = "confirmed"
    DISPUTED = "disputed"  # some of its pairs pass, some fail
    CONTRADICTED = "contradicted"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A leg with the measured pairs that cross it."""

    leg: Leg
    passed: tuple[Pair, ...]
    failed: tuple[Pair, ...]

    @property
    def standing(self) -> Standing:
        """One-way pairs decide where there are any: a round trip may fail for its other direction."""
        oneway = [pair for pair in (*self.passed, *self.failed) if pair.protocol == ONEWAY]
        decisive = set(oneway or (*self.passed, *self.failed))
        passed, failed = decisive & set(self.passed), decisive & set(self.failed)
        if passed and failed:
            return Standing.DISPUTED
        if failed:
            return Standing.CONFIRMED
        return Standing.CONTRADICTED if passed else Standing.UNMEASURED

    @property
    def seen_oneway(self) -> bool:
        """Whether the direction itself was measured."""
        return any(pair.protocol == ONEWAY for pair in self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause that the tables show, with the legs that it loses and the failing pairs that it explains."""

    group: Group
    legs: tuple[Leg, ...]
    explained: tuple[Pair, ...]
    confidence: float
    standing: Standing
    seen_oneway: bool


@dataclass(frozen=True, slots=True)
class Weighed:
    """Every leg that does not simply arrive, with what was measured about it."""

    evidence: tuple[Evidence, ...]

    def standing(self, *standings: Standing) -> list[Evidence]:
        """Predicted losses of which the measurement says one of these."""
        return [
            one
            for one in self.evidence
            if one.leg.outcome is Outcome.LOST and one.standing in standings
        ]

    def suspects(self, residual: Collection[Pair]) -> list[Evidence]:
        """Legs of which the tables cannot tell, which have a wrong entry and carry an unexplained failure.

        Where each flow takes its own way (multipath) some of its pairs may pass.
        """
        return [
            one
            for one in self.evidence
            if one.leg.outcome is Outcome.UNKNOWN
            and one.leg.defects
            and any(pair in residual for pair in one.failed)
            and (not one.passed or one.leg.reason == "multipath")
        ]


def weigh(scene: Scene) -> Weighed:
    """Hold each predicted leg against the pairs that cross it."""
    if scene.prediction is None:
        return Weighed(())
    crossing: dict[Leg, tuple[list[Pair], list[Pair]]] = {
        leg: ([], []) for leg in scene.prediction.legs.values()
    }
    if crossing:
        for one in scene.measured:
            for leg in scene.legs(one.pair):
                crossing[leg][one.state is State.FAIL].append(one.pair)
    return Weighed(
        tuple(
            Evidence(leg=leg, passed=tuple(passed), failed=tuple(failed))
            for leg, (passed, failed) in crossing.items()
        )
    )


def borne_out(scene: Scene, weighed: Weighed) -> tuple[Cause, ...]:
    """Causes whose losses were measured; where nothing was measured at all, those that the tables predict.

    A predicted leg that no pair crosses counts where it shares its entry with one that was seen to be lost.
    """
    if not scene.measured:
        return _causes(weighed.standing(Standing.UNMEASURED), 0.9)
    confirmed = weighed.standing(Standing.CONFIRMED)
    blamed = {defect for one in confirmed for defect in one.leg.defects}
    unmeasured = (
        one for one in weighed.standing(Standing.UNMEASURED) if blamed.intersection(one.leg.defects)
    )
    return _causes([*confirmed, *unmeasured], 0.99)


def suspected(weighed: Weighed, residual: Collection[Pair]) -> tuple[Cause, ...]:
    """Causes of failures that nothing else explains, where the tables leave open what happens."""
    return _causes(weighed.suspects(residual), 0.85)


def disputed(weighed: Weighed, residual: Collection[Pair]) -> tuple[Cause, ...]:
    """Predicted losses that only some of their pairs show: taken where those have no other explanation."""
    found = [
        one
        for one in weighed.standing(Standing.DISPUTED)
        if any(pair in residual for pair in one.failed)
    ]
    return _causes(found, 0.6)


def unconfirmed(weighed: Weighed, named: Collection[Defect]) -> tuple[tuple[Standing, Defect], ...]:
    """Entries that should lose something by the tables, of which the measurement shows nothing."""
    found = {
        defect: one.standing
        for one in weighed.standing(Standing.UNMEASURED, Standing.CONTRADICTED, Standing.DISPUTED)
        for defect in one.leg.defects
        if defect not in named
    }
    return tuple((standing, defect) for defect, standing in found.items())


def _causes(evidence: list[Evidence], confidence: float) -> tuple[Cause, ...]:
    bare = [one for one in evidence if not one.leg.defects]
    groups = grouped([one.leg for one in evidence if one.leg.defects])
    found = [_cause(group, _touching(evidence, group), confidence) for group in groups]
    reasons = dict.fromkeys(one.leg.reason for one in bare)
    for reason in reasons:
        alike = [one for one in bare if one.leg.reason == reason]
        group = Group(kind=_WITHOUT_ENTRY.get(reason, "path-loss"), centre="", defects=())
        found.append(_cause(group, alike, min(confidence, 0.8)))
    return tuple(found)


_WITHOUT_ENTRY = {"loop": "forwarding-loop"}


def _touching(evidence: Iterable[Evidence], group: Group) -> list[Evidence]:
    wanted = set(group.defects)
    return [one for one in evidence if wanted.intersection(one.leg.defects)]


def _cause(group: Group, evidence: list[Evidence], confidence: float) -> Cause:
    seen = any(one.seen_oneway for one in evidence)
    measured = any(one.failed for one in evidence)
    return Cause(
        group=group,
        legs=tuple(one.leg for one in evidence),
        explained=tuple(dict.fromkeys(pair for one in evidence for pair in one.failed)),
        confidence=confidence if seen or not measured else min(confidence, 0.95),
        standing=evidence[0].standing,
        seen_oneway=seen,
    )
