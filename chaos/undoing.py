"""Taking back what was put in: injections, and repairs that must not outlive them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from chaos import differences
from chaos.acts import Acts, one_line
from chaos.model import Kind, Phase, UndoReport
from chaos.records import Recorded, Repairing
from chaos.repairs import restoration
from chaos.tables import Seen
from chaos.timer import Mark, Timers
from clusters.errors import GraymeshError, UndoError


class Undoing:
    """Undoes what is in the journal, reads it back, and closes it there."""

    def __init__(self, acts: Acts, timers: Timers) -> None:
        self._acts = acts
        self._timers = timers
        self._world = acts.world
        self._journal = acts.journal

    def take_back(self, recorded: Recorded) -> UndoReport:
        """Carry out every undo in reverse, each though others fail, for each is right whatever became of the rest.

        Idempotent. Raises UndoError where something is left; then it stays open in the ledger.
        """
        undos = [step.undo for step in recorded.steps if step.undo is not None]
        failures: list[str] = []
        for number, goal in reversed(list(enumerate(undos, 1))):
            with _collected(failures):
                self._acts.bring(recorded.id, goal, f"undo {number} of {len(undos)}")
        seen: tuple[Seen, ...] = ()
        if not failures:
            self._journal.note(recorded.id, Phase.UNDONE)
            with _collected(failures):
                seen = self._acts.settled(undos, lambda one: one.standing != "unmet")
        failures += [line for one in seen for line in one.lines("unmet")]
        if failures:
            name = self._world.cluster.name
            raise UndoError(
                f"{recorded.id}: not undone: {'; '.join(failures)};"
                f" try `graymesh recover --name {name}`"
            )
        report = UndoReport(
            id=recorded.id,
            fault=recorded.fault,
            foreign=tuple(line for one in seen for line in one.lines("foreign")),
            differences=self._differences(recorded),
        )
        self._close(recorded.id)
        return report

    def break_again(self, repairing: Repairing) -> None:
        """Bring back what the repair mended. A command that fails is no matter: what reads back is.

        Idempotent. Raises UndoError where an entry is not what it was before the repair.
        """
        for number, command in enumerate(repairing.breaks, 1):
            self._acts.run(repairing.id, command, f"break {number} of {len(repairing.breaks)}")
        goals = list(restoration(repairing, map(self._world.tables.read, repairing.before)))
        for goal in goals:
            self._acts.bring(repairing.id, goal, f"entries of {goal.node}")
        self._journal.note(repairing.id, Phase.UNDONE)
        seen = self._acts.settled(goals, lambda one: one.standing == "met")
        unmet = [line for one in seen for line in one.lines("unmet")]
        if unmet:
            raise UndoError(f"{repairing.id}: not broken again: {'; '.join(unmet)}")
        self._journal.close(repairing.id)

    def _close(self, tag: str) -> None:
        standing = self._journal.get(tag)
        self._journal.close(tag)
        if standing is not None and standing.timer is not None:
            self._timers.cancel(Mark(standing.timer.pid, standing.timer.started))

    def _differences(self, recorded: Recorded) -> tuple[str, ...]:
        """What a healing fault leaves."""
        if recorded.kind is Kind.REVERSIBLE:
            return ()
        changes = differences.changed(recorded.facts, self._acts.facts())
        marks = [each for change in changes for each in (change.before, change.after)]
        itself = [change.node for change in changes]
        lines = differences.about(self._world.tables.read_all(), marks, but=itself)
        return differences.in_words(changes, recorded.lines, lines)


@contextlib.contextmanager
def _collected(failures: list[str]) -> Iterator[None]:
    """Keep what a part of an undo failed of, and go on."""
    try:
        yield
    except (GraymeshError, OSError) as exc:
        failures.append(one_line(exc))
