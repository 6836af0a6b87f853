"""Making, finding and removing twins."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.errors import ClusterGoneError, SetupError, UsageError
from clusters.providers.base import ClusterSpec
from clusters.providers.registry import open_cluster
from clusters.providers.twin import host
from clusters.providers.twin.client import TwinCluster
from clusters.providers.twin.provider import TwinProvider
from clusters.waiting import Deadline, poll_until

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]

_SMALL = ClusterSpec(name="small", nodes=2, dns_replicas=1)


def _quiet(_text: str) -> None:
    return


def _spec(**wanted: object) -> ClusterSpec:
    return dataclasses.replace(_SMALL, name=f"u{os.getpid()}", **wanted)


def _host_state() -> tuple[object, ...]:
    """What a twin of this process could leave on the host: devices, mounts, names, processes."""
    links = {name for _, name in socket.if_nameindex()}
    mounts = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if " /run " in line
    ]
    names = [name for name in host.names() if name.startswith(f"u{os.getpid()}")]
    return links & {"br0", "cni0", "flannel.1", "n0", "veth0"}, mounts, names, _forks()


def _forks() -> set[int]:
    """Processes that were forked from this one and never ran another program, dead ones left out."""
    own = Path("/proc/self/cmdline").read_bytes()
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "cmdline").read_bytes() == own:  # empty for a zombie
                found.add(int(directory.name))
        except OSError:
            continue
    return found


def _holder_pid(name: str) -> int:
    (pid,) = (summary.holder_pid for summary in TwinProvider().list() if summary.name == name)
    assert pid is not None
    return pid


def test_down_leaves_nothing_behind() -> None:
    """A suite that leaves namespaces, mounts or processes poisons the machine it runs on."""
    before = _host_state()
    provider = TwinProvider()
    spec = _spec()

    provider.up(spec, progress=_quiet)
    during = _host_state()
    provider.down(spec.name)

    assert during != before  # the comparison sees a twin where there is one
    assert _host_state() == before


def test_sigkill_of_the_holder_leaves_nothing_behind() -> None:
    """The out-of-memory killer asks nobody; children and namespaces must follow the holder."""
    before = _host_state()
    spec = _spec()
    TwinProvider().up(spec, progress=_quiet)
    cluster = TwinProvider().open(spec.name)
    pid = _holder_pid(spec.name)
    assert _host_state() != before

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    poll_until(
        _host_state,
        until=lambda seen: seen == before,
        awaited="the host to be as before",
        deadline=Deadline.after(2.0),
    )
    with pytest.raises(ClusterGoneError):
        cluster.inventory()
    with pytest.raises(ClusterGoneError):
        cluster.vantage("n0")
    with pytest.raises(UsageError, match="no twin is called"):
        TwinProvider().open(cluster.name)
    cluster.close()


def test_a_name_exists_once(make: Make) -> None:
    """Two clusters under one name could not be told apart."""
    cluster = make()

    with pytest.raises(UsageError, match="exists"):
        TwinProvider().up(dataclasses.replace(_SMALL, name=cluster.name), progress=_quiet)

    assert cluster.inventory().nodes  # the first is unharmed


def test_of_two_ups_with_one_name_exactly_one_wins() -> None:
    """The claim of a name must be atomic: a check followed by a claim is not."""
    spec = _spec()
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            TwinProvider().up(spec, progress=_quiet)
            outcomes.append("won")
        except UsageError as exc:
            outcomes.append("exists" if "exists" in str(exc) else str(exc))

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    TwinProvider().down(spec.name)

    assert sorted(outcomes) == ["exists", "won"]


def test_a_listed_twin_tells_its_size(make: Make) -> None:
    """`graymesh list clusters` is how a user finds what is running."""
    cluster = make(nodes=3, dns_replicas=2)

    found = {summary.name: summary for summary in TwinProvider().list()}

    assert (found[cluster.name].nodes, found[cluster.name].replicas) == (3, 2)


def test_the_registry_opens_a_twin_by_name(make: Make) -> None:
    """Verbs take names and do not know providers."""
    cluster = make()

    opened = open_cluster(cluster.name)

    assert opened.inventory() == cluster.inventory()
    opened.close()
    with pytest.raises(UsageError, match="no cluster is called"):
        open_cluster("nobody-made-this")


@pytest.mark.parametrize("act", [TwinProvider().open, TwinProvider().down])
def test_an_unknown_name_is_a_usage_error(act: Callable[[str], object]) -> None:
    """Exit code 2: the caller named something that does not exist."""
    with pytest.raises(UsageError, match="no twin is called 'nobody-made-this'"):
        act("nobody-made-this")


def test_an_ephemeral_twin_ends_with_its_owner() -> None:
    """A run that is killed must not leave its cluster behind."""
    owner = subprocess.Popen(["sleep", "60"])
    spec = _spec(owner_pid=owner.pid)
    TwinProvider().up(spec, progress=_quiet)
    assert spec.name in host.names()

    owner.kill()
    owner.wait()

    poll_until(
        host.names,
        until=lambda names: spec.name not in names,
        awaited="the twin to end",
        deadline=Deadline.after(2.0),
    )


def test_up_that_is_killed_half_way_leaves_nothing() -> None:
    """A holder whose caller died before it was ready belongs to nobody."""
    before = _host_state()
    spec = _spec(nodes=40)
    pid = os.fork()
    if not pid:
        try:
            TwinProvider().up(spec, progress=lambda _text: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)

    _, status = os.waitpid(pid, 0)

    assert os.WTERMSIG(status) == signal.SIGKILL
    poll_until(
        _host_state,
        until=lambda seen: seen == before,
        awaited="the host to be as before",
        deadline=Deadline.after(5.0),
    )


def test_the_holder_keeps_no_stream_of_its_caller(make: Make) -> None:
    """`$(graymesh up)` and a CI step end only when every holder of their pipes has let go."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003  # its signature

    make()
    os.close(writer)

    assert os.read(reader, 1) == b""
    os.close(reader)


def test_an_interrupt_from_the_terminal_does_not_reach_the_holder(make: Make) -> None:
    """Ctrl-C ends the verb that runs now, not the cluster that an earlier one made."""
    cluster = make()
    pid = _holder_pid(cluster.name)

    os.kill(pid, signal.SIGINT)

    assert os.getsid(pid) == pid
    assert cluster.inventory().nodes


def test_down_removes_a_twin_that_is_still_being_made() -> None:
    """`down --all` after a hanging `up` must not wait for it."""
    before = _host_state()
    spec = _spec(nodes=100)
    said: list[str] = []

    def up() -> None:
        try:
            TwinProvider().up(spec, progress=_quiet)
        except SetupError as exc:
            said.append(str(exc))

    making = threading.Thread(target=up)
    making.start()
    poll_until(
        host.names,
        until=lambda names: spec.name in names,
        awaited="the name to be claimed",
        deadline=Deadline.after(2.0),
        every_s=0.001,
    )
    TwinProvider().down(spec.name)
    making.join()

    assert said == ["the twin's holder died while the twin was being made"]
    assert _host_state() == before


def test_a_caller_that_gives_up_leaves_nothing() -> None:
    """Ctrl-C during `up`: the caller's exception passes on after the holder has gone."""
    before = _host_state()

    def interrupt(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TwinProvider().up(_spec(nodes=40), progress=interrupt)

    assert _host_state() == before
