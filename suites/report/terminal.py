"""A verdict document as text: the grid, the cause, the repair, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from suites.report.document import (
    AssertionRow,
    DarkRow,
    EntryRow,
    FindingRow,
    GridPart,
    NoteRow,
    ScenarioPart,
    VerdictDocument,
)

_COLOURS: Final = {
    ".": "32",
    "X": "1;31",
    "?": "33",
    "-": "2",
    "pass": "32",
    "fail": "1;31",
    "unknown": "33",
}
_LISTED: Final = 12  # entries or edges shown before "and n more"
_NOT_NAMED: Final = "default"


def render(document: VerdictDocument, *, colour: bool = False) -> str:
    """The whole report, ending in a newline."""
    return "\n".join(_lines(document, colour=colour)) + "\n"


def _lines(document: VerdictDocument, *, colour: bool) -> Iterator[str]:
    scenario = document.get("scenario")
    yield _headline(document, scenario, colour=colour)
    grid = document["grid"]
    if grid is not None:
        yield ""
        yield from grid_lines(grid, colour=colour)
    oneway = document["oneway"]
    if oneway is not None and any("X" in row["cells"] for row in oneway["rows"]):
        yield ""
        yield "one way, counted at the receiver (from row to column):"
        yield from grid_lines(oneway, colour=colour)
    for finding in document["findings"]:
        yield ""
        yield from _finding(finding, document["cluster"]["name"])
    for note in document["notes"]:
        yield _note(note)
    for reason in document["reasons"]:
        yield f"unknown because {reason}"
    for trouble in document["trouble"]:
        yield f"prober: {trouble}"
    yield ""
    if scenario:
        yield from _scenario(scenario)
    error = document.get("error")
    if error:
        yield f"ended by {error['kind']}: {error['message']}"
    yield _measured(document)


def cause_line(document: VerdictDocument) -> str | None:
    """The first finding in one sentence; None where there is no finding."""
    findings = document["findings"]
    return f"{findings[0]['summary']} ({findings[0]['id']})" if findings else None


def grid_lines(grid: GridPart, *, colour: bool = False) -> Iterator[str]:
    """Rows are nodes; every cell is `.` ok, `X` wrong, `?` unknown or `-` where nothing is expected."""
    width = max((len(row["node"]) for row in grid["rows"]), default=0)
    yield " " * width + "".join(f"  {column}" for column in grid["columns"])
    for row in grid["rows"]:
        cells = zip(row["cells"], grid["columns"], strict=True)
        painted = "".join(_cell(cell, len(column), colour=colour) for cell, column in cells)
        yield f"{row['node']:<{width}}{painted}".rstrip()


def _cell(cell: str, width: int, *, colour: bool) -> str:
    left = (width - 1) // 2
    return "  " + " " * left + _paint(cell, cell, on=colour) + " " * (width - 1 - left)


def _headline(document: VerdictDocument, scenario: ScenarioPart | None, *, colour: bool) -> str:
    cluster = document["cluster"]
    shape = f"{len(cluster['nodes'])} nodes, {len(cluster['replicas'])} replicas"
    place = f"{cluster['provider']} {cluster['name']} ({shape}, {cluster['dialect']})"
    verdict = document["verdict"]
    what = f"verdict {_paint(verdict, verdict, on=colour)}"
    if scenario:
        what = f"{scenario['name']}: expectation {scenario['expectation']}, {what}"
    return f"{what} on {place}, run {document['run_id']}"


def _finding(finding: FindingRow, cluster: str) -> Iterator[str]:
    yield f"cause: {finding['summary']}"
    confidence = f"confidence {finding['confidence']:.2f}"
    yield f"  {finding['id']}, {confidence}; {_explained(finding)}; {_proved(finding)}"
    yield from _culprits(finding)
    for line in _capped([_entry(one) for one in finding["entries"]]):
        yield f"  {line}"
    for line in finding["evidence"]:
        yield f"  evidence: {line}"
    for line in _capped([exec_line(cluster, r["node"], r["argv"]) for r in finding["repair"]]):
        yield f"  repair: {line}"


def _culprits(finding: FindingRow) -> Iterator[str]:
    edges = [f"{src} → {dst}" for src, dst in finding["edges"]]
    if edges:
        yield f"  frames lost: {', '.join(_capped(edges))}"
    for what in ("replicas", "nodes", "pods"):
        names = finding[what]
        if names:
            yield f"  {what}: {', '.join(_capped(names))}"


def _explained(finding: FindingRow) -> str:
    explains = finding["explains"]
    return f"explains {explains['pairs']} of {explains['of']} failing pairs"


def _proved(finding: FindingRow) -> str:
    if finding["proved"] is None:
        return "not proved by repair (--prove)" if finding["repair"] else "no command repairs it"
    return "proved by repair" if finding["proved"] else "NOT confirmed by repair"


def _entry(entry: EntryRow) -> str:
    have, want = entry["have"] or "absent", entry["want"] or "absent"
    where = f"{entry['observer']} {entry['table']} {entry['key']}"
    return f"{where} (about {entry['owner']}): {have} → {want}"


def _note(note: NoteRow) -> str:
    entries = _capped([_entry(one) for one in note["entries"]])
    return f"note: {note['summary']} ({note['id']})" + "".join(f"\n  {one}" for one in entries)


def exec_line(cluster: str, node: str, argv: Sequence[str]) -> str:
    """The command that runs `argv` on a node, quoted for a shell."""
    name = [] if cluster == _NOT_NAMED else ["--name", cluster]
    return shlex.join(["graymesh", "exec", *name, f"node/{node}", "--", *argv])


def _scenario(scenario: ScenarioPart) -> Iterator[str]:
    for injected in scenario["injected"]:
        params = " ".join(f"{key}={value}" for key, value in injected["params"].items())
        yield f"injected: {injected['fault']} {params} ({injected['kind']})"
    for change in scenario["changes"]:
        for key in ("mac", "underlay", "pod_cidr"):
            value = change[key]
            if value["before"] != value["after"]:
                yield f"changed on {change['node']}: {key} {value['before']} → {value['after']}"
    yield from _dark(scenario["convergence"])
    if scenario["recovered_s"] is not None:
        yield f"recovered {scenario['recovered_s']:.2f} s after the undo began"
    yield from _assertions(scenario["assertions"])
    yield f"repeat: {scenario['repeat']}"


def _dark(convergence: Sequence[DarkRow]) -> Iterator[str]:
    dark = sorted((row for row in convergence if row["dark_s"] > 0), key=lambda row: -row["dark_s"])
    words = [
        f"{row['src']} → {row['dst']} {row['dark_s']:.2f} s"
        + ("" if row["recovered"] else " (still dark)")
        for row in dark
    ]
    if words:
        yield f"dark: {', '.join(_capped(words))}"


def _assertions(assertions: Sequence[AssertionRow]) -> Iterator[str]:
    if not assertions:
        return
    held = sum(one["outcome"] == "pass" for one in assertions)
    yield f"assertions: {held} of {len(assertions)} hold"
    for one in assertions:
        if one["outcome"] != "pass":
            yield f"  {one['name']}: {one['outcome']}: {one['message']}"


def _measured(document: VerdictDocument) -> str:
    totals, timing = document["totals"], document["timing"]
    timeout_s = document["probe_timeout_s"]
    audited = f"audit {timing['audit_s']:.3f} s, judged in {timing['judge_s']:.3f} s"
    if timeout_s is None:
        return f"no packet sent; {audited}"
    counts = f"{totals['pairs']} pairs ({totals['fail']} fail, {totals['unknown']} unknown)"
    answers = f"{totals['ok']} of {totals['sent']} probes answered"
    probed = f"{counts}, {answers} in {timing['probe_s']:.2f} s (probe timeout {timeout_s:g} s)"
    return f"{probed}; {audited}"


def _capped(lines: Iterable[str]) -> list[str]:
    every = list(lines)
    more = len(every) - _LISTED
    return every if more <= 0 else [*every[:_LISTED], f"and {more} more (all with --json)"]


def _paint(text: str, kind: str, *, on: bool) -> str:
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if on else text
