"""A judgement is compared with what the injection must have caused, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from clusters.topology import Inventory
from probes.model import Entry, Judgement, Observation, Pair, State
from suites.expectation import assertion_names, assess, unexpected
from suites.fates import Fate, fate
from suites.scenario import Assertion, Effect
from suites.scenarios import SCENARIOS


def _outcomes(assertions: Iterable[Assertion]) -> dict[str, str]:
    return {one.name: one.outcome for one in assertions}


def _assessed(
    effect: Effect, judgement: Judgement, observation: Observation, inventory: Inventory
) -> dict[str, str]:
    return _outcomes(assess(effect, judgement, observation, inventory))


def test_a_perfect_judgement_meets_every_assertion(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
) -> None:
    """The positive control of every test below."""
    inventory = make_inventory()
    observation = measure(inventory, stale)

    outcomes = _assessed(stale, judgement_of(stale, observation), observation, inventory)

    assert set(outcomes.values()) == {"pass"}
    assert len(outcomes) == 7


@pytest.mark.parametrize(
    "deviation",
    [
        ({"edges": (("n2", "n0"),)}, "edges-exact"),
        ({"edges": (("n2", "n0"), ("n3", "n0"), ("n1", "n0"))}, "edges-exact"),
        ({"edges": (("n0", "n2"), ("n0", "n3"))}, "edges-exact"),
        ({"entries": ()}, "entries-exact"),
        ({"replicas": ("dns-1",)}, "replicas-exact"),
        ({"nodes": ("n0",)}, "nodes-exact"),
        ({"id": "unexplained"}, "cause-as-expected"),
    ],
)
def test_one_deviation_fails_its_own_assertion_and_no_other(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
    deviation: tuple[dict[str, Any], str],
) -> None:
    """Too few, too many, turned round: each is told by the name of its assertion."""
    change, broken = deviation
    inventory = make_inventory()
    observation = measure(inventory, stale)
    good = judgement_of(stale, observation)
    bad = replace(good, findings=(replace(good.findings[0], **change),))

    outcomes = _assessed(stale, bad, observation, inventory)

    assert [name for name, outcome in outcomes.items() if outcome != "pass"] == [broken]


def test_a_pass_where_a_failure_is_expected_is_not_met(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
) -> None:
    """A judge that never finds anything must not satisfy a scenario that breaks something."""
    inventory = make_inventory()
    observation = measure(inventory, stale)

    outcomes = _assessed(stale, judgement_of(Effect(), observation), observation, inventory)

    assert outcomes["verdict-as-expected"] == "fail"
    assert outcomes["cause-as-expected"] == "fail"
    assert outcomes["pairs-as-expected"] == "pass"


def test_a_finding_on_a_healthy_cluster_is_not_met(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
) -> None:
    """A false alarm fails the healthy scenario."""
    inventory = make_inventory()
    observation = measure(inventory, Effect())
    alarmed = judgement_of(stale, observation)

    outcomes = _assessed(Effect(), alarmed, observation, inventory)

    assert outcomes["verdict-as-expected"] == "fail"
    assert outcomes["cause-as-expected"] == "fail"
    assert outcomes["edges-exact"] == "fail"


def test_an_unknown_verdict_makes_every_assertion_unknown(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
) -> None:
    """Nothing was shown either way: neither met nor not met."""
    inventory = make_inventory()
    observation = measure(inventory, stale)
    blind = Judgement(verdict=State.UNKNOWN, findings=(), notes=(), reasons=("starved",))

    assertions = assess(stale, blind, observation, inventory)

    assert {one.outcome for one in assertions} == {"unknown"}
    assert {one.message for one in assertions} == {"starved"}


def test_optional_entries_may_be_named_or_not(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
) -> None:
    """A neighbour that exists only where traffic asked for it decides nothing."""
    inventory = make_inventory()
    observation = measure(inventory, stale)
    judgement = judgement_of(stale, observation)
    some = frozenset({min(stale.entries)})
    lenient = replace(stale, entries=stale.entries - some, also=some)

    assert _assessed(lenient, judgement, observation, inventory)["entries-exact"] == "pass"
    strict = replace(stale, entries=stale.entries - some)
    assert _assessed(strict, judgement, observation, inventory)["entries-exact"] == "fail"


def test_failing_pairs_that_the_effect_spares_are_listed(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
) -> None:
    """They become test cases of their own in JUnit."""
    inventory = make_inventory()
    everything = measure(inventory, stale)
    narrower = replace(stale, edges=frozenset({("n2", "n0")}))

    strange = set(unexpected(narrower, everything, inventory))

    assert Pair("n3-p0", "n0-p0", "icmp") in strange
    assert Pair("n2-p0", "n0-p0", "icmp") not in strange
    assert not set(unexpected(stale, everything, inventory))


@pytest.mark.parametrize(
    ("pair", "wanted"),
    [
        (Pair("n2-p0", "n0-p0", "oneway"), Fate.MUST_FAIL),
        (Pair("n0-p0", "n2-p0", "oneway"), Fate.MUST_PASS),
        (Pair("n0-p0", "n2-p0", "icmp"), Fate.MUST_FAIL),
        (Pair("n0-p0", "dns-0", "dns-udp"), Fate.MUST_PASS),
        (Pair("n0-p0", "dns-1", "dns-tcp"), Fate.MUST_FAIL),
        (Pair("n0-p0", "vip", "vip"), Fate.MAY_FAIL),
        (Pair("n1-p0", "vip", "vip"), Fate.MUST_PASS),
        (Pair("n1-p0", "n2-p0", "icmp"), Fate.MUST_PASS),
    ],
)
def test_a_lost_edge_kills_round_trips_both_ways_and_one_way_probes_one_way(
    make_inventory: Callable[..., Inventory], stale: Effect, pair: Pair, wanted: Fate
) -> None:
    """n2 → n0 and n3 → n0 are lost; replicas are on n1, n2, n3."""
    assert fate(pair, make_inventory(), stale) is wanted


def test_a_silent_replica_is_reached_by_ping_but_not_by_name(
    make_inventory: Callable[..., Inventory],
) -> None:
    """Its own column fails for DNS alone, and the VIP may."""
    effect = Effect(causes=frozenset({"replica-down"}), replicas=frozenset({"dns-1"}))
    inventory = make_inventory()

    assert fate(Pair("n0-p0", "dns-1", "dns-udp"), inventory, effect) is Fate.MUST_FAIL
    assert fate(Pair("n0-p0", "dns-1", "icmp"), inventory, effect) is Fate.MUST_PASS
    assert fate(Pair("n0-p0", "vip", "vip"), inventory, effect) is Fate.MAY_FAIL
    alone = make_inventory(replicas=(2,))
    only = replace(effect, replicas=frozenset({"dns-0"}))
    assert fate(Pair("n0-p0", "vip", "vip"), alone, only) is Fate.MUST_FAIL


def test_every_scenario_names_its_assertions_once() -> None:
    """The pytest cases are made from these names before anything runs."""
    for scenario in SCENARIOS.values():
        names = assertion_names(scenario, prove=True)
        assert len(set(names)) == len(names)
    assert "proved-by-repair" in assertion_names(SCENARIOS["founding"], prove=True)
    assert "proved-by-repair" not in assertion_names(SCENARIOS["founding"], prove=False)
    assert "recovered" not in assertion_names(SCENARIOS["healthy"], prove=True)


def test_a_difference_is_spoken_in_full(
    make_inventory: Callable[..., Inventory],
    measure: Callable[[Inventory, Effect], Observation],
    stale: Effect,
    judgement_of: Callable[[Effect, Observation], Judgement],
) -> None:
    """The message names the entry with what it has and should have."""
    inventory = make_inventory()
    observation = measure(inventory, stale)
    judgement = judgement_of(stale, observation)
    extra = Entry("n1", "n0", "neigh", "10.244.0.0", None, "02:00:00:00:00:00")
    wider = replace(stale, entries=stale.entries | {extra})

    messages = {one.name: one.message for one in assess(wider, judgement, observation, inventory)}

    assert messages["entries-exact"] == ("not named: n1 neigh 10.244.0.0 None → 02:00:00:00:00:00")
