"""The conformance that every fault must pass, on a real cluster: `check_fault` raises AssertionError where it does not."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from chaos.engine import Engine, recover
from chaos.goals import look
from chaos.journal import Event
from chaos.kernel import KernelTables
from chaos.model import Fault, HealthGoal, Injection, Kind, UndoReport
from chaos.registry import FAULTS
from chaos.tables import dump
from chaos.world import World
from clusters.errors import ClusterBusyError, GraymeshError, UsageError
from clusters.ledger import Ledger
from clusters.lock import held
from clusters.providers.base import Cluster, CniAgents, ReplicaControl
from clusters.providers.registry import open_cluster
from clusters.state_reader import read_state

_KILLED: Final = 137
_COUNTERS: Final = re.compile(r"\[\d+:\d+\]")

Portrait = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A fault to be tried on a running cluster that nobody else uses. `beside` is another one, with disjoint keys."""

    cluster: str
    fault: str
    params: Mapping[str, str]
    beside: tuple[str, Mapping[str, str]]
    faults: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)

    @property
    def kind(self) -> Kind:
        """What the fault's undo promises."""
        return self.faults[self.fault].kind


def check_fault(trial: Trial) -> None:
    """All of the checks below. The cluster is as before afterwards, but for what a healing fault leaves."""
    check_effect(trial)
    check_overlap(trial)
    check_orders(trial)
    check_interruptions(trial)


def check_effect(trial: Trial) -> None:
    """The effect is read back and seen, undo is exact (or healing, with the differences listed) and idempotent."""
    with _engine(trial) as (engine, cluster):
        before = portrait(cluster)
        injection = _inject(engine, trial)
        _require(bool(injection.proof), f"{injection.id}: no effect was read back")
        _require(portrait(cluster) != before, f"{injection.id}: nothing changed")
        report = engine.undo(injection.id)
        _require_restored(trial, cluster, before)
        _require_listed(trial, report, before == portrait(cluster))
        after = portrait(cluster)
        _require(engine.undo(injection.id) == report, "a second undo reports something else")
        _require_same(after, portrait(cluster), "after a second undo")
        _require(not engine.open_injections(), "it is still open after undo")


def check_overlap(trial: Trial) -> None:
    """The same fault once more is refused while the first is open, and changes nothing."""
    with _engine(trial) as (engine, cluster):
        before = portrait(cluster)
        _inject(engine, trial)
        broken = portrait(cluster)
        try:
            _inject(engine, trial)
        except (ClusterBusyError, UsageError):
            pass
        else:
            raise AssertionError(f"{trial.fault}: an overlapping fault was not refused")
        _require_same(broken, portrait(cluster), "after a refusal")
        engine.undo_all()
        _require_restored(trial, cluster, before)


def check_orders(trial: Trial) -> None:
    """Two faults with disjoint keys can be undone in either order."""
    for first in (0, 1):
        with _engine(trial) as (engine, cluster):
            before = portrait(cluster)
            both = (_inject(engine, trial), engine.inject(*trial.beside))
            engine.undo(both[first].id)
            engine.undo(both[1 - first].id)
            _require_restored(trial, cluster, before)


def check_interruptions(trial: Trial) -> None:
    """Killed at every event of an injection and its undo, `recover` in another process restores the cluster."""
    events: list[str] = []
    with _engine(trial, lambda event: events.append(event.what)) as (engine, cluster):
        before = portrait(cluster)
        engine.undo(_inject(engine, trial).id)
    for number, (earlier, what) in enumerate(itertools.pairwise(("nothing", *events))):
        if earlier.endswith(" done") and what.endswith(" begins"):
            continue  # nothing happened in between
        died = _in_child(functools.partial(_killed_at, trial, number))
        _require(died == _KILLED, f"{trial.fault}: event {number} ({what}): status {died}")
        status = _in_child(functools.partial(recover, trial.cluster))
        _require(status == 0, f"{trial.fault}: killed at {what}: recover ended with {status}")
        with contextlib.closing(open_cluster(trial.cluster)) as cluster:
            _require_restored(trial, cluster, before, f"killed at {what} ({number})")


