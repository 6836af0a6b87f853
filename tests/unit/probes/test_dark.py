"""Dark times from samples."""

from __future__ import annotations

import numpy as np
import pytest

from probes.dark import DarkTime, dark_times


def dark(marks: str, times_s: list[float] | None = None) -> DarkTime:
    """One pair's dark time at one sample a second; "." arrived, "x" lost, "?" not measured."""
    when = np.arange(len(marks), dtype=float) if times_s is None else np.array(times_s)
    seen = np.array([[mark == "." for mark in marks]]).T
    measured = np.array([[mark != "?" for mark in marks]]).T
    (found,) = dark_times([("a", "b")], when, seen, measured, period_s=1.0)
    return found


def test_a_clean_pair_was_never_dark() -> None:
    """The common case."""
    assert dark("....") == DarkTime("a", "b", 0.0, recovered=True, intervals=())


def test_a_dark_time_goes_from_the_first_loss_to_the_next_arrival() -> None:
    """The resolution is one sample."""
    assert dark("..xxx..") == DarkTime("a", "b", 3.0, recovered=True, intervals=((2.0, 5.0),))


def test_several_dark_times_add_up() -> None:
    """A flapping pair shows each of them."""
    assert dark(".x.xx.") == DarkTime(
        "a", "b", 3.0, recovered=True, intervals=((1.0, 2.0), (3.0, 5.0))
    )


def test_a_pair_that_is_dark_at_the_end_has_not_recovered() -> None:
    """Its last interval is open to the end of the watch."""
    assert dark(".xx") == DarkTime("a", "b", 2.0, recovered=False, intervals=((1.0, 3.0),))


def test_what_was_not_measured_neither_darkens_nor_heals() -> None:
    """The prober's own trouble is left out of the sum."""
    assert dark(".x??x.") == DarkTime("a", "b", 2.0, recovered=True, intervals=((1.0, 5.0),))
    assert dark(".??.") == DarkTime("a", "b", 0.0, recovered=True, intervals=())
    assert dark(".x??") == DarkTime("a", "b", 1.0, recovered=False, intervals=((1.0, 4.0),))


def test_a_prober_that_stood_still_does_not_stretch_a_dark_time() -> None:
    """Ten seconds between two samples count as two periods at most."""
    stopped = dark(".xx.", [0.0, 1.0, 11.0, 12.0])

    assert stopped.dark_s == pytest.approx(3.0)
    assert dark(".xx.", [0.0, 1.0, 2.0, 3.0]).dark_s == pytest.approx(2.0)
