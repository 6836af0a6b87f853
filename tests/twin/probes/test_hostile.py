"""Answers that are late, foreign or wrong, from a server in a pod that means no good."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import dns.message
import dns.rcode
import dns.rrset
import pytest

from clusters.netns import inside
from clusters.providers.twin.client import TwinCluster
from clusters.topology import Replica
from probes.engine import sweep
from probes.model import Observation
from probes.plan import make_plan

pytestmark = pytest.mark.twin

Answer = Callable[[bytes], bytes]  # from a query to what is sent back

NAME = "kubernetes.default.svc.cluster.local."
SERVER = "n1-p0"


def right(query: bytes) -> bytes:
    """What a replica would answer."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.answer.append(dns.rrset.from_text(NAME, 5, "IN", "A", "10.96.0.1"))
    return message.to_wire()


def other_id(query: bytes) -> bytes:
    """The right answer to another query."""
    return bytes([query[0] ^ 1]) + right(query)[1:]


def other_address(query: bytes) -> bytes:
    """An answer with an address that is not the service's."""
    return right(query).replace(socket.inet_aton("10.96.0.1"), socket.inet_aton("10.0.0.9"))


def server_failure(query: bytes) -> bytes:
    """As a server that cannot reach its source."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.set_rcode(dns.rcode.SERVFAIL)
    return message.to_wire()


@contextlib.contextmanager
def serving(
    cluster: TwinCluster, answer: Answer, *, after_s: float = 0.0
) -> Iterator[list[tuple[str, int]]]:
    """A server on UDP port 53 in a client pod's namespace; gives the addresses and ports that asked it."""
    peers: list[tuple[str, int]] = []
    with inside(cluster.vantage(SERVER)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stop = threading.Event()

    def serve() -> None:
        held: deque[tuple[float, bytes, tuple[str, int]]] = deque()
        while not stop.is_set():
            if select.select([sock], [], [], 0.005)[0]:
                query, peer = sock.recvfrom(4096)
                peers.append(peer)
                held.append((time.monotonic() + after_s, answer(query), peer))
            while held and held[0][0] <= time.monotonic():
                _due, wire, peer = held.popleft()
                with contextlib.suppress(ConnectionRefusedError):
                    sock.sendto(wire, peer)

    with contextlib.closing(sock), ThreadPoolExecutor(1) as pool:
        sock.bind(("0.0.0.0", 53))  # noqa: S104 - inside a pod's namespace
        done = pool.submit(serve)
        try:
            yield peers
        finally:
            stop.set()
        done.result()


def ask(cluster: TwinCluster, protocol: str, *, timeout_s: float = 0.3) -> Observation:
    """Probe that server from the other pods as if it were the one replica."""
    inventory = cluster.inventory()
    (pod,) = [pod for pod in inventory.pods if pod.name == SERVER]
    odd = Replica(name="odd", node=pod.node, ips=pod.ips)
    others = tuple(pod for pod in inventory.pods if pod.name != SERVER)
    posed = dataclasses.replace(inventory, pods=others, replicas=(odd,), vips=pod.ips)
    return sweep(cluster, make_plan(posed, (protocol,)), timeout_s=timeout_s)


def test_a_late_answer_is_none_and_not_taken_for_the_next_query(cluster: TwinCluster) -> None:
    """The server answers all rightly, but after the timeout; in time it would pass."""
    with serving(cluster, right, after_s=0.4):
        late = ask(cluster, "dns-udp")
        in_time = ask(cluster, "dns-udp", timeout_s=1.0)

    assert [(r.ok, r.errors) for r in late.pairs] == [(0, {"timeout": 5})] * 3
    assert [(r.ok, r.sent) for r in in_time.pairs] == [(5, 5)] * 3
    assert all(r.latency and r.latency.min_us >= 400_000 for r in in_time.pairs)


def test_late_answers_on_a_pinned_socket_are_not_the_next_querys(cluster: TwinCluster) -> None:
    """One socket lives through a sweep, so ids alone tell its answers apart."""
    with serving(cluster, right, after_s=0.4):
        late = ask(cluster, "vip-pinned")

    assert [(r.ok, r.errors) for r in late.pairs] == [(0, {"timeout": 5})] * 3


def test_an_answer_with_a_foreign_id_is_none(cluster: TwinCluster) -> None:
    """It may be someone else's, so the right one is still waited for."""
    with serving(cluster, other_id):
        seen = ask(cluster, "dns-udp")

    assert [(r.ok, r.errors) for r in seen.pairs] == [(0, {"timeout": 5})] * 3


def test_wrong_answers_and_failures_are_named(cluster: TwinCluster) -> None:
    """Something answered, and what it said is data."""
    with serving(cluster, other_address):
        wrong = ask(cluster, "dns-udp")
    with serving(cluster, server_failure):
        failing = ask(cluster, "dns-udp")
    with serving(cluster, lambda _query: b"?"):
        noise = ask(cluster, "dns-udp")

    assert [r.errors for r in wrong.pairs] == [{"wrong-answer": 5}] * 3
    assert [r.errors for r in failing.pairs] == [{"servfail": 5}] * 3
    assert [r.errors for r in noise.pairs] == [{"malformed": 5}] * 3


def test_a_port_without_a_server_refuses(cluster: TwinCluster) -> None:
    """The kernel of the pod says so, at once."""
    seen = ask(cluster, "dns-udp", timeout_s=1.0)

    assert [r.ok for r in seen.pairs] == [0, 0, 0]
    assert all("refused" in r.errors for r in seen.pairs)


def identity(query: bytes) -> bytes:
    """The right answer to the identity name."""
    message = dns.message.make_response(dns.message.from_wire(query))
    name = "replica.graymesh.cluster.local."
    message.answer.append(dns.rrset.from_text(name, 5, "IN", "A", "10.244.1.2"))
    return message.to_wire()


def test_no_source_port_is_used_twice_for_the_vip(cluster: TwinCluster) -> None:
    """A port used again meets the conntrack entry of its first use; of few ports, chance would repeat some."""
    for pod in ("n0-p0", "n2-p0", "n3-p0"):
        cluster.run(pod, ("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40079"))
    try:
        with serving(cluster, identity) as peers:
            fresh = ask(cluster, "vip", timeout_s=1.0)
            fresh_peers = list(peers)
            peers.clear()
            pinned = ask(cluster, "vip-pinned", timeout_s=1.0)
            pinned_peers = list(peers)
    finally:
        for pod in ("n0-p0", "n2-p0", "n3-p0"):
            cluster.run(pod, ("sysctl", "-qw", "net.ipv4.ip_local_port_range=32768 60999"))

    assert [(r.ok, r.sent, r.answered_by) for r in fresh.pairs] == [(20, 20, {"odd": 20})] * 3
    assert len(fresh_peers) == len(set(fresh_peers)) == 60
    assert [(r.ok, r.sent) for r in pinned.pairs] == [(5, 5)] * 3
    assert (len(pinned_peers), len(set(pinned_peers))) == (15, 3)