def portrait(cluster: Cluster) -> Portrait:
    """Everything of a cluster that a fault may change: tables, packet filters, agents, replicas."""
    state = read_state(cluster, counters=False)
    lines = {name: set(found) for name, found in dump(state).items()}
    for name in lines:
        saved = cluster.run(name, ["iptables-save"]).stdout.splitlines()
        rules = enumerate(_COUNTERS.sub("", line) for line in saved if not line.startswith("#"))
        lines[name] |= {f"rule {number} {rule}" for number, rule in rules}
    if isinstance(cluster, CniAgents):
        for agent in cluster.agents():
            lines[agent.node].add(f"agent frozen {agent.frozen}")
    if isinstance(cluster, ReplicaControl):
        for replica in state.inventory.replicas:
            mode = cluster.replica_mode(replica.name)
            lines[replica.node].add(f"replica {replica.name} {mode}")
    return {name: frozenset(found) for name, found in lines.items()}


@contextlib.contextmanager
def _engine(
    trial: Trial, watch: Callable[[Event], None] = lambda _event: None
) -> Iterator[tuple[Engine, Cluster]]:
    with (
        held(trial.cluster, "check_fault"),
        contextlib.closing(open_cluster(trial.cluster)) as cluster,
    ):
        ledger = Ledger.of(trial.cluster)
        engine = Engine(
            cluster, ledger=ledger, run_id="check-fault", watch=watch, faults=trial.faults
        )
        try:
            yield engine, cluster
        finally:
            engine.undo_all()


def _inject(engine: Engine, trial: Trial) -> Injection:
    return engine.inject(trial.fault, trial.params)


def _killed_at(trial: Trial, number: int) -> None:
    """Inject and undo, ending without any clean-up at that event."""
    left = number

    def watch(_event: Event) -> None:
        nonlocal left
        if left == 0:
            os._exit(_KILLED)
        left -= 1

    with _engine(trial, watch) as (engine, _):
        engine.undo(_inject(engine, trial).id)


def _in_child(act: Callable[[], object]) -> int:
    """Run that in a process of its own; its exit status, 1 for an exception."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        act()
        status = 0
    except GraymeshError as exc:
        status = exc.exit_code
    finally:
        os._exit(status)


def _require_restored(
    trial: Trial, cluster: Cluster, before: Portrait, when: str = "after undo"
) -> None:
    if trial.kind is Kind.REVERSIBLE:
        _require_same(before, portrait(cluster), when)
        return
    world = World(cluster, KernelTables(cluster))
    for node in cluster.inventory().nodes:
        seen = look(HealthGoal(node=node.name), world)
        _require(seen.standing == "met", f"{when}: {'; '.join(seen.lines('unmet'))}")


def _require_listed(trial: Trial, report: UndoReport, same: bool) -> None:  # noqa: FBT001  # the question itself
    _require(not report.foreign, f"something of somebody else's: {report.foreign}")
    if trial.kind is Kind.HEALING:
        _require(same or bool(report.differences), "differences remain and none is listed")
    else:
        _require(not report.differences, "a reversible fault lists differences")


def _require_same(before: Portrait, after: Portrait, when: str) -> None:
    if before == after:
        return
    nodes = sorted({*before, *after})
    lost = [f"{n}: lost {line}" for n in nodes for line in sorted(before[n] - after.get(n, set()))]
    new = [f"{n}: new {line}" for n in nodes for line in sorted(after[n] - before.get(n, set()))]
    raise AssertionError(f"{when} the cluster is not as before:\n" + "\n".join([*lost, *new]))


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # as assert
    if not holds:
        raise AssertionError(otherwise)
