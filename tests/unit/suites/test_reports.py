"""One document, three forms: JSON by contract, text for a person, JUnit for a machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydantic import TypeAdapter, ValidationError

from chaos.model import Change, Facts, Injection, Kind, Phase
from clusters.errors import ControlFailedError, InterruptedRunError, UndoError
from clusters.providers.base import ClusterSpec
from clusters.topology import Inventory
from probes.model import Judgement, Observation, State
from suites.record import PhaseRecord, Record, RunRequest
from suites.report.document import DarkRow, VerdictDocument
from suites.report.json import Grids
from suites.report.junit import junit
from suites.report.run_document import run_document
from suites.report.terminal import render
from suites.scenario import Assertion, Effect
from suites.scenarios import SCENARIOS

GOLDEN = Path(__file__).parents[2] / "golden" / "suites"
MakeInventory = Callable[..., Inventory]
Measure = Callable[[Inventory, Effect], Observation]
Judge = Callable[[Effect, Observation], Judgement]

SCHEMA = TypeAdapter(VerdictDocument)


@pytest.fixture
def request_() -> RunRequest:
    """What `graymesh run founding --seed 7` asks for."""
    return RunRequest(
        scenario=SCENARIOS["founding"],
        run_id="run-1",
        seed=7,
        spec=ClusterSpec(name="run-1"),
        words=("run", "founding", "--nodes", "4", "--seed", "7"),
    )


@pytest.fixture
def record(
    request_: RunRequest,
    make_inventory: MakeInventory,
    measure: Measure,
    judgement_of: Judge,
    stale: Effect,
) -> Record:
    """A founding run that went well."""
    inventory = make_inventory()
    observation = measure(inventory, stale)
    was = Facts("72:00:00:00:00:01", "172.18.0.2", "10.244.0.0/24", "b1")
    made = Record(request=request_)
    made.inventory, made.observation = inventory, observation
    made.judgement = judgement_of(stale, observation)
    made.grids = Grids(
        replicas={
            "columns": ["dns-0", "dns-1", "dns-2", "vip"],
            "rows": [{"node": f"n{i}", "cells": ".XXX" if i == 0 else "...."} for i in range(4)],
        },
        oneway={
            "columns": ["n0", "n1", "n2", "n3"],
            "rows": [
                {"node": f"n{i}", "cells": cells}
                for i, cells in enumerate(("-...", ".-..", "X.-.", "X..-"))
            ],
        },
    )
    made.timing = {"probe_s": 0.25, "audit_s": 0.02, "judge_s": 0.003}
    made.phases.append(
        PhaseRecord(name="control", started_s=0.2, duration_s=0.4, outcome="done", detail="ok")
    )
    made.injected.append(
        Injection(
            id="founding-1",
            fault="founding",
            params={"victim": "n0", "peers": "n2,n3"},
            kind=Kind.REVERSIBLE,
            phase=Phase.VERIFIED,
            claims=(),
            proof=("n2: neigh 10.244.0.0 is 72:00:00:00:00:01",),
            changes=(Change("n0", was, was._replace(mac="02:00:00:00:00:00")),),
        )
    )
    made.assertions.append(Assertion(name="edges-exact", outcome="pass"))
    made.convergence = (DarkRow(src="n2", dst="n0", dark_s=3.2, recovered=True),)
    made.recovered_s = 0.4
    return made


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("valid-founding.json", lambda one: json.dumps(one, indent=1) + "\n"),
        ("valid-founding.txt", render),
        ("valid-founding.xml", lambda one: junit([one])),
    ],
)
def test_each_form_is_as_reviewed(
    record: Record, name: str, form: Callable[[VerdictDocument], str]
) -> None:
    """Field order, wording and layout change only on purpose: with the golden file."""
    assert form(run_document(record)) == (GOLDEN / name).read_text()


def test_the_document_has_the_schema_it_claims(record: Record) -> None:
    """And the schema notices a missing field, a strange value and a wrong type."""
    document: dict[str, Any] = json.loads(json.dumps(run_document(record)))

    assert SCHEMA.validate_python(document, strict=True)
    for spoil in (
        lambda one: one.pop("totals"),
        lambda one: one.update(verdict="green"),
        lambda one: one["findings"][0].update(edges=[1]),
        lambda one: one.update(schema="graymesh/verdict/2"),
    ):
        broken = json.loads(json.dumps(document))
        spoil(broken)
        with pytest.raises(ValidationError):
            SCHEMA.validate_python(broken, strict=True)


def test_pairs_that_pass_are_listed_only_with_full(record: Record) -> None:
    """Totals count all of them either way."""
    short = run_document(record)
    record.request = replace(record.request, full=True)
    full = run_document(record)

    assert {one["state"] for one in short["pairs"]} == {"fail"}
    assert len(full["pairs"]) == full["totals"]["pairs"] == short["totals"]["pairs"]
    assert len(short["pairs"]) == short["totals"]["fail"] > 0


def test_a_run_that_ended_before_anything_was_made_still_has_all_forms(
    request_: RunRequest,
) -> None:
    """The report exists before set-up: an aborted run is an error case, not a missing file."""
    record = Record(request=request_)
    record.fail(ControlFailedError("unhealthy before anything was injected"))
    document = run_document(record)

    assert SCHEMA.validate_python(document, strict=True)
    assert document["verdict"] == "unknown"
    assert document["scenario"]["expectation"] == "unknown"
    assert record.exit_code == 4
    assert "unhealthy before anything was injected" in render(document)
    suite = ET.fromstring(junit([document]))[0]  # noqa: S314  # our own output
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None


@pytest.mark.parametrize(
    ("outcomes", "expectation", "code"),
    [
        ((), "unknown", 3),
        (("pass", "pass"), "met", 0),
        (("pass", "unknown"), "unknown", 3),
        (("unknown", "fail"), "not-met", 1),
    ],
)
def test_the_exit_code_follows_the_expectation(
    request_: RunRequest, outcomes: tuple[Any, ...], expectation: str, code: int
) -> None:
    """One assertion that fails outranks any that is unknown; nothing asserted is not met."""
    record = Record(request=request_)
    record.assertions = [Assertion(name="a", outcome=one) for one in outcomes]

    assert record.expectation == expectation
    assert record.exit_code == code


def test_an_incomplete_clean_up_outranks_what_led_to_it(request_: RunRequest) -> None:
    """And the first of two other errors stays."""
    record = Record(request=request_)
    record.fail(InterruptedRunError("interrupted by SIGINT"))
    record.fail(ControlFailedError("later"))
    assert record.exit_code == 130

    record.fail(UndoError("left: n2 neigh"))
    assert record.exit_code == 5


def test_junit_counts_what_it_holds_and_survives_control_characters(record: Record) -> None:
    """XML 1.0 forbids most control characters even when escaped; a fault's text may hold any."""
    record.assertions.append(Assertion(name="clean", outcome="fail", message="left \x1b[31m\x00 ü"))
    record.assertions.append(Assertion(name="recovered", outcome="unknown", message="?"))
    assert record.observation is not None
    record.unexpected = (record.observation.pairs[0].pair,)

    suite = ET.fromstring(junit([run_document(record)]))[0]  # noqa: S314  # our own output

    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert set(cases) >= {"edges-exact", "clean", "recovered"}
    assert len(cases) == int(suite.get("tests", "0")) == 4
    assert suite.get("failures") == "2"
    assert suite.get("errors") == "1"
    failure = cases["clean"].find("failure")
    assert failure is not None
    assert failure.get("message") == r"left \x1b[31m\x00 ü"
    assert not list(cases["edges-exact"])


def test_colour_is_only_there_when_asked_for(record: Record) -> None:
    """A file or a pipe gets none."""
    document = run_document(record)

    assert "\x1b[" not in render(document)
    assert "\x1b[1;31mX" in render(document, colour=True)


def test_a_repair_command_is_ready_to_paste(record: Record) -> None:
    """Quoted for a shell, with the cluster's name unless it is the default one."""
    document = run_document(record)
    document["findings"][0]["repair"] = [{"node": "n2", "argv": ["sh", "-c", "echo 'a b'"]}]

    named = render(document)
    document["cluster"]["name"] = "default"

    assert """graymesh exec --name t node/n2 -- sh -c 'echo '"'"'a b'"'"''""" in named
    assert "graymesh exec node/n2 -- sh" in render(document)


def test_an_unknown_verdict_says_why(record: Record) -> None:
    """Unknown without a reason helps nobody."""
    record.judgement = Judgement(
        verdict=State.UNKNOWN, findings=(), notes=(), reasons=("the prober starved",)
    )

    assert "unknown because the prober starved" in render(run_document(record))
