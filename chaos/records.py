"""What the ledger of injections holds, typed: parsed here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from chaos.model import Facts, Kind, Phase, Slot, Step
from clusters.errors import SetupError
from clusters.ledger import Ledger


class Command(NamedTuple):
    """A command to be run on a node."""

    node: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An injection before its first effect: all that undo needs."""

    record: Literal["recorded"] = "recorded"
    id: str
    run_id: str
    at: str
    fault: str
    params: dict[str, str]
    kind: Kind
    claims: tuple[str, ...]
    steps: tuple[Step, ...]
    facts: dict[str, Facts]
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)  # chaos.differences.about


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairing:
    """Repairs by hand before the first is run, and what the named entries hold: the fault's values, to come back."""

    record: Literal["repairing"] = "repairing"
    id: str
    run_id: str
    at: str
    repairs: tuple[Command, ...]
    breaks: tuple[Command, ...]
    before: dict[str, tuple[tuple[Slot, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """An injection, or a repair, came to another phase."""

    record: Literal["moved"] = "moved"
    id: str
    at: str
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerStarted:
    """The process that reverts the injection by itself. `started` tells it from a later one with its pid."""

    record: Literal["timer"] = "timer"
    id: str
    at: str
    pid: int
    started: int
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something said about an injection where nobody listened: why a timer could not undo it."""

    record: Literal["remark"] = "remark"
    id: str
    at: str
    text: str


Entry = Recorded | Repairing | Moved | TimerStarted | Remark

_PARSER: Final[TypeAdapter[Entry]] = TypeAdapter(Annotated[Entry, Field(discriminator="record")])


def append(ledger: Ledger, entry: Entry) -> None:
    """Write one record and return when it is on the disk. Raises SetupError; then nothing was written."""
    ledger.append(_PARSER.dump_python(entry, mode="json"))


def read(ledger: Ledger) -> Sequence[Entry]:
    """All records. Raises SetupError, naming the line, for one that this version does not know."""
    entries = []
    for number, line in enumerate(ledger.replay(), 1):
        try:
            entries.append(_PARSER.validate_python(line))
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SetupError(
                f"{ledger.path}, line {number}: {where}: {first['msg']}; nothing was undone:"
                " use the version of graymesh that wrote it"
            ) from exc
    return entries
