"""Commands inside namespaces."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from clusters.commands import exec_argv, run_argv
from clusters.errors import ExecTransportError
from clusters.netns import CLONE_NEWNET, home_kept, unshare
from clusters.providers.twin.namespaces import here, new_mounts

pytestmark = pytest.mark.twin

PATIENCE_S = 10.0
NET = ["readlink", "/proc/self/ns/net"]


def network() -> int:
    """Another network namespace."""
    with home_kept():
        unshare(CLONE_NEWNET)
        return here(CLONE_NEWNET)


def mounts() -> int:
    """Another mount namespace, with a file in its own /run."""
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    return new_mounts(home, {"flannel/subnet.env": "FLANNEL_MTU=1450"})


def name_of(fd: int) -> str:
    """A namespace's name as /proc shows it."""
    return f"net:[{os.fstat(fd).st_ino}]"


def said(argv: list[str], **place: int) -> str:
    """What a command prints there."""
    return run_argv(
        argv, timeout_s=PATIENCE_S, netns_fd=place.get("net"), mountns_fd=place.get("mnt")
    ).stdout.strip()


def test_a_command_runs_in_the_network_namespace_and_the_caller_stays() -> None:
    """Entering moves the thread; it has to be back whatever happens."""
    other, home = network(), str(Path("/proc/self/ns/net").readlink())

    assert said(NET, net=other) == name_of(other) != home
    assert said(NET) == home
    with pytest.raises(ExecTransportError):
        run_argv(["no-such-program-here"], netns_fd=other, timeout_s=PATIENCE_S)
    assert said(NET) == home


def test_two_threads_can_run_commands_in_different_places() -> None:
    """A namespace belongs to a thread, not to the process."""
    places = [network() for _ in range(4)]
    seen: dict[int, set[str]] = {fd: set() for fd in places}

    def look(fd: int) -> None:
        seen[fd] = {said(NET, net=fd) for _ in range(10)}

    threads = [threading.Thread(target=look, args=(fd,)) for fd in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {fd: {name_of(fd)} for fd in places}


def test_a_command_sees_the_node_s_own_run_and_keeps_its_directory(tmp_path: Path) -> None:
    """/run/flannel/subnet.env is each node's; a path given by the user still means what it did."""
    node = mounts()
    os.chdir(tmp_path)

    assert said(["cat", "/run/flannel/subnet.env"], mnt=node) == "FLANNEL_MTU=1450"
    assert said(["pwd"], mnt=node) == str(tmp_path)
    assert run_argv(["ls", "/run/flannel"], timeout_s=PATIENCE_S).status != 0


def test_exec_enters_both(capfd: pytest.CaptureFixture[str]) -> None:
    """As `graymesh exec node/n0` does."""
    node, other = mounts(), network()

    status = exec_argv(
        ["sh", "-c", "cat /run/flannel/subnet.env; readlink /proc/self/ns/net"],
        netns_fd=other,
        mountns_fd=node,
    )

    assert (status, capfd.readouterr().out) == (0, f"FLANNEL_MTU=1450{name_of(other)}\n")


def test_a_place_that_cannot_be_entered_is_a_transport_error() -> None:
    """It is not the command's failure, and the caller stays where it is."""
    nowhere, home = os.open("/dev/null", os.O_RDONLY), said(NET)

    with pytest.raises(ExecTransportError, match="cannot run `true`: Invalid argument"):
        run_argv(["true"], netns_fd=nowhere, timeout_s=PATIENCE_S)
    with pytest.raises(ExecTransportError, match="cannot run `true`: its mount namespace"):
        run_argv(["true"], mountns_fd=nowhere, timeout_s=PATIENCE_S)
    assert said(NET) == home
