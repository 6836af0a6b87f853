"""Every fault on real kernels: seen, exact, idempotent, and recovered from a kill at any moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from chaos.faults.peer_entry import PeerEntry
from chaos.model import Arguments, Plan, Step, View
from chaos.registry import FAULTS
from chaos.testing import Trial, check_effect, check_fault, check_interruptions

pytestmark = pytest.mark.twin

MUTE = ("replica-mute", {"replica": "dns-2"})
DROP = ("underlay-drop", {"victim": "n2", "peers": "n3"})
FOUNDING = {"victim": "n0", "peers": "n2,n3"}
ENTRY = {"observer": "n1", "owner": "n2"}

CASES = [
    ("static", "founding", FOUNDING, MUTE),
    ("static", "vtep-recreate", {"victim": "n1", "peers": "n0"}, DROP),
    (
        "static",
        "vtep-delete",
        {"victim": "n0"},
        ("peer-entry", {"observer": "n1", "owner": "n0", "table": "neigh"}),
    ),
    (
        "static",
        "peer-entry",
        {**ENTRY, "table": "neigh"},
        ("peer-entry", {**ENTRY, "table": "fdb"}),
    ),
    ("static", "peer-entry", {**ENTRY, "table": "fdb", "mode": "missing"}, MUTE),
    (
        "static",
        "peer-entry",
        {**ENTRY, "table": "route"},
        ("peer-entry", {**ENTRY, "table": "neigh", "mode": "missing"}),
    ),
    ("static", "underlay-drop", {"victim": "n0", "peers": "n2", "direction": "both"}, DROP),
    ("static", "replica-stop", {"replica": "dns-1"}, MUTE),
    ("static", "replica-mute", {"replica": "dns-0"}, MUTE),
    ("static", "vip-rules-missing", {"victim": "n3"}, DROP),
    ("static", "node-restart", {"victim": "n1"}, DROP),
    ("static", "node-recreate", {"victim": "n1"}, DROP),
    ("persistent", "vtep-delete", {"victim": "n0"}, MUTE),
    ("persistent", "node-restart", {"victim": "n1"}, DROP),
    ("l3miss", "founding", FOUNDING, MUTE),
    ("l3miss", "vtep-delete", {"victim": "n0"}, DROP),
    ("l3miss", "peer-entry", {**ENTRY, "table": "neigh"}, MUTE),
]


@pytest.mark.parametrize(("dialect", "fault", "params", "beside"), CASES)
def test_a_fault_conforms(
    twin_of: Callable[[str], str],
    dialect: str,
    fault: str,
    params: Mapping[str, str],
    beside: tuple[str, Mapping[str, str]],
) -> None:
    """What `undo` and `recover` promise, for each fault there is."""
    check_fault(Trial(cluster=twin_of(dialect), fault=fault, params=params, beside=beside))


def test_every_fault_is_tried() -> None:
    """A new fault must not slip by."""
    assert {fault for _, fault, _, _ in CASES} == set(FAULTS)


class Forgetful(PeerEntry):
    """A saboteur: its undo leaves one entry wrong."""

    name = "forgetful"

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:
        """As peer-entry, without any undo."""
        plan = super().plan(view, args, tag=tag, rng=rng)
        return Plan(claims=plan.claims, steps=tuple(Step(do=step.do) for step in plan.steps))


class Hasty(PeerEntry):
    """A saboteur: its undo takes for granted that everything was done."""

    name = "hasty"

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:
        """As peer-entry on two owners, with the second one's undo on the first step of a plan that never records it."""
        both = [
            super(Hasty, self).plan(view, _about(args, owner), tag=tag, rng=rng)
            for owner in ("n2", "n3")
        ]
        first, second = (plan.steps[0] for plan in both)
        return Plan(
            claims=both[0].claims + both[1].claims,
            steps=(Step(do=first.do), Step(do=second.do, undo=second.undo)),
        )


def _about(args: Arguments, owner: str) -> Arguments:
    return Arguments({**args.values, "owner": (owner,)})


@pytest.mark.parametrize(
    ("saboteur", "check"), [(Forgetful(), check_effect), (Hasty(), check_interruptions)]
)
def test_the_conformance_catches_a_saboteur(
    make_twin: Callable[[], str], saboteur: PeerEntry, check: Callable[[Trial], None]
) -> None:
    """A check that passes for everybody would prove nothing."""
    trial = Trial(
        cluster=make_twin(),
        fault=saboteur.name,
        params={**ENTRY, "table": "neigh"},
        beside=MUTE,
        faults=MappingProxyType({**FAULTS, saboteur.name: saboteur}),
    )

    with pytest.raises(AssertionError, match="the cluster is not as before"):
        check(trial)
