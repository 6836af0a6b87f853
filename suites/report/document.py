"""The shapes of the JSON documents; contract fields first, then what was added to them."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic refuses typing's before Python 3.12

Verdict = Literal["pass", "fail", "unknown"]


class VtepRow(TypedDict):
    """A node's overlay device; `mac` is null where the device is absent."""

    device: str
    mac: str | None


class NodeRow(TypedDict):
    """One node."""

    name: str
    underlay: list[str]
    pod_cidrs: list[str]
    vtep: VtepRow


class PodRow(TypedDict):
    """One pod or replica."""

    name: str
    node: str
    ips: list[str]


class ClusterPart(TypedDict):
    """What the cluster should consist of; empty lists and a null VIP where it never came to be."""

    provider: str
    name: str
    vip: str | None
    nodes: list[NodeRow]
    pods: list[PodRow]
    replicas: list[PodRow]
    dialect: str


Totals = TypedDict(
    "Totals",
    {"pairs": int, "sent": int, "ok": int, "pass": int, "fail": int, "unknown": int},
)


class LatencyRow(TypedDict):
    """Microseconds."""

    min: float
    median: float
    p99: float


class PairRow(TypedDict):
    """One pair. `answered_by` only for VIP pairs, `unknown` only where the pair could not be measured."""

    src: str
    dst: str
    protocol: str
    family: str
    sent: int
    ok: int
    state: Verdict
    errors: dict[str, int]
    latency_us: NotRequired[LatencyRow]
    answered_by: NotRequired[dict[str, int]]
    unknown: NotRequired[str]


class EntryRow(TypedDict):
    """One table entry; null = absent."""

    observer: str
    owner: str
    table: str
    key: str
    have: str | None
    want: str | None


class RepairRow(TypedDict):
    """One command for `graymesh exec node/NODE -- ARGV…`."""

    node: str
    argv: list[str]


class ExplainsPart(TypedDict):
    """How many of the failing pairs a finding accounts for."""

    pairs: int
    of: int


class FindingRow(TypedDict):
    """One cause that loses frames or answers."""

    id: str
    confidence: float
    edges: list[list[str]]
    replicas: list[str]
    nodes: list[str]
    entries: list[EntryRow]
    explains: ExplainsPart
    evidence: list[str]
    repair: list[RepairRow]
    proved: bool | None
    summary: str
    pods: list[str]


class NoteRow(TypedDict):
    """Something wrong or left over that loses nothing."""

    id: str
    entries: list[EntryRow]
    summary: str


class TimingPart(TypedDict):
    """Seconds spent on each part of the verdict; 0 for a part that was not asked for."""

    probe_s: float
    audit_s: float
    judge_s: float


class GridRow(TypedDict):
    """One node's cells, one character a column: "." ok, "X" wrong, "?" unknown, "-" nothing expected."""

    node: str
    cells: str


class GridPart(TypedDict):
    """Nodes by replicas and the VIP, or nodes by nodes (row: from, column: to)."""

    columns: list[str]
    rows: list[GridRow]


class ErrorPart(TypedDict):
    """The expected error that ended a verb."""

    kind: str
    message: str
    exit_code: int


class PhaseRow(TypedDict):
    """One phase of a run; `started_s` counts from the run's begin."""

    name: str
    started_s: float
    duration_s: float
    outcome: Literal["done", "failed", "interrupted"]
    detail: str


class InjectedRow(TypedDict):
    """One fault as it was injected, with the read-backs that prove it took effect."""

    id: str
    fault: str
    kind: str
    params: dict[str, str]
    proof: list[str]


class BeforeAfter(TypedDict):
    """A value on a node before and after the fault."""

    before: str | None
    after: str | None


class ChangeRow(TypedDict):
    """What a fault changed on one node."""

    node: str
    mac: BeforeAfter
    underlay: BeforeAfter
    pod_cidr: BeforeAfter
    rebooted: bool


class DarkRow(TypedDict):
    """How long one directed node pair was dark, from continuous probing around the fault."""

    src: str
    dst: str
    dark_s: float
    recovered: bool


class AssertionRow(TypedDict):
    """One assertion of a scenario."""

    name: str
    outcome: Verdict
    message: str


class ScenarioPart(TypedDict):
    """What a run adds to the document of its observing phase."""

    name: str
    seed: int
    expectation: Literal["met", "not-met", "unknown"]
    phases: list[PhaseRow]
    injected: list[InjectedRow]
    changes: list[ChangeRow]
    convergence: list[DarkRow]
    recovered_s: float | None
    assertions: list[AssertionRow]
    unexpected: list[list[str]]
    repeat: str
    exit_code: int


class VerdictDocument(TypedDict):
    """`graymesh/verdict/1`. `probe_timeout_s` is null where nothing was probed."""

    schema: Literal["graymesh/verdict/1"]
    run_id: str
    seed: int
    verdict: Verdict
    cluster: ClusterPart
    totals: Totals
    pairs: list[PairRow]
    findings: list[FindingRow]
    notes: list[NoteRow]
    timing: TimingPart
    grid: GridPart | None
    oneway: GridPart | None
    patterns: list[str]
    reasons: list[str]
    unpredicted: list[list[str]]
    unfulfilled: list[list[str]]
    trouble: list[str]
    probe_timeout_s: float | None
    scenario: NotRequired[ScenarioPart]
    error: NotRequired[ErrorPart]


class RunsDocument(TypedDict):
    """`graymesh/runs/1`: several scenarios, in the order they were asked for."""

    schema: Literal["graymesh/runs/1"]
    runs: list[VerdictDocument]


class UndoRow(TypedDict):
    """One injection that was undone; neither list makes the undo incomplete."""

    id: str
    fault: str
    foreign: list[str]
    differences: list[str]


class RecoverRow(TypedDict):
    """What `recover` did on one cluster; `note` says why where there was nothing to do."""

    cluster: str
    undone: list[UndoRow]
    note: str
