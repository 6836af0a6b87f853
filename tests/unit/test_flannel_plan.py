"""What flannel agents do about leases, generation by generation, without a kernel."""

from __future__ import annotations

import pytest

from clusters.flannel.generations import GENERATIONS, Generation
from clusters.flannel.plan import (
    Event,
    Op,
    answer,
    learned,
    live_events,
    missed_events,
    operations,
    starting_fdb,
    undone,
)
from clusters.state import Fdb, Lease

_A = Lease(node="a", pod_cidr="10.244.0.0/24", underlay="172.18.0.2", mac="02:00:00:00:00:0a")
_A_NEW = _A._replace(mac="02:00:00:00:00:1a")
_A_MOVED = _A._replace(pod_cidr="10.244.9.0/24")
_A_REJOINED = _A_NEW._replace(pod_cidr="10.244.9.0/24")
_B = Lease(node="b", pod_cidr="10.244.1.0/24", underlay="172.18.0.3", mac="02:00:00:00:00:0b")

_L3MISS, _STATIC, _PERSISTENT = (GENERATIONS[n] for n in ("l3miss", "static", "persistent"))
_KUBE = [_STATIC, _PERSISTENT]


def _known(*leases: Lease) -> dict[str, Lease]:
    return {lease.pod_cidr: lease for lease in leases}


@pytest.mark.parametrize("generation", _KUBE)
def test_a_peer_is_written_as_neighbour_then_fdb_then_route(generation: Generation) -> None:
    """The order decides what a failure in the middle leaves (handleSubnetEvents since v0.9.0)."""
    assert operations(generation, Event("added", _A)) == (
        Op("neigh", "set", "10.244.0.0", _A.mac),
        Op("fdb", "set", _A.mac, "172.18.0.2"),
        Op("route", "set", "10.244.0.0/24", "10.244.0.0"),
    )


def test_the_on_miss_generation_writes_the_fdb_alone_and_never_over_another() -> None:
    """Neighbours wait for the kernel's question; create|exclusive leaves a wrong destination wrong."""
    assert operations(_L3MISS, Event("added", _A)) == (
        Op("fdb", "set", _A.mac, "172.18.0.2", exclusive=True),
    )


def test_a_removed_peer_goes_with_the_entries_of_the_mac_it_had_last() -> None:
    """An entry of an earlier MAC is not among them: it leaks."""
    ops = operations(_STATIC, Event("removed", _A_NEW))

    assert {op.action for op in ops} == {"del"}
    assert _A.mac not in {text for op in ops for text in (op.key, op.value)}


def test_a_failed_step_is_undone_backwards() -> None:
    """Flannel skips a node whose entries it cannot write as a whole."""
    neigh, fdb, _ = operations(_STATIC, Event("added", _A))

    assert undone([neigh, fdb]) == (fdb._replace(action="del"), neigh._replace(action="del"))


@pytest.mark.parametrize("generation", GENERATIONS.values())
@pytest.mark.parametrize(
    ("before", "after", "heard"),
    [
        (None, _A, (Event("added", _A),)),
        (_A, _A_NEW, (Event("added", _A_NEW),)),
        (_A, None, (Event("removed", _A),)),
        (None, None, ()),
    ],
)
def test_a_live_agent_hears_what_changes(
    generation: Generation, before: Lease | None, after: Lease | None, heard: tuple[Event, ...]
) -> None:
    """Common to all generations."""
    assert live_events(generation, before, after) == heard


@pytest.mark.parametrize("generation", _KUBE)
def test_equal_annotations_are_no_event(generation: Generation) -> None:
    """HandleUpdateLeaseEvent compares annotations, so nothing is ever written again; not even a podCIDR's change."""
    assert live_events(generation, _A, _A) == ()
    assert live_events(generation, _A, _A_MOVED) == ()


def test_an_equal_lease_is_an_event_in_etcd_mode() -> None:
    """The owner's renewal is what heals stale memory there."""
    assert live_events(_L3MISS, _A, _A) == (Event("added", _A),)


@pytest.mark.parametrize("generation", _KUBE)
def test_a_deaf_agent_of_kube_mode_sees_a_changed_mac_afterwards(generation: Generation) -> None:
    """The informer compares each node's old and new annotations."""
    assert missed_events(generation, _known(_A, _B), [_A_NEW, _B]) == (Event("added", _A_NEW),)


def test_a_snapshot_ignores_changed_attributes_of_a_known_subnet() -> None:
    """leaseWatcher.reset compares subnets alone: a MAC that changed meanwhile stays old."""
    assert missed_events(_L3MISS, _known(_A, _B), [_A_NEW, _B]) == ()


@pytest.mark.parametrize("generation", GENERATIONS.values())
def test_nodes_that_came_and_went_are_seen_afterwards(generation: Generation) -> None:
    """In every generation; the positive control of the two tests above."""
    assert missed_events(generation, _known(_A), [_B]) == (Event("removed", _A), Event("added", _B))


def test_a_rejoined_node_is_an_update_to_kube_mode_and_two_subnets_to_etcd_mode() -> None:
    """Kube mode leaves the old podCIDR's entries behind, for ever; etcd mode removes them."""
    for generation in _KUBE:
        assert missed_events(generation, _known(_A), [_A_REJOINED]) == (
            Event("added", _A_REJOINED),
        )
    assert missed_events(_L3MISS, _known(_A), [_A_REJOINED]) == (
        Event("removed", _A),
        Event("added", _A_REJOINED),
    )


def test_a_start_keeps_what_matches_deletes_the_rest_and_adds_what_is_missing() -> None:
    """HandleInitialSubnetEvents with the whole snapshot of etcd mode."""
    existing = [
        Fdb("flannel.1", _A.mac, _A.underlay),
        Fdb("flannel.1", "02:00:00:00:00:99", "172.18.0.9"),
    ]

    assert starting_fdb(existing, [_A, _B]) == (
        Op("fdb", "del", "02:00:00:00:00:99", "172.18.0.9"),
        Op("fdb", "set", _B.mac, _B.underlay, exclusive=True),
    )


def test_memory_answers_for_every_address_of_a_subnet_and_for_no_other() -> None:
    """None is what makes the agent log "route for X not found"."""
    known = learned({}, [Event("added", _A), Event("added", _B), Event("added", _A_NEW)])

    assert answer(known, "10.244.0.77") == _A_NEW.mac
    assert answer(known, "10.244.1.2") == _B.mac
    assert answer(known, "10.244.2.2") is None
    assert answer(learned(known, [Event("removed", _B)]), "10.244.1.2") is None
