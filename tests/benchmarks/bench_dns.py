"""DNS queries per second beside dnsperf, against the same replicas from the same pods."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clusters.dns_names import kubernetes_name
from clusters.netns import home_kept, setns
from clusters.providers.base import Cluster
from probes.engine import sweep
from probes.plan import make_plan
from tests.benchmarks.figure import Figure

DNSPERF = ("dnsperf", "-l", "2", "-c", "16", "-q", "64")
"""One per replica, all at once, with few long-lived sockets; -m, -s and -d are added."""


def bench_dns(cluster: Cluster, *, queries: int = 24_000, repeat: int = 5) -> Iterator[Figure]:
    """Fresh-socket queries from all pods to all replicas, and dnsperf from as many pods as there are replicas."""
    with tempfile.TemporaryDirectory() as scratch:
        dnsperf = _Dnsperf(cluster, Path(scratch))
        turns: list[Callable[[], float]] = [
            lambda: _ours(cluster, "dns-udp", queries),
            lambda: dnsperf.run("udp"),
            lambda: _ours(cluster, "dns-tcp", queries // 4),
            lambda: dnsperf.run("tcp"),
            lambda: _ours(cluster, "vip", queries),
        ]
        taken = [[turn() for turn in turns] for _ in range(repeat)]
    udp, peer_udp, tcp, peer_tcp, vip = (statistics.median(c) for c in zip(*taken, strict=True))
    command = " ".join(DNSPERF)
    yield Figure("DNS over UDP to replicas, a socket per query", udp, "/s", goal="≥ 20000")
    yield _peer(peer_udp, f"{command} -m udp, one per replica", udp)
    yield Figure("DNS over TCP to replicas, a connection per query", tcp, "/s")
    yield _peer(peer_tcp, f"{command} -m tcp, one per replica", tcp)
    yield Figure("DNS over UDP to the VIP, a socket per query", vip, "/s")


def _peer(per_s: float, command: str, ours: float) -> Figure:
    label = "  dnsperf, its sockets kept open"
    return Figure(label, per_s, "/s", peer=command, ratio=ours / per_s)


def _ours(cluster: Cluster, protocol: str, queries: int) -> float:
    """Queries per second of a whole sweep; every one must be answered."""
    inventory = cluster.inventory()
    pairs = len(make_plan(inventory, (protocol,), count=1).targets)
    count = max(1, queries // pairs // (4 if protocol == "vip" else 1))  # the VIP gets 4 per count
    plan = make_plan(inventory, (protocol,), count=count)
    started_s = time.perf_counter()
    observation = sweep(cluster, plan)
    taken_s = time.perf_counter() - started_s
    assert all(result.sent == result.ok for result in observation.pairs), observation.trouble
    return sum(result.sent for result in observation.pairs) / taken_s


class _Dnsperf:
    """dnsperf in one client pod per replica."""

    def __init__(self, cluster: Cluster, scratch: Path) -> None:
        inventory = cluster.inventory()
        self._names = scratch / "names"
        self._names.write_text(f"{kubernetes_name(inventory.domain)} A\n", "ascii")
        self._jobs = [
            (cluster.vantage(pod.name).fd, replica.ips[0], scratch / f"{replica.name}.out")
            for pod, replica in zip(inventory.pods, inventory.replicas, strict=False)
        ]

    def run(self, mode: str) -> float:
        """Queries per second over all of them."""
        pids = []
        with home_kept():
            for fd, address, out in self._jobs:
                setns(fd)
                opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                pid = os.posix_spawnp(
                    DNSPERF[0],
                    [*DNSPERF, "-m", mode, "-s", address, "-d", str(self._names)],
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 1, str(out), opened, 0o600),
                        (os.POSIX_SPAWN_DUP2, 1, 2),
                    ],
                )
                pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        return sum(_per_s(out.read_text("ascii")) for _fd, _address, out in self._jobs)


def _per_s(text: str) -> float:
    (found,) = re.findall(r"Queries per second:\s+([0-9.]+)", text)
    return float(found)
