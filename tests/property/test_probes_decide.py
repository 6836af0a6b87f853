"""Laws of the decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from probes.decide import BOUND, at_least, at_most, fails_at, more, verdict
from probes.model import State

SAMPLES = st.integers(1, 2 * BOUND).flatmap(
    lambda sent: st.tuples(st.just(sent), st.integers(0, sent))
)


@given(SAMPLES)
def test_every_pair_is_decided_in_the_end(sample: tuple[int, int]) -> None:
    """Undecided means that more probes are given, and the bound ends it."""
    sent, lost = sample

    if verdict(sent, lost) is None:
        assert 0 < more(sent, lost) <= BOUND - sent
    else:
        assert more(sent, lost) == 0


@given(SAMPLES)
def test_one_more_loss_never_helps(sample: tuple[int, int]) -> None:
    """From pass by undecided to fail, never back."""
    sent, lost = sample
    order = [State.PASS, None, State.FAIL]

    if lost < sent:
        assert order.index(verdict(sent, lost)) <= order.index(verdict(sent, lost + 1))


@given(SAMPLES)
def test_the_fatal_number_of_losses_is_where_failing_begins(sample: tuple[int, int]) -> None:
    """An early end of a wave rests on this number."""
    sent, lost = sample

    assert (verdict(sent, lost) is State.FAIL) == (lost >= fails_at(sent))


@given(SAMPLES, st.floats(0, 1))
def test_the_tails_add_up(sample: tuple[int, int], loss: float) -> None:
    """P(X ≥ k) + P(X ≤ k - 1) = 1."""
    sent, lost = sample

    assert abs(at_least(lost, sent, loss) + at_most(lost - 1, sent, loss) - 1) < 1e-9
