"""Clients that misbehave, and environments that lack something."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import os
import re
import resource
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.errors import GraymeshError, SetupError
from clusters.netns import CLONE_NEWNS, unshare
from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.twin import host
from clusters.providers.twin.client import TwinCluster
from clusters.providers.twin.namespaces import enter_private
from clusters.providers.twin.provider import TwinProvider
from clusters.providers.twin.wire import Json, encoded

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]
Ping = Callable[[Cluster, str, str], bool]


def _connected(name: str) -> socket.socket:
    sock = host.new_socket()
    sock.connect(host.address_of(name))
    sock.settimeout(2.0)
    return sock


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\x00\n",
        b"[]\n",
        b'"x"\n',
        b"x" * (2 << 20),
        b"[" * 100_000 + b"\n",
    ],
    ids=["http", "binary", "list", "text", "endless", "deep"],
)
def test_garbage_ends_its_connection_and_nothing_else(healthy: TwinCluster, garbage: bytes) -> None:
    """Whatever connects, the cluster goes on."""
    with _connected(healthy.name) as sock:
        try:
            sock.sendall(garbage)
            answer = sock.recv(1)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""

    assert answer == b""
    assert healthy.agents()


@pytest.mark.parametrize(
    "request_",
    [
        {"id": 1, "verb": "explode"},
        {"id": 1, "verb": ["hello"]},
        {"id": 1},
        {"id": 1, "verb": "boot_id"},
        {"id": 1, "verb": "boot_id", "args": []},
        {"id": 1, "verb": "boot_id", "args": {"node": 7}},
        {"id": 1, "verb": "places", "args": {"start": "x"}},
        {"id": 1, "verb": "places", "args": {"start": math.inf}},
        {"id": 1, "verb": "restart_node", "args": {"node": "n0", "down_s": math.nan}},
        {"id": 1, "verb": "restart_node", "args": {"node": "n0", "down_s": 10**400}},
        {"id": 1, "verb": "restart_node", "args": {"node": "n0", "down_s": True}},
        {"id": 1, "verb": "renew_vtep", "args": {"node": "n0", "mac": "zz"}},
        {"id": 1, "verb": "renew_vtep", "args": {"node": "n0", "mac": "00:00:00:00:00:00"}},
        {"id": 1, "verb": "renew_vtep", "args": {"node": "n0", "mac": "01:00:5e:00:00:01"}},
    ],
)
def test_a_wrong_request_gets_an_error_and_harms_nothing(
    healthy: TwinCluster, request_: dict[str, Json], ping: Ping
) -> None:
    """One client's mistake is its own."""
    with _connected(healthy.name) as sock:
        sock.sendall(encoded(request_))
        answer = sock.recv(1 << 16)

    assert b'"error"' in answer
    assert b'"class":"UsageError"' in answer
    assert ping(healthy, "n0-p0", "10.244.1.2")


def test_a_client_that_dies_in_the_middle_of_a_request_is_forgotten(healthy: TwinCluster) -> None:
    """SIGKILL of graymesh at any moment leaves the cluster usable."""
    for data in (encoded({"id": 1, "verb": "places", "args": {"start": 0}}), b'{"id": 1, "ve'):
        for _ in range(20):
            with _connected(healthy.name) as sock:
                sock.sendall(data)

    assert healthy.boot_id("n0")


def test_a_restart_finishes_after_its_client_has_gone(make: Make, ping: Ping) -> None:
    """A killed client must not leave a node down."""
    cluster = make(nodes=2, dns_replicas=1)
    args: dict[str, Json] = {"node": "n1", "down_s": 0.2}

    with _connected(cluster.name) as sock:
        sock.sendall(encoded({"id": 1, "verb": "restart_node", "args": args}))
    before = time.monotonic()
    while not ping(cluster, "n0-p0", "10.244.1.2"):
        assert time.monotonic() < before + 3.0


def test_a_client_that_does_not_read_blocks_nobody(healthy: TwinCluster) -> None:
    """The holder is single-threaded; it may wait for no client."""
    request = encoded({"id": 1, "verb": "inventory"})
    with _connected(healthy.name) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.sendall(request * 100_000)

        assert healthy.agents()


def _refusal(act: Callable[[], None]) -> str:
    """Run `act` in a child whose limits and mounts may be spoilt; the SetupError's text, "" where there was none."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            act()
        except SetupError as exc:
            os.write(writer, str(exc).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


def test_missing_iptables_is_named_with_its_fix() -> None:
    """One clear line, and nothing left."""
    spec = ClusterSpec(name=f"noipt{os.getpid()}", nodes=2, dns_replicas=1)

    def up() -> None:
        unshare(CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/usr/sbin"], check=True)
        TwinProvider().up(spec, progress=lambda _text: None)

    text = _refusal(up)

    assert re.search("iptables-restore.*fix: install iptables", text)
    assert spec.name not in host.names()


@pytest.mark.parametrize(("hard", "said"), [(64, "Too many open files"), (4096, "")])
def test_too_few_descriptors_are_an_error_not_a_hang(hard: int, said: str) -> None:
    """Every namespace costs the holder a descriptor; a low soft limit alone does no harm."""
    spec = ClusterSpec(name=f"nofd{os.getpid()}", nodes=20, pods_per_node=4)

    def up() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        TwinProvider().up(spec, progress=lambda _text: None)
        TwinProvider().down(spec.name)

    text = _refusal(up)

    assert said in text
    assert bool(text) is bool(said)
    assert spec.name not in host.names()


def test_many_places_come_in_several_messages(make: Make) -> None:
    """The kernel passes at most 253 descriptors at once (SCM_MAX_FD)."""
    cluster = make(nodes=30, pods_per_node=4)

    inventory = cluster.inventory()
    places = [item.name for item in (*inventory.nodes, *inventory.pods)]

    inodes = {os.fstat(cluster.vantage(place).fd).st_ino for place in places}
    assert len(inodes) == 150


def test_exhausted_user_namespaces_are_named_with_their_fix() -> None:
    """What hardened hosts and some CI runners forbid; nothing is left."""
    spec = ClusterSpec(name=f"nouser{os.getpid()}", nodes=2, dns_replicas=1)

    def up() -> None:
        enter_private(user=True)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        _drop_capabilities()
        TwinProvider().up(spec, progress=lambda _text: None)

    assert "max_user_namespaces" in _refusal(up)
    assert spec.name not in host.names()


def _drop_capabilities() -> None:
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # _LINUX_CAPABILITY_VERSION_3
    assert ctypes.CDLL(None).capset(header, nothing) == 0


def test_a_spec_that_cannot_be_built_is_refused_before_anything_is_made() -> None:
    """Exit code 2 with the field's name, and no process."""
    spec = ClusterSpec(name=f"none{os.getpid()}")

    for wrong in ({"nodes": 0}, {"dialect": "cilium"}, {"family": "ipv6"}, {"name": "Nope"}):
        with pytest.raises(GraymeshError, match=f"^{next(iter(wrong))}: expected"):
            TwinProvider().up(dataclasses.replace(spec, **wrong), progress=lambda _text: None)

    assert spec.name not in host.names()
