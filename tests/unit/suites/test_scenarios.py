"""Scenarios choose by seed alone, and what they break can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from clusters.providers.base import ClusterSpec
from clusters.topology import Inventory
from suites.choosing import carriers
from suites.scenario import Scenario, UnsuitableError
from suites.scenarios import SCENARIOS

MakeInventory = Callable[..., Inventory]
BREAKING = [one for one in SCENARIOS.values() if one.breaks]


def _chosen(scenario: Scenario, inventory: Inventory, seed: int) -> dict[str, str]:
    assert scenario.breaks is not None
    return dict(scenario.breaks.choose(inventory, Random(seed)))


@pytest.mark.parametrize("scenario", BREAKING, ids=lambda one: one.name)
def test_the_same_seed_chooses_the_same_and_others_differ(
    make_inventory: MakeInventory, scenario: Scenario
) -> None:
    """`--seed` repeats a run; without it, runs wander."""
    inventory = make_inventory(nodes=6, replicas=(1, 2, 3))

    choices = [_chosen(scenario, inventory, seed) for seed in range(40)]

    assert choices == [_chosen(scenario, inventory, seed) for seed in range(40)]
    assert len({tuple(one.items()) for one in choices}) > 2


@pytest.mark.parametrize("nodes", [3, 4, 7, 10])
@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_founding_leaves_a_fresh_peer_and_a_stale_one_with_a_replica(
    make_inventory: MakeInventory, nodes: int, replicas: int
) -> None:
    """Some peers are stale, never all; a replica answers on each side of the line where there are two places for it."""
    scenario = SCENARIOS["founding"]
    assert scenario.place is not None
    for seed in range(60):
        spec = ClusterSpec(nodes=nodes, dns_replicas=replicas)
        inventory = make_inventory(nodes, scenario.place(spec, Random(seed)))
        chosen = _chosen(scenario, inventory, seed)
        victim, stale = chosen["victim"], set(chosen["peers"].split(","))
        carrying = set(carriers(inventory))
        fresh = {node.name for node in inventory.nodes} - stale - {victim}

        assert victim not in stale | carrying
        assert stale & carrying
        assert fresh & carrying if len(carrying) > 1 else fresh


def test_a_victim_with_a_replica_has_one_and_some_peer_stays_fresh(
    make_inventory: MakeInventory,
) -> None:
    """Also where every replica sits on one node: then no stale peer can carry any."""
    for replicas in [(0, 1, 2), (2, 2), (1,)]:
        inventory = make_inventory(4, replicas)
        for seed in range(30):
            chosen = _chosen(SCENARIOS["founding-victim-has-replica"], inventory, seed)
            stale = set(chosen["peers"].split(","))

            assert chosen["victim"] in carriers(inventory)
            assert 1 <= len(stale) <= 2
            assert chosen["victim"] not in stale


def test_founding_takes_a_victim_with_a_replica_where_every_node_has_one(
    make_inventory: MakeInventory,
) -> None:
    """A named cluster is as it is; the scenario still runs."""
    inventory = make_inventory(3, (0, 1, 2))

    assert _chosen(SCENARIOS["founding"], inventory, 1)["victim"] in carriers(inventory)


@pytest.mark.parametrize(
    ("inventory", "says"),
    [
        ({"nodes": 2, "replicas": (1,)}, "founding needs at least 3 nodes, got 2"),
        ({"dialect": "l3miss"}, "founding needs dialect static or persistent, got l3miss"),
    ],
)
def test_an_unsuitable_cluster_is_refused_with_what_it_lacks(
    make_inventory: MakeInventory, inventory: dict[str, object], says: str
) -> None:
    """Pytest skips on it, the command exits 2."""
    SCENARIOS["founding"].check_inventory(make_inventory())

    with pytest.raises(UnsuitableError, match=says):
        SCENARIOS["founding"].check_inventory(make_inventory(**inventory))


def test_every_scenario_of_the_issue_is_there() -> None:
    """Names are part of the contract."""
    assert set(SCENARIOS) >= {
        "healthy",
        "founding",
        "founding-l3miss",
        "node-restart",
        "node-recreate",
        "one-replica-down",
        "one-way-drop",
        "vip-only",
        "vtep-deleted",
    }
