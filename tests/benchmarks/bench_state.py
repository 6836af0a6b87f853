"""Time to read the tables of many nodes; prints one line. Needs root or its own user namespace.

Usage: python tests/benchmarks/bench_state.py [NODES] (default 50); run it under `unshare -rn` without root.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence

from clusters.netlink import Netlink
from clusters.netlink import requests as rq
from clusters.netns import CLONE_NEWNET, Vantage, home_kept, unshare
from clusters.providers.base import Completed
from clusters.state import Lease
from clusters.state_reader import own_link, read_state
from clusters.topology import Inventory, Node

_ROUNDS = 21


class BareNodes:
    """A cluster of namespaces that hold tables and nothing else."""

    provider = "bare"
    name = "bench"

    def __init__(self, vantages: Sequence[Vantage]) -> None:
        self._vantages = {vantage.place: vantage for vantage in vantages}

    def inventory(self) -> Inventory:
        """The nodes alone."""
        nodes = tuple(Node(name=name, underlay=(), pod_cidrs=()) for name in self._vantages)
        return Inventory(
            provider="bare", name="bench", vips=("10.96.0.10",), nodes=nodes, pods=(), replicas=()
        )

    def vantage(self, place: str) -> Vantage:
        """The namespace made for that node."""
        return self._vantages[place]

    def leases(self) -> tuple[Lease, ...]:
        """None is published."""
        return ()

    def run(
        self, place: str, argv: Sequence[str], *, timeout_s: float = 10.0, stdin: str = ""
    ) -> Completed:
        """Nothing runs here."""
        raise NotImplementedError(place, argv, timeout_s, stdin)

    def close(self) -> None:
        """Close every namespace."""
        for vantage in self._vantages.values():
            os.close(vantage.fd)


def node_requests(index: int, nodes: int) -> list[bytes]:
    """A node's devices, and a neighbour (overlay, underlay), FDB entry, route for each of its peers."""
    made = [
        rq.veth(
            rq.Device(name="eth0", ifindex=2, up=True, mac=f"02:aa:00:00:00:{index:02x}"),
            rq.Device(name="peer0", ifindex=3),
        ),
        rq.set_link(3, up=True),
        rq.bridge(rq.Device(name="cni0", ifindex=4, up=True)),
        rq.add_address(2, f"172.18.0.{index + 2}/16"),
        rq.vxlan(
            rq.Device(name="flannel.1", ifindex=5, mac=f"02:bb:00:00:00:{index:02x}", up=True),
            vni=1,
            port=8472,
            local=f"172.18.0.{index + 2}",
            lower=2,
        ),
        rq.add_address(5, f"10.244.{index}.0/32"),
    ]
    for peer in range(nodes):
        if peer != index:
            mac, underlay = f"02:bb:00:00:00:{peer:02x}", f"172.18.0.{peer + 2}"
            via = f"10.244.{peer}.0"
            made += [
                rq.set_neigh(2, underlay, f"02:aa:00:00:00:{peer:02x}"),
                rq.set_neigh(5, via, mac),
                rq.set_fdb(5, mac, underlay),
                rq.set_route(f"{via}/24", ifindex=5, via=via, onlink=True),
            ]
    return made


def built(nodes: int) -> tuple[BareNodes, float]:
    """The nodes and the seconds their making took."""
    started_s = time.perf_counter()
    vantages = []
    with home_kept():
        for index in range(nodes):
            unshare(CLONE_NEWNET)
            fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            vantages.append(Vantage(place=f"n{index}", fd=fd))
            with Netlink.open_here() as netlink:
                netlink.apply(node_requests(index, nodes), doing=f"making n{index}")
    return BareNodes(vantages), time.perf_counter() - started_s


def timed(cluster: BareNodes, *, counters: bool) -> str:
    """Milliseconds of one reading of everything: median by the clock, least on the processor."""
    clock_s, processor_s = [], []
    for _ in range(_ROUNDS):
        started_s, worked_s = time.perf_counter(), time.process_time()
        state = read_state(cluster, counters=counters)
        clock_s.append(time.perf_counter() - started_s)
        processor_s.append(time.process_time() - worked_s)
        if state.unreadable:
            raise SystemExit(f"unreadable: {dict(state.unreadable)}")
    return f"{statistics.median(clock_s) * 1e3:.1f} ms ({min(processor_s) * 1e3:.1f} ms CPU)"


def main() -> None:
    """Build, read, print."""
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    cluster, build_s = built(nodes)
    plain = timed(cluster, counters=False)
    counted = timed(cluster, counters=True)
    started_s = time.perf_counter()
    for node in cluster.inventory().nodes:
        own_link(cluster.vantage(node.name), "flannel.1")
    links_s = time.perf_counter() - started_s
    cluster.close()
    entries = nodes * (nodes - 1) * 4
    sys.stdout.write(
        f"bench_state: {nodes} nodes, {entries} entries: build {build_s * 1e3:.1f} ms, "
        f"read {plain}, with counters {counted}, "
        f"VTEPs alone {links_s * 1e3:.1f} ms\n"
    )


if __name__ == "__main__":
    main()
