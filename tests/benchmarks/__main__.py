"""`make bench`: every figure beside its peer in one run; a table on stdout, JSON in bench.json.

Each part runs in a process of its own, so that one part's open descriptors and threads do not weigh on the next.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.registry import PROVIDERS, open_cluster
from tests.benchmarks.figure import Figure

_TWIN = PROVIDERS["twin"]
_GRAYMESH: Final = str(Path(sys.executable).parent / "graymesh")


@contextmanager
def twin(nodes: int, pods: int) -> Iterator[Cluster]:
    """A twin that is gone afterwards."""
    name = f"bench-{os.getpid()}"
    _TWIN.up(ClusterSpec(name=name, nodes=nodes, pods_per_node=pods), progress=lambda _line: None)
    try:
        cluster = open_cluster(name)
        yield cluster
        cluster.close()
    finally:
        _TWIN.down(name)


def build() -> Iterator[Figure]:
    """Build and tear-down of twins, inside the process."""
    for nodes, pods, goal_s in ((4, 1, 0.5), (20, 4, 1.5), (100, 3, 6.0)):
        up_s, down_s = zip(*(_up_and_down(nodes, pods) for _ in range(5)), strict=True)
        built_s, gone_s = statistics.median(up_s), statistics.median(down_s)
        yield Figure(f"build {nodes} nodes x {pods} pods", built_s, "s", goal=f"≤ {goal_s}")
        yield Figure(f"tear down {nodes} x {pods}", gone_s, "s", goal=f"≤ {built_s:.2f} (build)")


def _up_and_down(nodes: int, pods: int) -> tuple[float, float]:
    name = f"bench-{os.getpid()}"
    started_s = time.perf_counter()
    _TWIN.up(ClusterSpec(name=name, nodes=nodes, pods_per_node=pods), progress=lambda _line: None)
    built_s = time.perf_counter()
    _TWIN.down(name)
    return built_s - started_s, time.perf_counter() - built_s


def sweeps() -> Iterator[Figure]:
    """Every pod to every other pod by ICMP, beside fping."""
    from tests.benchmarks.bench_sweep import FPING_TUNED, bench_sweep

    with twin(20, 4) as cluster:
        seen = bench_sweep(cluster)
    tuned = next(iter(seen.fping_s))
    assert tuned.startswith(FPING_TUNED[0])
    yield Figure(f"sweep of {seen.pairs} pairs, 20 x 4", seen.graymesh_s, "s")
    for command, taken_s in seen.fping_s.items():
        goal = "ratio ≥ 2" if command == tuned else ""
        lost = f"{seen.fping_lost[command]} of {seen.pairs * seen.count} lost"
        yield Figure(
            "  the same pairs by fping in every pod",
            taken_s,
            "s",
            goal=goal,
            peer=f"{command} -f TARGETS ({lost})",
            ratio=taken_s / seen.graymesh_s,
        )
    yield Figure("  graymesh on one CPU", seen.graymesh_one_lane_s, "s")
    yield Figure("  graymesh probes lost", seen.lost, "", goal="0")


def sustained(probes: int = 1_000_000) -> Iterator[Figure]:
    """A long run on one CPU, and the kernel's own counters beside ours."""
    from tests.benchmarks.bench_sweep import bench_sustained

    with twin(20, 4) as cluster:
        seen = bench_sustained(cluster, probes=probes)
    yield Figure("sustained ICMP probes, one CPU", seen.per_s, "/s", goal="≥ 30000")
    yield Figure(f"  lost of {seen.probes}", seen.probes - seen.answered, "", goal="0")
    differ = abs(seen.kernel_out_echos - seen.probes) + abs(
        seen.kernel_in_echo_replies - seen.answered
    )
    yield Figure("  difference from the kernel's ICMP counters", differ, "", goal="0")


def names() -> Iterator[Figure]:
    """DNS queries to replicas with fresh sockets, beside dnsperf."""
    from tests.benchmarks.bench_dns import bench_dns

    with twin(4, 4) as cluster:
        yield from bench_dns(cluster)


def audit() -> Iterator[Figure]:
    """Reading and auditing the tables of 50 nodes."""
    from clusters.state_reader import read_state
    from probes.audit import audit as audited

    with twin(50, 1) as cluster:
        taken_s = []
        for _ in range(11):
            started_s = time.perf_counter()
            audited(read_state(cluster, counters=False))
            taken_s.append(time.perf_counter() - started_s)
    yield Figure(
        "audit of 50 nodes (read and compare)", statistics.median(taken_s), "s", goal="≤ 0.15"
    )


def dead_pair() -> Iterator[Figure]:
    """From the start of a full sweep until dead pairs are flagged, 1 s timeout."""
    from probes.engine import sweep
    from probes.model import PROTOCOLS, State
    from probes.plan import make_plan

    with twin(4, 1) as cluster:
        cluster.run("n1-p0", ["ip", "link", "set", "eth0", "down"])
        plan = make_plan(cluster.inventory(), PROTOCOLS)
        started_s = time.perf_counter()
        seen = sweep(cluster, plan, timeout_s=1.0)
        taken_s = time.perf_counter() - started_s
    assert any(one.state is State.FAIL for one in seen.pairs)
    yield Figure("dead pairs flagged after", taken_s, "s", goal="≤ 1.5")


def commands() -> Iterator[Figure]:
    """Whole processes: start-up, and the main job."""
    yield Figure("graymesh --version", _command([_GRAYMESH, "--version"], 9), "s", goal="≤ 0.3")
    demo = [_GRAYMESH, "run", "founding", "--prove", "--seed", "1"]
    yield Figure(
        "make demo, set up (" + " ".join(demo[1:]) + ")", _command(demo, 3), "s", goal="≤ 10"
    )


def _command(argv: list[str], repeat: int) -> float:
    taken_s = []
    for _ in range(repeat):
        started_s = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken_s.append(time.perf_counter() - started_s)
    return statistics.median(taken_s)


PARTS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {
    "build": build,
    "sweeps": sweeps,
    "sustained": sustained,
    "names": names,
    "audit": audit,
    "dead-pair": dead_pair,
    "commands": commands,
}


def main() -> None:
    """Run the chosen parts, each in its own process, and print their table."""
    asked = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    asked.add_argument("parts", nargs="*", help=", ".join(PARTS))
    asked.add_argument("--json", type=Path, default=Path("bench.json"))
    asked.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.part:
        json.dump([one.document() for one in PARTS[options.part]()], sys.stdout)
        return
    table = Table("figure", "measured", "goal", "peer ÷ graymesh", "peer's command")
    documents = []
    for part in options.parts or PARTS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks", "--part", part],
            check=True,
            stdout=subprocess.PIPE,
        )
        for document in json.loads(done.stdout):
            documents.append(document)
            table.add_row(*Figure(**document).cells())
        sys.stderr.write(f"{part}: done\n")
    Console(width=150).print(table)
    options.json.write_text(json.dumps({"cpus": os.cpu_count(), "figures": documents}, indent=1))


if __name__ == "__main__":
    main()
