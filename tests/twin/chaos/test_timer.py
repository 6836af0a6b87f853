"""The revert timer: outlives graymesh, ends with its injection, leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.engine import Engine
from chaos.records import TimerStarted, read
from chaos.testing import portrait
from clusters.ledger import Ledger
from clusters.lock import held
from clusters.providers.base import Cluster
from clusters.providers.registry import open_cluster
from clusters.providers.twin.provider import TwinProvider
from clusters.waiting import Deadline, pause, poll_until

pytestmark = pytest.mark.twin

FOUNDING = {"victim": "n0", "peers": "n1"}


def injected_and_killed(name: str, after_s: float) -> int:
    """Inject in a process that SIGKILL ends right after; the timer's pid."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), held(name, "run r-1"):
            with contextlib.closing(open_cluster(name)) as cluster:
                engine = Engine(cluster, ledger=Ledger.of(name), run_id="r-1")
                engine.inject("founding", FOUNDING, revert_after_s=after_s)
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return timer_of(name)


def timer_of(name: str) -> int:
    """The pid of the one timer that the ledger names."""
    (timer,) = (entry for entry in read(Ledger.of(name)) if isinstance(entry, TimerStarted))
    return timer.pid


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether it has ended within a while."""
    return poll_until(
        lambda: not runs(pid), awaited="the timer to end", deadline=Deadline.after(10), every_s=0.05
    )


def test_a_timer_reverts_after_graymesh_was_killed(twin: str, cluster: Cluster) -> None:
    """Nobody may be there to run `recover`."""
    before = portrait(cluster)

    pid = injected_and_killed(twin, 0.5)
    broken = portrait(cluster)
    alive = runs(pid)

    assert gone(pid)
    assert alive
    assert broken != before
    assert portrait(cluster) == before
    assert Ledger.of(twin).size_bytes() is None


def test_undo_ends_the_timer_at_once(twin: str, cluster: Cluster) -> None:
    """No process stays behind, not even for a moment after the command has returned."""
    with held(twin, "undo"):
        engine = Engine(cluster, ledger=Ledger.of(twin), run_id="r-1")
        injection = engine.inject("founding", FOUNDING, revert_after_s=60)
        pid = timer_of(twin)
        alive = runs(pid)
        engine.undo(injection.id)

    assert alive
    assert not Path(f"/proc/{pid}").exists()


def test_another_process_undoes_and_ends_the_timer(twin: str, cluster: Cluster) -> None:
    """`undo` and `recover` are other processes than `inject` was."""
    before = portrait(cluster)
    pid = injected_and_killed(twin, 60)

    with held(twin, "undo"):
        Engine(cluster, ledger=Ledger.of(twin), run_id="r-2").undo_all()

    assert gone(pid)
    assert portrait(cluster) == before


def test_a_timer_waits_for_who_holds_the_lock(twin: str, cluster: Cluster) -> None:
    """That process may be in the middle of something; the timer goes on when it is free."""
    before = portrait(cluster)
    pid = injected_and_killed(twin, 0.1)

    with held(twin, "run r-2"):
        broken = portrait(cluster)
        pause(1.2)  # twice the timer's poll: it has tried
        still = portrait(cluster)
        waiting = runs(pid)

    assert gone(pid)
    assert waiting
    assert still == broken != before
    assert portrait(cluster) == before


def test_a_timer_does_not_outlive_its_cluster(make_twin: Callable[[], str]) -> None:
    """A cluster that `run` made for itself goes with its process; nothing is left to revert."""
    name = make_twin()
    pid = injected_and_killed(name, 600)

    TwinProvider().down(name)

    assert gone(pid)
    assert Ledger.of(name).size_bytes() is None


def test_a_timer_does_not_outlive_its_ledger(twin: str, cluster: Cluster) -> None:
    """`down` removes the state directory under it."""
    before = portrait(cluster)
    pid = injected_and_killed(twin, 600)
    text = Ledger.of(twin).path.read_bytes()

    Ledger.of(twin).path.unlink()

    assert gone(pid)
    Ledger.of(twin).path.write_bytes(text)
    Engine(cluster, ledger=Ledger.of(twin), run_id="r-2").undo_all()
    assert portrait(cluster) == before


def test_a_timer_holds_nothing_of_its_parent(twin: str, cluster: Cluster) -> None:
    """A pipe held open would hang whoever waits for its end: a CI runner, a make."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003  # its only form
    with held(twin, "inject"):
        engine = Engine(cluster, ledger=Ledger.of(twin), run_id="r-1")
        injection = engine.inject("founding", FOUNDING, revert_after_s=60)
        pid = timer_of(twin)
        targets = poll_until(
            lambda: {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()},
            until=lambda seen: not any("pipe" in target for target in seen.values()),
            awaited="the timer to let go of what it inherited",
            deadline=Deadline.after(10),
        )
        session = os.getsid(pid)
        engine.undo(injection.id)
    os.close(reader)
    os.close(writer)

    assert [targets[fd] for fd in ("0", "1", "2")] == ["/dev/null"] * 3
    assert not any("pipe" in target or "/lock" in target for target in targets.values())
    assert session == pid
