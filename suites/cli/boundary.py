"""The last line of defence: whatever ends a verb becomes one line on stderr with an exit code."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clusters.errors import GraymeshError
from suites.console import Console

INTERRUPTED: Final = 130
UNEXPECTED: Final = 4


@dataclass(slots=True, kw_only=True)
class Boundary:
    """A block whose exceptions end in `exit_code` and one line, never in a traceback.

    An expected error says itself what went wrong. Anything else is a bug of graymesh or the system's refusal
    (OSError): exit 4, and with `debug` the traceback as well. SystemExit passes.
    """

    console: Console
    debug: bool = False
    exit_code: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Swallow every exception but SystemExit."""
        if exc is None or isinstance(exc, SystemExit):
            return False
        self.console.error(_line(exc))
        self.exit_code = _exit_code(exc)
        if self.debug:
            self.console.step("".join(traceback.format_exception(kind, exc, trace)))
        return True


def _exit_code(exc: BaseException) -> int:
    if isinstance(exc, GraymeshError):
        return exc.exit_code
    return INTERRUPTED if isinstance(exc, KeyboardInterrupt) else UNEXPECTED


def _line(exc: BaseException) -> str:
    if isinstance(exc, GraymeshError):
        return str(exc)
    if isinstance(exc, KeyboardInterrupt):
        return "interrupted"
    if isinstance(exc, OSError):
        return f"the system refused: {exc}"
    last = traceback.extract_tb(exc.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"internal error: {exc!r} at {place} (GRAYMESH_DEBUG=1 shows the traceback)"
