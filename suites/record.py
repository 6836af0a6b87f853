"""What a run was asked to do, and what has become of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from chaos.model import Injection
from clusters.errors import GraymeshError, UndoError
from clusters.providers.base import ClusterSpec
from clusters.topology import Inventory
from probes.model import PROTOCOLS, Judgement, Observation, Pair
from suites.report.document import DarkRow, TimingPart
from suites.report.json import Grids
from suites.scenario import Assertion, Scenario

Expectation = Literal["met", "not-met", "unknown"]

_EXIT: Final = {"met": 0, "not-met": 1, "unknown": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run. `name` is the running cluster to use; where it is None, `spec` is made and taken down again.

    `words` are the command line that runs the same again.
    """

    scenario: Scenario
    run_id: str
    seed: int
    spec: ClusterSpec
    words: tuple[str, ...]
    name: str | None = None
    prove: bool = False
    full: bool = False
    protocols: Sequence[str] = PROTOCOLS
    count: int = 5
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """One phase that ended; `started_s` counts from the run's begin."""

    name: str
    started_s: float
    duration_s: float
    outcome: Literal["done", "failed", "interrupted"]
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Record:
    """Filled while the run goes; it exists before set-up, so that a run that ends early still reports.

    The observation and the judgement are those of the observing phase, or of the control that failed.
    """

    request: RunRequest
    phases: list[PhaseRecord] = field(default_factory=list)
    assertions: list[Assertion] = field(default_factory=list)
    injected: list[Injection] = field(default_factory=list)
    unexpected: tuple[Pair, ...] = ()
    convergence: tuple[DarkRow, ...] = ()
    inventory: Inventory | None = None
    observation: Observation | None = None
    judgement: Judgement | None = None
    grids: Grids = field(default_factory=Grids)
    timing: TimingPart = field(
        default_factory=lambda: TimingPart(probe_s=0.0, audit_s=0.0, judge_s=0.0)
    )
    recovered_s: float | None = None
    error: GraymeshError | None = None

    def fail(self, error: GraymeshError) -> None:
        """Keep the first error; an incomplete clean-up outranks what led to it."""
        if self.error is None or isinstance(error, UndoError):
            self.error = error

    @property
    def expectation(self) -> Expectation:
        """Whether the cluster did what the scenario expects; a run that ended early shows nothing."""
        outcomes = {one.outcome for one in self.assertions}
        if self.error is not None or not outcomes:
            return "unknown"
        if "fail" in outcomes:
            return "not-met"
        return "unknown" if "unknown" in outcomes else "met"

    @property
    def exit_code(self) -> int:
        """The error's code where one ended the run, else by the expectation."""
        return self.error.exit_code if self.error else _EXIT[self.expectation]
