"""A judgement against what the injection must have caused; pure, and exact."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from clusters.topology import Inventory
from probes.model import Entry, Judgement, Observation, Pair, State
from suites.fates import Fate, fate
from suites.scenario import Assertion, Effect, Scenario

_LISTED = 6


_OF_JUDGEMENT: Final = (
    "verdict-as-expected",
    "cause-as-expected",
    "edges-exact",
    "entries-exact",
    "replicas-exact",
    "nodes-exact",
    "pairs-as-expected",
)


def assertion_names(scenario: Scenario, *, prove: bool) -> tuple[str, ...]:
    """What a run of the scenario asserts, in the order it finds out."""
    if scenario.breaks is None:
        return ("control-passes", *_OF_JUDGEMENT)
    proof = ("proved-by-repair",) if prove and scenario.breaks.repairable else ()
    return ("control-passes", "effect-proved", *_OF_JUDGEMENT, *proof, "recovered", "clean")


def assess(
    effect: Effect, judgement: Judgement, observation: Observation, inventory: Inventory
) -> tuple[Assertion, ...]:
    """Every assertion about one judgement.

    An unknown verdict makes them unknown, not failed: nothing was shown either way.
    """
    assertions = tuple(_assess(effect, judgement, observation, inventory))
    if judgement.verdict is not State.UNKNOWN:
        return assertions
    why = "; ".join(judgement.reasons) or "the verdict is unknown"
    return tuple(Assertion(name=one.name, outcome="unknown", message=why) for one in assertions)


def _assess(
    effect: Effect, judgement: Judgement, observation: Observation, inventory: Inventory
) -> Iterator[Assertion]:
    wanted = State.PASS if effect.healthy else State.FAIL
    yield _holds(
        "verdict-as-expected",
        judgement.verdict is wanted,
        f"expected {wanted}, got {judgement.verdict}",
    )
    yield _cause(effect, judgement)
    found = judgement.findings
    yield _same("edges-exact", effect.edges, {e for one in found for e in one.edges})
    named = {entry for one in found for entry in one.entries}
    yield _same("entries-exact", effect.entries, named - effect.also)
    yield _same("replicas-exact", effect.replicas, {r for one in found for r in one.replicas})
    yield _same("nodes-exact", effect.nodes, {n for one in found for n in one.nodes})
    strange = tuple(unexpected(effect, observation, inventory))
    spared = tuple(_spared(effect, observation, inventory))
    yield _holds(
        "pairs-as-expected",
        not strange and not spared,
        _difference("failed, but must pass", strange, "passed, but must fail", spared),
    )


def unexpected(effect: Effect, observation: Observation, inventory: Inventory) -> Iterator[Pair]:
    """Pairs that failed although the effect leaves them alone."""
    for one in observation.pairs:
        if one.state is State.FAIL and fate(one.pair, inventory, effect) is Fate.MUST_PASS:
            yield one.pair


def _spared(effect: Effect, observation: Observation, inventory: Inventory) -> Iterator[Pair]:
    for one in observation.pairs:
        if one.state is State.PASS and fate(one.pair, inventory, effect) is Fate.MUST_FAIL:
            yield one.pair


def _cause(effect: Effect, judgement: Judgement) -> Assertion:
    ids = {one.id for one in judgement.findings}
    good = not ids if effect.healthy else bool(ids) and ids <= effect.causes
    wanted = " or ".join(sorted(effect.causes)) or "no finding"
    return _holds("cause-as-expected", good, f"expected {wanted}, got {_listed(ids) or 'none'}")


def _same(name: str, wanted: Collection[object], got: Collection[object]) -> Assertion:
    missing = [one for one in wanted if one not in got]
    extra = [one for one in got if one not in wanted]
    text = _difference("not named", missing, "named, but not so", extra)
    return _holds(name, not missing and not extra, text)


def _holds(name: str, holds: bool, message: str) -> Assertion:  # noqa: FBT001  # the asserted condition
    return Assertion(
        name=name, outcome="pass" if holds else "fail", message="" if holds else message
    )


def _difference(
    one_word: str, one: Sequence[object], other_word: str, other: Sequence[object]
) -> str:
    parts = [
        f"{word}: {_listed(items)}"
        for word, items in ((one_word, one), (other_word, other))
        if items
    ]
    return "; ".join(parts)


def _listed(items: Iterable[object]) -> str:
    words = sorted(_spoken(item) for item in items)
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def _spoken(item: object) -> str:
    if isinstance(item, Entry):
        return f"{item.observer} {item.table} {item.key} {item.have} → {item.want}"
    if isinstance(item, Pair):
        return f"{item.src} → {item.dst} {item.protocol}"
    return " → ".join(item) if isinstance(item, tuple) else str(item)
