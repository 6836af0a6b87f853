"""The test that decides a pair, and its error rates."""

from __future__ import annotations

import pytest

from probes.decide import ALPHA, AMBIENT, BOUND, GREY, at_least, at_most, fails_at, more, verdict
from probes.model import State
from probes.plan import vip_probes


def failing(loss: float, burst: int) -> float:
    """The exact probability that a pair with this loss fails, over all its looks."""
    fail, open_ = (
        0.0,
        {
            (burst, k): at_most(k, burst, loss) - at_most(k - 1, burst, loss)
            for k in range(burst + 1)
        },
    )
    while open_:
        later: dict[tuple[int, int], float] = {}
        for (sent, lost), weight in open_.items():
            state = verdict(sent, lost)
            fail += weight * (state is State.FAIL)
            if state is None:
                extra = more(sent, lost)
                for k in range(extra + 1):
                    key = sent + extra, lost + k
                    chance = at_most(k, extra, loss) - at_most(k - 1, extra, loss)
                    later[key] = later.get(key, 0.0) + weight * chance
        open_ = later
    return fail


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(0.0, 0.0), (0.02, 0.0006), (0.1, 0.35), (0.2, 0.67), (0.5, 0.97), (1.0, 1.0)],
)
def test_the_error_rates_are_those_of_the_docstring(loss: float, expected: float) -> None:
    """What the page promises is computed, not believed."""
    assert failing(loss, 5) == pytest.approx(expected, abs=0.005 if expected > 0.01 else 0.0002)


def test_a_larger_count_finds_smaller_losses() -> None:
    """The docstring's figure for a count of 20."""
    assert failing(GREY, 20) == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize(("replicas", "least"), [(2, 0.9999), (3, 0.999), (5, 0.98)])
def test_one_dead_replica_fails_the_vip(replicas: int, least: float) -> None:
    """With the queries that the plan gives a VIP pair, a share of 1/R lost is seen."""
    assert failing(1 / replicas, vip_probes(replicas)) > least


def test_a_dead_pair_fails_on_its_burst() -> None:
    """It must be flagged after one timeout, so no second look."""
    assert verdict(5, 5) is State.FAIL
    assert verdict(5, 3) is State.FAIL


def test_a_clean_pair_passes_on_its_burst() -> None:
    """The common case costs no further probe."""
    assert verdict(1, 0) is State.PASS
    assert verdict(5, 0) is State.PASS


def test_a_single_lost_probe_decides_nothing() -> None:
    """One lost of one, and one or two of five, are suspects."""
    assert [verdict(1, 1), verdict(5, 1), verdict(5, 2)] == [None, None, None]


def test_what_stays_grey_is_decided_at_the_bound() -> None:
    """Partial loss is never unknown: it fails where the ambient loss cannot explain it."""
    states = [verdict(BOUND, lost) for lost in range(BOUND + 1)]

    assert set(states) == {State.PASS, State.FAIL}
    assert states.index(State.FAIL) == fails_at(BOUND)
    assert at_least(fails_at(BOUND), BOUND, AMBIENT) < ALPHA


def test_nothing_measured_is_unknown() -> None:
    """Unknown is never pass."""
    assert verdict(0, 0) is State.UNKNOWN


def test_more_lost_than_sent_is_a_defect() -> None:
    """A tally that says so is wrong."""
    with pytest.raises(ValueError, match="3 lost of 2"):
        verdict(2, 3)
