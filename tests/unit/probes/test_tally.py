"""Waves counted into results."""

from __future__ import annotations

import time

import numpy as np
import pytest

from probes.model import Latency, Pair, PairResult, State
from probes.outcome import Outcome
from probes.plan import Target
from probes.tally import Tally
from probes.wave import Wave

NOW_NS = time.time_ns()
TIMEOUT_S = 1.0


def wave_of(*marks: str) -> Wave:
    """A closed wave; one string per target: "." answered after 100 µs, "x" timed out, "r" refused, "v" void."""
    wave = Wave.of([len(mark) for mark in marks], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[:] = NOW_NS
    for probe, mark in enumerate("".join(marks)):
        if mark == ".":
            wave.arrived(np.array([probe]), np.array([NOW_NS + 100_000]))
        elif mark == "r":
            wave.outcome[probe] = Outcome.REFUSED
        elif mark == "v":
            wave.void(probe, "socket overflow")
    wave.close(NOW_NS + 2 * 10**9)
    return wave


def targets_of(*sizes: int) -> list[Target]:
    """Targets with so many probes."""
    return [
        Target(Pair(f"p{number}", "q", "icmp"), "10.0.0.1", size)
        for number, size in enumerate(sizes)
    ]


def results(*marks: str, wanted: int = 5) -> tuple[PairResult, ...]:
    """The results of one wave."""
    tally = Tally.of(len(marks))
    tally.add(wave_of(*marks))
    return tally.results(targets_of(*[wanted] * len(marks)))


def test_each_pair_keeps_k_of_m_and_its_errors_by_kind() -> None:
    """A retry until success would hide the failure."""
    clean, dead, mixed = results(".....", "xxxxx", "rrxx.")

    assert (clean.sent, clean.ok, clean.state, clean.errors) == (5, 5, State.PASS, {})
    assert (dead.sent, dead.ok, dead.state) == (5, 0, State.FAIL)
    assert dead.errors == {"timeout": 5}
    assert mixed.errors == {"refused": 2, "timeout": 2}
    assert mixed.state is State.FAIL


def test_void_probes_are_not_counted_as_sent() -> None:
    """What the prober could not do is no loss."""
    (half,) = results("...vv")

    assert (half.sent, half.ok, half.state, half.unknown) == (3, 3, State.PASS, None)


def test_a_pair_that_was_mostly_not_measured_is_unknown_with_the_reason() -> None:
    """Neither pass nor fail."""
    none, few, lost = results("vvvvv", "..vvv", "x.vvv")

    assert [r.state for r in (none, few, lost)] == [State.UNKNOWN] * 3
    assert {r.unknown for r in (none, few, lost)} == {"socket overflow"}


def test_a_loss_that_is_certain_stays_one_beside_void_probes() -> None:
    """Two of two lost cannot be ambient."""
    (dead,) = results("xxvvv")

    assert (dead.state, dead.unknown) == (State.FAIL, None)


def test_a_distrusted_pair_is_unknown_whatever_was_counted() -> None:
    """Its namespace was another one in the end."""
    tally = Tally.of(1)
    tally.add(wave_of("xxxxx"))
    assert tally.failing() == [0]

    tally.distrusted[0] = "vantage replaced"

    (result,) = tally.results(targets_of(5))
    assert (result.state, result.unknown) == (State.UNKNOWN, "vantage replaced")


def test_latencies_are_of_the_answers() -> None:
    """Minimum, median and 99th percentile in microseconds."""
    tally = Tally.of(2)
    wave = Wave.of([4, 2], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[:] = NOW_NS
    delays_us = np.array([30, 10, 20, 400])
    wave.arrived(np.arange(4), NOW_NS + delays_us * 1000)
    wave.close(NOW_NS + 2 * 10**9)
    tally.add(wave)

    answered, dead = tally.results(targets_of(4, 2))

    assert answered.latency == Latency(min_us=10.0, median_us=25.0, p99_us=400.0)
    assert dead.latency is None


def test_waves_add_up() -> None:
    """A suspect that comes clean in the second look passes with one loss on record."""
    tally = Tally.of(2)
    tally.add(wave_of(".....", "....x"))
    extra = tally.undecided(np.array([5, 5]))
    assert extra.tolist() == [0, 27]

    tally.add(wave_of("", "." * 27))

    assert tally.undecided(np.array([5, 5])).tolist() == [0, 0]
    assert [(r.sent, r.ok, r.state) for r in tally.results(targets_of(5, 5))] == [
        (5, 5, State.PASS),
        (32, 31, State.PASS),
    ]


def test_void_probes_are_made_up_for() -> None:
    """A starved prober tries again."""
    tally = Tally.of(3)
    tally.add(wave_of("..vvv", "xxxvv", "....."))

    assert tally.undecided(np.array([5, 5, 5])).tolist() == [3, 0, 0]


def test_who_answered_is_counted() -> None:
    """The VIP's row is explained by the replicas' rows."""
    tally = Tally.of(1)
    wave = wave_of("...")
    wave.answered.extend([(0, "dns-0"), (0, "dns-2"), (0, "dns-0")])
    tally.add(wave)

    (result,) = tally.results(targets_of(3))

    assert result.answered_by == {"dns-0": 2, "dns-2": 1}


def test_a_late_answer_leaves_the_probe_lost() -> None:
    """It came, but not in time; one in time beside it counts, and a second one to it does not."""
    wave = Wave.of([2], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[:] = NOW_NS

    late = wave.arrived(np.array([0]), np.array([NOW_NS + 10**9 + 1]))
    in_time = wave.arrived(np.array([1]), np.array([NOW_NS + 10**9]))
    again = wave.arrived(np.array([1]), np.array([NOW_NS + 10**9]))
    wave.close(NOW_NS + 2 * 10**9)

    assert (late, in_time, again) == (0, 1, 0)
    assert wave.outcome.tolist() == [Outcome.TIMEOUT, Outcome.OK]


def test_what_was_never_sent_is_void() -> None:
    """An interrupted wave says nothing about it."""
    wave = Wave.of([2], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[0] = NOW_NS

    wave.close(NOW_NS + 2 * 10**9)

    assert wave.outcome.tolist() == [Outcome.TIMEOUT, Outcome.VOID]
    assert wave.reasons == {0: "the prober did not come to send it"}


@pytest.mark.parametrize(("expired", "settled"), [(2, "waiting"), (3, "settled")])
def test_a_wave_is_settled_once_every_waiting_target_has_failed(expired: int, settled: str) -> None:
    """Three of five lost fail a pair whatever the other two do."""
    wave = Wave.of([5], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[:] = NOW_NS
    wave.sent_ns[expired:] += 5 * 10**8

    assert wave.settled(NOW_NS + 10**9 + 1) is (settled == "settled")

    wave.close(NOW_NS + 10**9 + 1)
    assert np.count_nonzero(wave.outcome == Outcome.TIMEOUT) == expired
    assert np.count_nonzero(wave.outcome == Outcome.VOID) == 5 - expired


def test_a_wave_with_something_to_send_is_not_settled() -> None:
    """However dead the rest is."""
    wave = Wave.of([5, 1], token=1, timeout_s=TIMEOUT_S)
    wave.sent_ns[:5] = NOW_NS - 2 * 10**9

    assert not wave.settled(NOW_NS)
    wave.outcome[5] = Outcome.OK
    assert wave.settled(NOW_NS)
