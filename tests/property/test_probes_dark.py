"""Laws of dark times."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.dark import DarkTime, dark_times

MARKS = st.text(".x?", min_size=1, max_size=40)
STEPS = st.lists(st.floats(0.5, 20.0), min_size=40, max_size=40)


def dark(marks: str, steps: list[float]) -> DarkTime:
    """One pair, "." arrived, "x" lost, "?" not measured, with these seconds between samples."""
    times_s = np.cumsum([0.0, *steps])[: len(marks)]
    arrived = np.array([[mark == "." for mark in marks]]).T
    measured = np.array([[mark != "?" for mark in marks]]).T
    (found,) = dark_times([("a", "b")], times_s, arrived, measured, period_s=1.0)
    return found


@given(MARKS, STEPS)
def test_intervals_are_ordered_apart_and_hold_the_dark_time(marks: str, steps: list[float]) -> None:
    """The sum never exceeds what the intervals span."""
    found = dark(marks, steps)

    ends = [moment for interval in found.intervals for moment in interval]
    assert ends == sorted(ends)
    assert 0 <= found.dark_s <= sum(end - start for start, end in found.intervals) + 1e-6
    assert bool(found.intervals) == (found.dark_s > 0) == ("x" in marks)


@given(MARKS, STEPS)
def test_recovered_means_that_the_last_measured_sample_arrived(
    marks: str, steps: list[float]
) -> None:
    """A pair of which nothing was measured was not seen dark."""
    measured = marks.replace("?", "")

    assert dark(marks, steps).recovered == (not measured.endswith("x"))


@given(MARKS)
def test_a_prober_that_stands_still_never_lengthens_a_dark_time_by_more_than_a_period(
    marks: str,
) -> None:
    """However long it stood still between two samples."""
    regular = dark(marks, [1.0] * 40).dark_s

    for at in range(len(marks)):
        halted = dark(marks, [1.0] * at + [1000.0] + [1.0] * (39 - at)).dark_s
        assert regular <= halted + 1e-6 <= regular + 1.0 + 2e-6
