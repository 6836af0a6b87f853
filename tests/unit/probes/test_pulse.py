"""A prober that stood still notices it."""

from __future__ import annotations

import gc
import time

import numpy as np

from clusters.waiting import pause
from probes.pulse import Gap, Pulse, collector_paused, overlapping, waited_for_cpu_s
from probes.wave import Wave


def test_a_pause_between_two_beats_leaves_a_gap() -> None:
    """Beats close together leave none."""
    pulse = Pulse(limit_s=0.02)
    pulse.beat()
    assert pulse.gaps == []

    pause(0.05)
    pulse.beat()

    (gap,) = pulse.gaps
    assert 0.05 <= gap.length_s < 1.0


def test_an_intended_sleep_is_none() -> None:
    """Only what exceeds it counts."""
    pulse = Pulse(limit_s=0.02)

    pause(0.03)
    pulse.beat(asleep_s=0.03)

    assert pulse.gaps == []


def test_a_stepped_clock_is_a_gap() -> None:
    """Receive and send times cannot be compared across it."""
    pulse = Pulse(limit_s=0.5)
    pulse._real_ns -= 10 * 10**9

    pulse.beat()

    assert len(pulse.gaps) == 1


def test_probes_under_way_during_a_gap_are_found() -> None:
    """Those that had timed out before and those sent after are not touched."""
    wave = Wave.of([4], token=1, timeout_s=1.0)
    second = 10**9
    wave.sent_ns[:] = np.array([1, 4, 6, 9]) * second

    hit = overlapping(wave, [Gap(int(4.5 * second), 7 * second)])

    assert hit.tolist() == [False, True, True, False]


def test_the_collector_is_paused_and_comes_back() -> None:
    """Also where it was off before."""
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()

    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_time_without_a_cpu_only_grows() -> None:
    """It comes from the scheduler."""
    before_s = waited_for_cpu_s()
    end_s = time.process_time() + 0.02
    while time.process_time() < end_s:
        pass

    assert 0.0 <= before_s <= waited_for_cpu_s()
