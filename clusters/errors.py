"""The error tree of graymesh; the class says whose fault it is, the exit code follows from it.

GraymeshError
├── UsageError              2   a flag, name or value that cannot be right
├── MeasureError            3   nothing, or not enough, could be measured
│   └── MalformedMessageError 3 the kernel's answer could not be decoded
├── SetupError              4   the environment cannot do it
│   ├── ClusterBusyError    4   another run holds the cluster
│   ├── ClusterGoneError    4   the cluster vanished while in use
│   ├── KernelRefusedError  4   the kernel answered a netlink request with an error
│   └── ControlFailedError  4   unhealthy before anything was injected
├── ExecTransportError      4   a command could not be started (its exit status is not an error)
├── DeadlineExceededError   4   a wait ended; says what was awaited and what was last seen
├── FaultNotAppliedError    4   the read-back differs from what the fault promised
├── UndoError               5   an undo step failed; the ledger still holds it
└── InterruptedRunError     130 SIGINT or SIGTERM
"""

from __future__ import annotations

from typing import ClassVar


class GraymeshError(Exception):
    """Base of every error that graymesh raises on purpose; `str()` is one clear line."""

    exit_code: ClassVar[int] = 4


class UsageError(GraymeshError):
    """The caller named something that cannot be right; the text names the field and what was expected."""

    exit_code = 2


class MeasureError(GraymeshError):
    """Nothing, or not enough, could be measured to give a verdict."""

    exit_code = 3


class MalformedMessageError(MeasureError):
    """Bytes from the kernel that do not parse; the text says which message and where."""


class SetupError(GraymeshError):
    """The environment could not be brought to the wanted state."""


class ClusterBusyError(SetupError):
    """Another run holds the cluster; the text says who."""


class ClusterGoneError(SetupError):
    """The cluster, or one of its parts, vanished while it was in use."""


class KernelRefusedError(SetupError):
    """The kernel answered a netlink request with an error; `code` is its errno."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class ControlFailedError(SetupError):
    """The cluster was unhealthy before anything was injected."""


class ExecTransportError(GraymeshError):
    """A command could not be started at its place; a non-zero exit status is a result, not this."""


class DeadlineExceededError(GraymeshError):
    """A wait ended; the text says what was awaited, for how long, and what was last seen."""


class FaultNotAppliedError(GraymeshError):
    """Reading the kernel or API back after a fault shows something else than the fault promised."""


class UndoError(GraymeshError):
    """An undo step failed; what remains is in the ledger."""

    exit_code = 5


class InterruptedRunError(GraymeshError):
    """SIGINT or SIGTERM ended the run; clean-up has been done, or the ledger says what remains."""

    exit_code = 130
