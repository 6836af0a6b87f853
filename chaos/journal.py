"""The engine's account: every move goes to the ledger before the next thing happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from chaos import records
from chaos.history import History, Standing, moved
from chaos.model import Injection, Phase
from chaos.records import Entry, Moved, Recorded, Repairing
from clusters.errors import SetupError
from clusters.ledger import Ledger


class Event(NamedTuple):
    """Something the engine is about to do or has just done, for progress and for the run's events."""

    id: str
    what: str


class Journal:
    """The ledger with what it adds up to. `watch` is told of everything, after it is on the disk.

    The file goes away when nothing in it is open any more.
    """

    def __init__(self, ledger: Ledger, watch: Callable[[Event], None]) -> None:
        """Read what is there. Raises SetupError for a ledger that cannot be understood."""
        self._ledger = ledger
        self._watch = watch
        self._history = History.of(records.read(ledger))

    def say(self, name: str, what: str) -> None:
        """Tell the watcher of an action."""
        self._watch(Event(name, what))

    def add(self, entry: Entry, what: str) -> None:
        """Put a record on the disk. Raises SetupError; then it is not there."""
        records.append(self._ledger, entry)
        self._history.add(entry)
        self.say(entry.id, what)

    def move(self, name: str, phase: Phase) -> None:
        """Note that an injection or repair came to a phase; one that it was in already is not noted again."""
        standing = self._history.get(name)
        if standing is not None and standing.phase is not phase:
            moved(name, standing.phase, phase)  # an illegal one must not get to the disk
            self.add(Moved(id=name, at=now(), phase=phase), phase.value)

    def note(self, name: str, phase: Phase) -> None:
        """As `move`, for moves of an undo: where the disk refuses, the move is known here alone.

        A full disk must not stop an undo. What was not noted is undone once more, which changes nothing.
        """
        try:
            self.move(name, phase)
        except SetupError:
            self._history.add(Moved(id=name, at=now(), phase=phase))

    def close(self, name: str) -> None:
        """Note that nothing of it is left; where nothing else is either, the file goes."""
        self.note(name, Phase.CLEAN)
        if not self._history.open():
            self._ledger.remove()

    def get(self, name: str) -> Standing | None:
        """The injection or repair of that id."""
        return self._history.get(name)

    def open(self) -> tuple[Standing, ...]:
        """What is open, oldest first."""
        return self._history.open()

    def open_repairs(self) -> tuple[Repairing, ...]:
        """The repairs that are open, oldest first."""
        return tuple(each.what for each in self.open() if isinstance(each.what, Repairing))

    def open_injections(self) -> tuple[Injection, ...]:
        """The open injections as values, oldest first."""
        return tuple(
            Injection(
                id=each.what.id,
                fault=each.what.fault,
                params=each.what.params,
                kind=each.what.kind,
                phase=each.phase,
                claims=each.what.claims,
            )
            for each in self.open()
            if isinstance(each.what, Recorded)
        )


def now() -> str:
    """The time of a record, UTC."""
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")
