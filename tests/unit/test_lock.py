"""One run at a time per cluster."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.errors import ClusterBusyError
from clusters.lock import held
from clusters.places import make_state_dir, state_dir


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State of the test's own."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "state"))
    return tmp_path


def child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork; the child does its work with the writing end of a pipe. Its pid and the reading end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    signal.alarm(20)  # whatever happens to the test, this process ends
    try:
        work(writer)
    finally:
        os._exit(1 if sys.exception() else 0)


def hold_for_ever(writer: int) -> None:
    """Take the lock and keep it."""
    with held("c1", "run r-17"):
        os.write(writer, b"held")
        signal.pause()


def test_a_second_run_is_refused_and_told_who_holds_the_cluster() -> None:
    """One clear line: who, pid, since when, what to do. Another cluster is free."""
    pid, reader = child(hold_for_ever)
    assert os.read(reader, 4) == b"held"

    with pytest.raises(ClusterBusyError) as caught, held("c1", "probe"):
        pass
    with held("c2", "probe"):
        pass

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    text = str(caught.value)
    assert f"'c1' is held by run r-17 (pid {pid}, since 20" in text
    assert "graymesh recover --name c1" in text
    assert "\n" not in text


def test_a_killed_holder_leaves_the_lock_free() -> None:
    """The kernel drops it: there are no stale locks, though the file stays."""
    pid, reader = child(hold_for_ever)
    assert os.read(reader, 4) == b"held"
    with pytest.raises(ClusterBusyError), held("c1", "probe"):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (state_dir("c1") / "lock").exists()

    with held("c1", "recover"):
        pass


def test_a_child_forked_while_it_is_held_does_not_hold_it() -> None:
    """The twin's holder and the revert timer are such children, and outlive the run."""
    (make_state_dir("c1") / "ledger").touch()  # so that the lock's file stays the same
    with held("c1", "up"):
        pid, reader = child(lambda _writer: signal.pause())
    try:
        with held("c1", "run"):
            pass
        with held("c1", "up"):
            other, _ = child(lambda _writer: None)
            os.waitpid(other, 0)
            with pytest.raises(ClusterBusyError), held("c1", "probe"):
                pass  # the child's end did not let go of the parent's
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def test_a_killed_holder_s_child_does_not_hold_it_either() -> None:
    """It shares the open file, and lives on."""
    (make_state_dir("c1") / "ledger").touch()

    def hold_and_fork(writer: int) -> None:
        with held("c1", "up"):
            below, _ = child(lambda _writer: os.write(writer, b"up") and signal.pause())
            os.write(writer, f" {below}".encode())
            signal.pause()

    pid, reader = child(hold_and_fork)
    said = b""
    while b"up" not in said or b" " not in said:
        said += os.read(reader, 100)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    with held("c1", "recover"):
        pass
    os.kill(int(said.replace(b"up", b"")), signal.SIGKILL)


def test_the_same_process_cannot_hold_it_twice() -> None:
    """Two engines in one process would disturb each other just the same."""
    with held("c1", "run"):
        with pytest.raises(ClusterBusyError, match=f"held by run .pid {os.getpid()}"):
            held("c1", "probe").__enter__()
        with pytest.raises(ClusterBusyError):  # the refusal did not let go of it
            held("c1", "probe").__enter__()


def test_nothing_is_left_but_other_state() -> None:
    """A verb on a cluster without ledger leaves no directory; a ledger is kept, and an error lets go too."""
    with held("c1", "probe"):
        pass
    assert not state_dir("c1").exists()

    (make_state_dir("c1") / "ledger").write_text("x")
    with pytest.raises(ZeroDivisionError), held("c1", "run"):
        raise ZeroDivisionError
    with held("c1", "recover"):
        pass
    assert (state_dir("c1") / "ledger").read_text() == "x"


def test_a_lock_taken_but_not_signed_yet_is_busy_all_the_same() -> None:
    """Between locking and writing there is a moment, and a crash can leave half a line."""
    with held("c1", "run"):
        (state_dir("c1") / "lock").write_text('{"pid": 1')

        with pytest.raises(ClusterBusyError, match="only just started"):
            held("c1", "probe").__enter__()


def test_contenders_never_hold_it_together_although_the_file_comes_and_goes(state: Path) -> None:
    """Each holder removes the directory at its end: a lock on a removed file must not count."""
    trace = state / "inside"

    def contend(writer: int) -> None:
        taken = 0
        while taken < 500:
            try:
                with held("c1", "run"):
                    trace.touch(exist_ok=False)  # fails where another is inside
                    trace.unlink()
                    taken += 1
            except ClusterBusyError:
                continue
        os.write(writer, b"done")

    children = [child(contend) for _ in range(3)]

    assert [os.read(reader, 4) for _, reader in children] == [b"done"] * 3
    assert [os.waitpid(pid, 0)[1] for pid, _ in children] == [0] * 3
