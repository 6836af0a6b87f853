"""The way out of an unprivileged twin, handed to a process that starts from nothing, as a revert timer does."""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable

import pytest

import clusters.dns_server  # imported while its files can be read; holders import it only when they need it
from chaos.timer import _handed_over
from clusters.providers.base import ClusterSpec
from clusters.providers.twin import holder, host
from clusters.providers.twin.provider import TwinProvider

pytestmark = pytest.mark.twin

_NOBODY = 65534
_PR_SET_DUMPABLE = 4  # what exec would restore: else /proc/self belongs to root


@pytest.mark.skipif(os.geteuid() != 0, reason="already without root: test_timer does it")
def test_a_process_with_the_passport_reaches_the_holders() -> None:
    """Its starter sits in an empty network namespace: without the door no holder's socket can be seen."""

    def live() -> None:
        provider, name = TwinProvider(), f"passport{os.getpid()}"
        provider.up(
            ClusterSpec(name=name, nodes=2, dns_replicas=1, owner_pid=os.getpid()),
            progress=lambda _text: None,
        )
        provider.open(name).close()  # joins
        passport = host.passport()
        assert passport is not None

        ours, host._joined = host._joined, None  # what a fresh interpreter knows
        assert ours is not None
        assert host.names() == ()
        host.travel_on(host.Passport(passport.uid, _copied(passport.fds)))
        assert host.names() == (name,)
        cluster = provider.open(name)
        assert len(cluster.leases()) == 2
        cluster.close()
        provider.down(name)

    assert _as_nobody(live) == ""


def test_who_joined_nothing_hands_nothing_over() -> None:
    """A privileged process, or one before it opened a twin."""
    assert _handed_over(None) == ((), [])


@pytest.mark.parametrize("fds", [(3, 4), (4, 3), (9, 8)])
def test_descriptors_are_copied_beyond_themselves(fds: tuple[int, int]) -> None:
    """A copy that lands on the other's number would lose it."""
    words, actions = _handed_over(host.Passport(1000, fds))

    targets = [to for _, _, to in actions]
    assert words == ("1000", *map(str, targets))
    assert [fd for _, fd, _ in actions] == list(fds)
    assert not set(targets) & set(fds)


def _copied(fds: tuple[int, int]) -> tuple[int, int]:
    return os.dup(fds[0]), os.dup(fds[1])


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
