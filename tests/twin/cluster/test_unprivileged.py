"""Twins of a user without any privilege, made and used by a child that has dropped root."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import clusters.dns_server  # imported while its files can be read; holders import it only when they need it
from clusters.errors import SetupError
from clusters.netns import inside
from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.twin import holder, host, namespaces
from clusters.providers.twin.provider import TwinProvider
from clusters.state_reader import read_state

pytestmark = [
    pytest.mark.twin,
    pytest.mark.skipif(os.geteuid() != 0, reason="already without root"),
]

Ping = Callable[[Cluster, str, str], bool]
Ask = Callable[..., str | None]

_NOBODY = 65534
_PR_SET_DUMPABLE = 4  # what exec would restore: else /proc/self belongs to root


def _quiet(_text: str) -> None:
    return


def _spec(name: str) -> ClusterSpec:
    return ClusterSpec(name=f"{name}{os.getpid()}", nodes=3, dns_replicas=2, owner_pid=os.getpid())


def _as_nobody(act: Callable[[], None]) -> str:
    """Run `act` in a child without root; what it said on failing."""
    assert clusters.dns_server
    assert holder
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
            act()
        finally:
            if sys.exc_info()[0]:
                os.write(writer, traceback.format_exc().encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        failure = said.read()
    os.waitpid(pid, 0)
    return failure


def test_a_user_without_privilege_makes_uses_and_removes_a_twin(ping: Ping, ask: Ask) -> None:
    """Most developers and many CI runners have no root."""

    def live() -> None:
        provider, spec = TwinProvider(), _spec("a")
        assert namespaces.needs_user_namespace()
        provider.up(spec, progress=_quiet)
        cluster = provider.open(spec.name)
        again = provider.open(spec.name)
        inventory = cluster.inventory()
        for pod in inventory.pods:
            assert ping(cluster, "n0-p0", pod.ips[0])
        assert {ask(cluster, "n0-p0", inventory.vip) for _ in range(30)} == {
            replica.ips[0] for replica in inventory.replicas
        }
        assert len(read_state(again, vip=True).nodes) == 3
        assert "FLANNEL_MTU=1450" in cluster.run("n1-p0", ["cat", "/run/flannel/subnet.env"]).stdout
        cluster.freeze_agent("n2")
        cluster.restart_node("n1")
        assert ping(cluster, "n0-p0", "10.244.1.2")
        assert not ping(cluster, "n2-p0", "10.244.1.2")
        assert [s.name for s in provider.list()] == [spec.name]
        provider.down(spec.name)
        assert provider.list() == ()

    assert _as_nobody(live) == ""


def test_one_process_uses_one_twin_after_the_other_and_two_at_once(ping: Ping) -> None:
    """A run of several scenarios makes a cluster for each, all inside the first one's user namespace."""

    def live() -> None:
        provider = TwinProvider()
        names = []
        for letter in "abc":
            spec = _spec(letter)
            provider.up(spec, progress=_quiet)
            cluster = provider.open(spec.name)
            assert ping(cluster, "n0-p0", "10.244.1.2")
            names.append(spec.name)
            if letter == "a":
                cluster.close()
                provider.down(names.pop())
        assert [s.name for s in provider.list()] == sorted(names)
        for name in names:
            provider.down(name)

    assert _as_nobody(live) == ""


def test_the_processes_own_namespace_comes_back_after_a_visit() -> None:
    """Sockets opened after a visit must not be the visited place's."""

    def live() -> None:
        provider, spec = TwinProvider(), _spec("a")
        provider.up(spec, progress=_quiet)
        cluster = provider.open(spec.name)
        home = Path("/proc/thread-self/ns/net").stat().st_ino
        with inside(cluster.vantage("n1")):
            assert Path("/proc/thread-self/ns/net").stat().st_ino != home
        assert Path("/proc/thread-self/ns/net").stat().st_ino == home
        provider.down(spec.name)

    assert _as_nobody(live) == ""


def test_a_process_with_threads_is_told_why_it_cannot_join() -> None:
    """The kernel says EINVAL only; importing numpy first is the usual cause."""

    def live() -> None:
        provider, spec = TwinProvider(), _spec("a")
        provider.up(spec, progress=_quiet)
        over = threading.Event()
        other = threading.Thread(target=over.wait)
        other.start()
        with pytest.raises(SetupError, match="without threads, this one has 2"):
            provider.open(spec.name)
        over.set()
        other.join()
        provider.open(spec.name).close()
        provider.down(spec.name)

    assert _as_nobody(live) == ""


def test_another_users_twins_are_neither_listed_nor_found() -> None:
    """Names belong to a user; two users may choose the same."""
    spec = _spec("shared")
    TwinProvider().up(spec, progress=_quiet)

    def live() -> None:
        provider = TwinProvider()
        assert provider.list() == ()
        provider.up(spec, progress=_quiet)
        assert [s.name for s in provider.list()] == [spec.name]
        provider.down(spec.name)

    failure = _as_nobody(live)

    assert failure == ""
    assert spec.name in host.names()
    TwinProvider().down(spec.name)


def test_a_name_squatted_by_another_user_is_refused() -> None:
    """Anybody can bind any abstract address; nobody is to be trusted with our requests."""
    address = host.address_of("squatted")
    reader, writer = os.pipe()
    release, hold = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setuid(_NOBODY)
            sock = host.new_socket()
            sock.bind(address)
            sock.listen()
            os.write(writer, b"!")
            os.close(hold)
            os.read(release, 1)
        finally:
            os._exit(0)
    os.read(reader, 1)

    with pytest.raises(SetupError, match="another user"):
        TwinProvider().open("squatted")
    with pytest.raises(SetupError, match="another user"):
        TwinProvider().down("squatted")

    for fd in (reader, writer, release, hold):
        os.close(fd)
    os.waitpid(pid, 0)


def test_a_client_of_another_user_is_turned_away() -> None:
    """The address can be connected to by anybody on the host."""
    spec = _spec("private")
    TwinProvider().up(spec, progress=_quiet)
    address = host.address_of(spec.name)

    def live() -> None:
        with host.new_socket() as sock:
            sock.connect(address)
            sock.settimeout(2.0)
            assert sock.recv(1) == b""

    failure = _as_nobody(live)

    assert failure == ""
    TwinProvider().down(spec.name)
