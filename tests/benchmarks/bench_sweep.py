"""ICMP sweeps beside fping in every pod: same pairs, same machine, one after the other."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.netns import home_kept, setns
from clusters.providers.base import Cluster
from probes.counters import echo_counters
from probes.engine import Tuning, sweep
from probes.model import State
from probes.plan import make_plan

FPING_TUNED = ("fping", "-q", "-i0", "-C{count}", "-p20", "-t1000")
FPING_UNTUNED_ROUNDS = ("fping", "-q", "-i0", "-C{count}")
FPING_DEFAULT_PACING = ("fping", "-q", "-C{count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFigures:
    """Medians in seconds; `fping_s` by the command line used (targets come by -f)."""

    pairs: int
    count: int
    graymesh_s: float
    graymesh_one_lane_s: float
    fping_s: dict[str, float]
    lost: int
    fping_lost: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SustainedFigures:
    """A long run of one lane, and what the kernel counted meanwhile over all pods."""

    probes: int
    answered: int
    per_s: float
    kernel_out_echos: int
    kernel_in_echo_replies: int


def bench_sweep(cluster: Cluster, *, count: int = 1, repeat: int = 7) -> SweepFigures:
    """Every pod to every other pod: graymesh and three ways of calling fping, in turns, medians of `repeat`."""
    inventory = cluster.inventory()
    pods = {pod.name for pod in inventory.pods}
    plan = make_plan(inventory, ("icmp",), count=count)
    only = [target.pair for target in plan.targets if target.pair.dst in pods]
    plan = make_plan(inventory, ("icmp",), count=count, only=only)
    lost = 0

    def ours(lanes: int | None) -> float:
        nonlocal lost
        started_s = time.perf_counter()
        observation = sweep(cluster, plan, tuning=Tuning(lanes=lanes))
        taken_s = time.perf_counter() - started_s
        lost += sum(result.sent - result.ok for result in observation.pairs)
        return taken_s

    commands = [FPING_TUNED, FPING_UNTUNED_ROUNDS, FPING_DEFAULT_PACING]
    peers = {" ".join(argv): [part.format(count=count) for part in argv] for argv in commands}
    peers = {" ".join(argv): argv for argv in peers.values()}
    with tempfile.TemporaryDirectory() as scratch:
        fping = _Fping(cluster, Path(scratch))
        turns: list[Callable[[], float]] = [lambda: ours(None), lambda: ours(1)]
        turns += [lambda argv=argv: fping.run(argv) for argv in peers.values()]
        taken = [[turn() for turn in turns] for _ in range(repeat)]
        medians = [statistics.median(column) for column in zip(*taken, strict=True)]
        fping_lost = {}
        for name, argv in peers.items():
            fping.run(argv)
            fping_lost[name] = fping.lost()
    return SweepFigures(
        pairs=len(plan.targets),
        count=count,
        graymesh_s=medians[0],
        graymesh_one_lane_s=medians[1],
        fping_s=dict(zip(peers, medians[2:], strict=True)),
        lost=lost,
        fping_lost=fping_lost,
    )


def bench_sustained(cluster: Cluster, *, probes: int = 1_000_000) -> SustainedFigures:
    """So many ICMP probes over all pairs on one CPU, and the kernel's own counts beside ours."""
    inventory = cluster.inventory()
    pairs = len(make_plan(inventory, ("icmp",), count=1).targets)
    plan = make_plan(inventory, ("icmp",), count=max(1, round(probes / pairs)))
    pods = [pod.name for pod in inventory.pods]
    before = [echo_counters(cluster.vantage(pod)) for pod in pods]
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        observation = sweep(cluster, plan, tuning=Tuning(lanes=1))
    finally:
        os.sched_setaffinity(0, cpus)
    after = [echo_counters(cluster.vantage(pod)) for pod in pods]
    assert all(result.state is State.PASS for result in observation.pairs), observation.trouble
    assert observation.stats is not None
    return SustainedFigures(
        probes=sum(result.sent for result in observation.pairs),
        answered=sum(result.ok for result in observation.pairs),
        per_s=observation.stats.per_s,
        kernel_out_echos=sum(b.out_echos - a.out_echos for a, b in zip(before, after, strict=True)),
        kernel_in_echo_replies=sum(
            b.in_echo_replies - a.in_echo_replies for a, b in zip(before, after, strict=True)
        ),
    )


class _Fping:
    """fping started in every pod's namespace at once, without a shell or a helper in between."""

    def __init__(self, cluster: Cluster, scratch: Path) -> None:
        inventory = cluster.inventory()
        self._jobs: list[tuple[int, Path, Path]] = []
        for pod in inventory.pods:
            targets = scratch / f"{pod.name}.targets"
            others = [other.ips[0] for other in inventory.pods if other.name != pod.name]
            targets.write_text("\n".join(others) + "\n", "ascii")
            fd = cluster.vantage(pod.name).fd
            self._jobs.append((fd, targets, scratch / f"{pod.name}.out"))

    def run(self, argv: Sequence[str]) -> float:
        """Seconds from the first start to the last exit."""
        started_s = time.perf_counter()
        pids = []
        with home_kept():
            for fd, targets, out in self._jobs:
                setns(fd)
                opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                pid = os.posix_spawnp(
                    argv[0],
                    [*argv, "-f", str(targets)],
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 1, str(out), opened, 0o600),
                        (os.POSIX_SPAWN_DUP2, 1, 2),
                    ],
                )
                pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        return time.perf_counter() - started_s

    def lost(self) -> int:
        """Probes without an answer in the last run ("-" in -C's output)."""
        return sum(
            len(re.findall(r" -(?= |$)", line))
            for _fd, _targets, out in self._jobs
            for line in out.read_text("ascii").splitlines()
        )
