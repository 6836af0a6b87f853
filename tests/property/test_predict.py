"""The prediction against a second, naive opinion on the same tables."""

from __future__ import annotations

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from clusters.state import ClusterState
from probes.forwarding import Outcome
from probes.predict import predict
from probes.testing import healthy_state
from tests.judging.changes import applied, changes, shapes
from tests.judging.oracle import Oracle

ALL = ("peer", "underlay", "node", "collapse", "harmless")
_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def disagreements(state: ClusterState) -> list[str]:
    """Every directed pair of places of which the prediction and the oracle think differently."""
    prediction, oracle = predict(state), Oracle(state)
    places = (*state.inventory.pods, *state.inventory.replicas)
    wanted = {True: Outcome.ARRIVES, False: Outcome.LOST, None: Outcome.UNKNOWN}
    found = []
    for src in places:
        for dst in places:
            for ip, other in zip(src.ips, dst.ips, strict=True):
                family = "ipv6" if ":" in ip else "ipv4"
                leg = prediction.leg(src.name, dst.name, family)
                got = leg.outcome if leg else Outcome.ARRIVES
                if got is not wanted[oracle.arrives(ip, other)]:
                    found.append(f"{src.name}→{dst.name} {family}: {leg}, not {got}")
    return found


@given(data=st.data())
@_SETTINGS
def test_prediction_agrees_with_the_oracle_after_any_few_changes(data: st.DataObject) -> None:
    """Up to three changes anywhere: what arrives, what is lost and what stays open is the same for every pod pair."""
    shape = data.draw(shapes(least=3, most=6))
    made = data.draw(st.lists(changes(shape, kinds=ALL), max_size=3))
    note(str([(one.node, one.name) for one in made]))

    assert disagreements(applied(healthy_state(shape), *made)) == []


@given(data=st.data())
@_SETTINGS
def test_prediction_agrees_where_neighbours_are_kept_per_pod(data: st.DataObject) -> None:
    """The on-miss generation has one route for all and one neighbour per pod."""
    shape = data.draw(shapes(dialect="l3miss", least=3, most=5))
    made = data.draw(st.lists(changes(shape, kinds=ALL), max_size=2))
    note(str([(one.node, one.name) for one in made]))

    assert disagreements(applied(healthy_state(shape), *made)) == []


@given(data=st.data())
@_SETTINGS
def test_prediction_keeps_the_families_apart(data: st.DataObject) -> None:
    """A change of IPv4 entries leaves the IPv6 pairs of a dual-stack cluster alone, and the other way round."""
    shape = data.draw(shapes(least=3, most=4, dual=True))
    made = data.draw(st.lists(changes(shape, kinds=ALL), max_size=2))
    note(str([(one.node, one.name) for one in made]))

    assert disagreements(applied(healthy_state(shape), *made)) == []
