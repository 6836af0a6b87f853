"""What is the prober's own trouble makes pairs unknown, never failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from clusters.providers.twin.client import TwinCluster
from clusters.waiting import pause
from probes.engine import Tuning, sweep
from probes.model import State
from probes.plan import make_plan

pytestmark = pytest.mark.twin

SWEEP = """
import json, os, resource, signal, sys
from clusters.providers.registry import open_cluster
from probes.engine import sweep
from probes.plan import make_plan
cluster, count, spare = open_cluster(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
plan = make_plan(cluster.inventory(), sys.argv[5].split(","), count=count)
cluster.vantage("n0-p0")
limit = max(int(fd) for fd in os.listdir("/proc/self/fd")) + spare
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[4]))
seen = sweep(cluster, plan)
print(json.dumps([[r.state for r in seen.pairs], list(seen.trouble), seen.duration_s]))
"""

Told = tuple[list[str], list[str], float]  # states, trouble, duration in seconds


def in_a_process(
    name: str,
    *,
    protocols: str = "icmp,dns-udp,dns-tcp,oneway",
    count: int = 5,
    spare_descriptors: int = 1000,
    stops_after_s: float = 0.0,
) -> Told:
    """Sweep in a process of its own, which stops itself for two seconds where asked."""
    argv = [sys.executable, "-c", SWEEP, name, str(count), str(spare_descriptors)]
    argv += [str(stops_after_s), protocols]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        if stops_after_s:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            pause(2.0)
            process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        states, trouble, duration_s = json.loads(process.stdout.read())
    return states, trouble, duration_s


@pytest.mark.parametrize("protocol", ["icmp", "oneway"])
def test_a_receive_buffer_that_overflows_makes_its_pairs_unknown(
    cluster: TwinCluster, protocol: str
) -> None:
    """The answers came and were dropped by the prober's own socket; with a large one all pass."""
    plan = make_plan(cluster.inventory(), (protocol,), count=100)

    tiny = sweep(cluster, plan, tuning=Tuning(receive_buffer_bytes=1))
    large = sweep(cluster, plan)

    states = Counter(result.state for result in tiny.pairs)
    assert states[State.FAIL] == 0
    assert states[State.UNKNOWN] > 0
    assert all(
        result.unknown and "socket overflow" in result.unknown
        for result in tiny.pairs
        if result.state is State.UNKNOWN
    )
    assert any("socket overflow" in text for text in tiny.trouble)
    assert {result.state for result in large.pairs} == {State.PASS}


@pytest.mark.parametrize("protocol", ["icmp", "dns-udp", "dns-tcp", "vip-pinned", "oneway"])
@pytest.mark.parametrize("stops_after_s", [0.002, 0.008])
def test_a_prober_that_is_stopped_for_two_seconds_fails_nothing(
    cluster: TwinCluster, protocol: str, stops_after_s: float
) -> None:
    """Twice the timeout passes in the middle of a burst without the prober running: no pair is blamed for it."""
    states, _trouble, duration_s = in_a_process(
        cluster.name, protocols=protocol, count=100, stops_after_s=stops_after_s
    )

    assert duration_s > 2.0
    assert State.FAIL not in states


def test_a_prober_that_was_stopped_says_so(cluster: TwinCluster) -> None:
    """In the middle of a long burst."""
    _states, trouble, _duration_s = in_a_process(cluster.name, count=200, stops_after_s=0.1)
    _states, no_trouble, _duration_s = in_a_process(cluster.name)

    assert any("the prober stood still for 2." in text for text in trouble)
    assert no_trouble == []


def test_a_prober_without_descriptors_knows_nothing(cluster: TwinCluster) -> None:
    """EMFILE is the prober's limit, not the network's loss."""
    starved, _trouble, _duration_s = in_a_process(cluster.name, spare_descriptors=8)
    served, _trouble, _duration_s = in_a_process(cluster.name, spare_descriptors=200)

    assert State.FAIL not in starved
    assert State.UNKNOWN in starved
    assert set(served) == {State.PASS}


def test_a_sweep_leaves_no_descriptor_and_stays_in_its_namespace(cluster: TwinCluster) -> None:
    """A run of many sweeps must not fill the table."""
    plan = make_plan(cluster.inventory(), ("icmp", "dns-udp", "dns-tcp", "vip-pinned", "oneway"))
    sweep(cluster, plan)
    before, namespace = open_descriptors(), Path("/proc/thread-self/ns/net").readlink()

    sweep(cluster, plan)

    assert open_descriptors() == before
    assert Path("/proc/thread-self/ns/net").readlink() == namespace


def open_descriptors() -> list[str]:
    """The numbers of all descriptors of this process."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())
