"""What the records of a ledger add up to: which injections and repairs are open, and how far each has come. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from chaos.model import MOVES, Phase
from chaos.records import Entry, Moved, Recorded, Remark, Repairing, TimerStarted
from clusters.errors import SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One injection or repair as the ledger has it."""

    what: Recorded | Repairing
    phase: Phase = Phase.RECORDED
    timer: TimerStarted | None = None
    remarks: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether anything of it may be left."""
        return self.phase is not Phase.CLEAN


def moved(name: str, before: Phase, after: Phase) -> Phase:
    """The phase after a move. Raises SetupError for one that the state machine does not have."""
    if after not in MOVES[before]:
        raise SetupError(f"{name}: a move from {before} to {after} is not allowed")
    return after


class History:
    """All injections and repairs of a ledger, in the order in which they were recorded."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """The history that these records tell. Raises SetupError where they contradict the state machine."""
        history = cls()
        for entry in entries:
            history.add(entry)
        return history

    def add(self, entry: Entry) -> None:
        """One more record. Raises SetupError where it cannot follow those before."""
        if isinstance(entry, Recorded | Repairing):
            self._standings[entry.id] = Standing(what=entry)
            return
        if entry.id not in self._standings:
            raise SetupError(f"the ledger speaks of {entry.id!r}, which it does not hold")
        standing = self._standings[entry.id]
        match entry:
            case Moved():
                phase = moved(entry.id, standing.phase, entry.phase)
                self._standings[entry.id] = replace(standing, phase=phase)
            case TimerStarted():
                self._standings[entry.id] = replace(standing, timer=entry)
            case Remark():
                remarks = (*standing.remarks, entry.text)
                self._standings[entry.id] = replace(standing, remarks=remarks)

    def get(self, name: str) -> Standing | None:
        """The injection or repair of that id."""
        return self._standings.get(name)

    def open(self) -> tuple[Standing, ...]:
        """What is open, oldest first."""
        return tuple(each for each in self._standings.values() if each.open)
