"""A run's document as JUnit XML: one case per assertion, one per unexpected failing pair."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from suites.report import terminal
from suites.report.document import ScenarioPart, VerdictDocument

# What XML 1.0 (section 2.2) does not allow, not even escaped.
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(documents: Sequence[VerdictDocument]) -> str:
    """The XML of some runs. A run that an error ended has that error as a case of its own."""
    root = ET.Element("testsuites")
    root.extend(_suite(document) for document in documents)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(document: VerdictDocument) -> ET.Element:
    scenario = document.get("scenario")
    name = f"graymesh.{scenario['name'] if scenario else 'verdict'}"
    suite = ET.Element("testsuite", name=name)
    properties = ET.SubElement(suite, "properties")
    for key, value in (("run_id", document["run_id"]), ("seed", str(document["seed"]))):
        ET.SubElement(properties, "property", name=key, value=_clean(value))
    cases = list(_cases(document, scenario, name))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    for outcome, plural in (("failure", "failures"), ("error", "errors")):
        suite.set(plural, str(sum(case.find(outcome) is not None for case in cases)))
    suite.set("time", f"{_duration_s(scenario):.3f}")
    ET.SubElement(suite, "system-out").text = _clean(terminal.render(document))
    return suite


def _cases(
    document: VerdictDocument, scenario: ScenarioPart | None, classname: str
) -> Iterator[ET.Element]:
    for assertion in scenario["assertions"] if scenario else ():
        case = ET.Element("testcase", classname=classname, name=assertion["name"])
        if assertion["outcome"] == "fail":
            _outcome(case, "failure", assertion["message"])
        elif assertion["outcome"] == "unknown":
            _outcome(case, "error", f"unknown: {assertion['message']}")
        yield case
    for src, dst, protocol, family in scenario["unexpected"] if scenario else ():
        name = f"pair {src} -> {dst} {protocol} {family}"
        case = ET.Element("testcase", classname=classname, name=_clean(name))
        _outcome(case, "failure", "this pair failed, and the fault does not say that it must")
        yield case
    error = document.get("error")
    if error:
        case = ET.Element("testcase", classname=classname, name="run")
        _outcome(case, "error", f"{error['kind']}: {error['message']}")
        yield case


def _outcome(case: ET.Element, kind: str, message: str) -> None:
    ET.SubElement(case, kind, message=_clean(message)).text = _clean(message)


def _duration_s(scenario: ScenarioPart | None) -> float:
    return sum(phase["duration_s"] for phase in scenario["phases"]) if scenario else 0.0


def _clean(text: str) -> str:
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
