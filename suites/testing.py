"""What the pytest fixtures hand out; also usable without pytest. Failures are AssertionErrors that show the grid."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Final, Self, cast

from clusters.errors import SetupError, UsageError
from suites.child import Called, call
from suites.report.document import ErrorPart, ScenarioPart, VerdictDocument
from suites.report.terminal import cause_line, render
from suites.scenario import UnsuitableError

_INTERRUPTED: Final = 130
_VERDICT: Final = "graymesh/verdict/1"


@dataclass(frozen=True, eq=False)
class Verdict:
    """A verdict document. Equal to "pass", "fail" or "unknown"."""

    document: VerdictDocument

    @property
    def state(self) -> str:
        """The verdict's word."""
        return self.document["verdict"]

    @cached_property
    def report(self) -> str:
        """The grid, the causes, the repair commands."""
        return render(self.document)

    @property
    def cause(self) -> str:
        """The first finding in one sentence."""
        return cause_line(self.document) or "no cause was found"

    def __eq__(self, other: object) -> bool:
        """Compare with a word, or with another verdict's."""
        return self.state == (other.state if isinstance(other, Verdict) else other)

    def __hash__(self) -> int:
        """As its word."""
        return hash(self.state)

    def __repr__(self) -> str:
        """The word and the cause."""
        return f"<verdict {self.state}: {self.cause}>"


@dataclass(frozen=True, eq=False)
class Run(Verdict):
    """The outcome of one run of a scenario."""

    @property
    def scenario(self) -> ScenarioPart:
        """The scenario's part of the document."""
        return self.document["scenario"]

    def check(self, assertion: str | None = None) -> None:
        """Raise AssertionError with the report unless that assertion (or, without one, every assertion) holds."""
        __tracebackhide__ = True
        error = self.document.get("error")
        if error is not None:
            raise AssertionError(f"{error['message']}\n\n{self.report}")
        outcomes = {one["name"]: one for one in self.scenario["assertions"]}
        for one in outcomes.values() if assertion is None else (outcomes[assertion],):
            if one["outcome"] != "pass":
                told = f"{one['name']}: {one['outcome']}: {one['message']}"
                raise AssertionError(f"{told}\n\n{self.report}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which cluster to use. `shape` are words of `graymesh up` about fresh ones."""

    name: str | None = None
    seed: str | None = None
    prove: bool = False
    shape: tuple[str, ...] = ()

    def run(self, scenario: str, *words: str) -> Run:
        """Run a scenario, on the named cluster or a fresh one.

        Raises UnsuitableError where the cluster cannot carry it, UsageError where an option is wrong. Any other
        error is in the run's document, and `Run.check` shows it.
        """
        place = ("--name", self.name) if self.name else self.shape
        seed = ("--seed", self.seed) if self.seed else ()
        proving = ("--prove",) if self.prove else ()
        called = _call("run", scenario, *place, *seed, *proving, *words)
        _raise_usage(called)
        return Run(_verdict(called))


@dataclass(frozen=True, kw_only=True)
class Handle:
    """A running cluster."""

    name: str

    def diagnose(self, *words: str) -> Verdict:
        """Probe, read the tables, judge; `words` are options of `graymesh diagnose`."""
        called = _call("diagnose", "--name", self.name, *words)
        _raise_usage(called)
        return Verdict(_verdict(called))

    def inject(self, fault: str, **params: str) -> str:
        """Put a fault in and return the injection's id. Raises GraymeshError."""
        words = [f"{key}={value}" for key, value in params.items()]
        injection = _done("inject", fault, *words, "--name", self.name)["injection"]
        return str(cast("dict[str, object]", injection)["id"])

    def undo(self, *injections: str) -> None:
        """Undo these injections, or without any, everything. Raises GraymeshError."""
        _done("undo", *injections, "--name", self.name)


@contextlib.contextmanager
def cluster(settings: Settings) -> Iterator[Handle]:
    """The named cluster, else a fresh one that is removed afterwards, and goes with this process if it dies."""
    if settings.name is not None:
        yield Handle(name=settings.name)
        return
    name = f"test-{secrets.token_hex(4)}"
    _done("up", "--name", name, "--owner-pid", str(os.getpid()), *settings.shape)
    try:
        yield Handle(name=name)
    finally:
        _done("down", "--name", name)


@dataclass(kw_only=True)
class Faults:
    """Injections on one cluster, undone when the block ends."""

    handle: Handle
    _open: list[str] = field(default_factory=list)

    def __call__(self, fault: str, **params: str) -> str:
        """Put a fault in and return the injection's id. Raises GraymeshError."""
        injection = self.handle.inject(fault, **params)
        self._open.append(injection)
        return injection

    def __enter__(self) -> Self:
        """Nothing is injected yet."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _exc: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Undo what is in, the latest first."""
        if self._open:
            self.handle.undo(*reversed(self._open))


def _call(*words: str) -> Called:
    """Call graymesh; Ctrl-C, which the child got, ends this process's work too."""
    called = call(words, quiet=True)
    if called.exit_code == _INTERRUPTED:
        raise KeyboardInterrupt
    return called


def _done(*words: str) -> Mapping[str, object]:
    """The document of a call that must succeed."""
    called = _call(*words)
    _raise_usage(called)
    if called.exit_code:
        raise SetupError(
            called.said.strip() or f"`graymesh {words[0]}` ended with {called.exit_code}"
        )
    return called.document


def _verdict(called: Called) -> VerdictDocument:
    """The verdict document; a call that ended before it had one raises what it said."""
    if called.document.get("schema") != _VERDICT:
        raise SetupError(called.said.strip())
    return cast("VerdictDocument", called.document)


def _raise_usage(called: Called) -> None:
    if called.exit_code != UsageError.exit_code:
        return
    error = cast("ErrorPart", called.document["error"])
    unsuitable = error["kind"] == UnsuitableError.__name__
    raise (UnsuitableError if unsuitable else UsageError)(error["message"])
