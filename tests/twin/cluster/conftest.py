"""Twins for tests, with the two questions that every test asks: does it arrive, who answers."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator

import dns.exception
import dns.message
import dns.query
import pytest

from clusters.netns import inside
from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.twin.client import TwinCluster
from clusters.providers.twin.provider import TwinProvider

Make = Callable[..., TwinCluster]
Ping = Callable[[Cluster, str, str], bool]
Ask = Callable[..., str | None]

_numbers = itertools.count()


def fresh_name() -> str:
    """A cluster name that no other test process uses."""
    return f"t{os.getpid()}-{next(_numbers)}"


@contextlib.contextmanager
def twins() -> Iterator[Make]:
    """Makes twins and takes those down that are still there at the end."""
    provider = TwinProvider()
    made: list[TwinCluster] = []

    def make(**wanted: object) -> TwinCluster:
        spec = dataclasses.replace(ClusterSpec(name=fresh_name(), owner_pid=os.getpid()), **wanted)
        provider.up(spec, progress=lambda _text: None)
        made.append(provider.open(spec.name))
        return made[-1]

    try:
        yield make
    finally:
        names = {summary.name for summary in provider.list()}
        for cluster in made:
            cluster.close()
            if cluster.name in names:
                provider.down(cluster.name)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes twins that end with the test."""
    with twins() as maker:
        yield maker


@pytest.fixture(scope="module")
def healthy() -> Iterator[TwinCluster]:
    """Four nodes, n0 without a replica, for tests that change nothing."""
    with twins() as maker:
        yield maker()


@pytest.fixture(scope="session")
def ping() -> Ping:
    """Whether an ICMP echo from a place comes back within 0.3 s."""

    def echo(cluster: Cluster, src: str, address: str) -> bool:
        with inside(cluster.vantage(src)):
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with sock:
            sock.settimeout(0.3)
            sock.sendto(_echo_request(), (address, 0))
            with contextlib.suppress(TimeoutError):
                while sock.recvfrom(1500)[1][0] != address:
                    pass
                return True
            return False

    return echo


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Who answers a DNS query of a place: the identity name's address; None within 0.5 s."""

    def query(cluster: Cluster, src: str, server: str, *, tcp: bool = False) -> str | None:
        message = dns.message.make_query("replica.graymesh.cluster.local", "A")
        send = dns.query.tcp if tcp else dns.query.udp
        try:
            with inside(cluster.vantage(src)):
                answer = send(message, server, timeout=0.5)
        except (dns.exception.Timeout, OSError):
            return None
        return str(next(iter(answer.answer[0])))

    return query


def _echo_request() -> bytes:
    body = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    checksum = ~sum(struct.unpack(">4H", body)) & 0xFFFF
    return struct.pack(">BBHHH", 8, 0, checksum, 1, 1)
