"""Whole runs on real twins: every scenario meets its expectation, and leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydantic import TypeAdapter

from suites.report.document import VerdictDocument
from suites.scenarios import SCENARIOS

pytestmark = pytest.mark.twin

Graymesh = Callable[..., Any]
SCHEMA = TypeAdapter(VerdictDocument)


def _params(document: dict[str, Any]) -> dict[str, str]:
    (injected,) = document["scenario"]["injected"]
    params: dict[str, str] = injected["params"]
    return params


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"healthy"}))
def test_each_scenario_is_met_with_proof(graymesh: Graymesh, name: str) -> None:
    """One seed each here; make demo and the benchmark run many."""
    done = graymesh("run", name, "--prove", "--seed", "7", "--json", "-")
    document = done.document

    assert done.code == 0, done.err
    assert SCHEMA.validate_python(document, strict=True)
    scenario = document["scenario"]
    assert scenario["expectation"] == "met"
    assert {one["outcome"] for one in scenario["assertions"]} == {"pass"}
    assert {one["outcome"] for one in scenario["phases"]} == {"done"}
    assert scenario["recovered_s"] is not None
    assert len(scenario["convergence"]) == 12
    assert all(one["recovered"] for one in scenario["convergence"])


@pytest.mark.parametrize(
    "shape",
    [
        ("--nodes", "3", "--dns-replicas", "2", "--seed", "1"),
        ("--nodes", "5", "--dns-replicas", "5", "--pods-per-node", "2", "--seed", "2"),
        ("--nodes", "8", "--dns-replicas", "3", "--pods-per-node", "3", "--seed", "3"),
        ("--dialect", "persistent", "--seed", "4"),
    ],
)
def test_founding_names_exactly_the_stale_edges_and_entries(
    graymesh: Graymesh, shape: tuple[str, ...]
) -> None:
    """Told by the injected parameters alone, not by the runner's own assertions."""
    document = graymesh("run", "founding", *shape, "--prove", "--json", "-").document

    params = _params(document)
    peers, victim = params["peers"].split(","), params["victim"]
    (finding,) = document["findings"]
    assert {tuple(edge) for edge in finding["edges"]} == {(peer, victim) for peer in peers}
    (change,) = document["scenario"]["changes"]
    assert {
        (one["observer"], one["owner"], one["table"], one["have"], one["want"])
        for one in finding["entries"]
    } == {
        (peer, victim, "neigh", change["mac"]["before"], change["mac"]["after"]) for peer in peers
    }
    assert finding["proved"] is True
    assert finding["explains"]["pairs"] == finding["explains"]["of"] == document["totals"]["fail"]


def test_the_same_seed_repeats_the_same_run(graymesh: Graymesh) -> None:
    """Victim, stale peers, placement: the printed command gives them again."""
    first = graymesh("run", "founding", "--seed", "11", "--json", "-").document
    words = first["scenario"]["repeat"].split()[1:]
    second = graymesh(*words, "--json", "-").document
    other = [
        graymesh("run", "founding", "--seed", str(seed), "--json", "-").document
        for seed in (12, 13)
    ]

    assert _params(first) == _params(second)
    assert first["cluster"]["replicas"] == second["cluster"]["replicas"]
    assert any(_params(one) != _params(first) for one in other)


def test_a_restart_changes_the_mac_or_keeps_it_as_the_generation_does(graymesh: Graymesh) -> None:
    """What the fault changed on each node is in the result."""
    changes = {}
    for dialect in ("static", "persistent"):
        document = graymesh(
            "run", "node-restart", "--dialect", dialect, "--seed", "5", "--json", "-"
        ).document
        (changes[dialect],) = document["scenario"]["changes"]

    assert all(change["rebooted"] for change in changes.values())
    assert changes["static"]["mac"]["before"] != changes["static"]["mac"]["after"]
    assert changes["persistent"]["mac"]["before"] == changes["persistent"]["mac"]["after"]


def test_several_scenarios_make_one_document(graymesh: Graymesh, tmp_path: Path) -> None:
    """In the order asked for, each with a cluster of its own."""
    words = ("run", "healthy", "one-replica-down", "--seed", "2", "--out", str(tmp_path / "out"))
    done = graymesh(*words, "--json", "-")

    document = done.document
    assert done.code == 0, done.err
    assert document["schema"] == "graymesh/runs/1"
    assert [one["scenario"]["name"] for one in document["runs"]] == ["healthy", "one-replica-down"]
    assert len({one["cluster"]["name"] for one in document["runs"]}) == 2
    assert (tmp_path / "out" / "healthy" / "verdict.json").exists()


def test_a_run_folder_tells_the_whole_story(graymesh: Graymesh, tmp_path: Path) -> None:
    """Result, JUnit, events, evidence; `report` shows it again."""
    out = tmp_path / "out"
    done = graymesh("run", "founding", "--seed", "7", "--prove", "--out", str(out))

    assert done.code == 0, done.err
    assert re.search(r"^n\d +[.X ]+$", done.out, re.MULTILINE)
    assert "cause: " in done.out
    assert "repair: graymesh exec --name run-" in done.out
    assert "proved by repair" in done.out
    assert "repeat: graymesh run founding " in done.out
    assert graymesh("report", str(out)).out == done.out
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    names = [one["phase"] for one in events if one["event"] == "phase-done"]
    assert names == [
        "set-up", "control", "inject", "effect-proof", "observe", "judge", "prove", "undo",
        "recover", "read-back", "tear-down",
    ]  # fmt: skip
    assert any(one["event"] == "fault" for one in events)
    tables = json.loads((out / "evidence" / "tables-broken.json").read_text())
    assert set(tables["nodes"]) == {"n0", "n1", "n2", "n3"}
    cases = ET.parse(out / "junit.xml").getroot().findall(".//testcase")  # noqa: S314  # our own
    assert {case.get("name") for case in cases} >= {"control-passes", "edges-exact", "clean"}


def test_an_unhealthy_cluster_stops_at_control_and_is_left_as_it_was(
    graymesh: Graymesh, twin: str
) -> None:
    """Else the scenario would blame its fault for what was there before."""
    by_hand = ("ip", "route", "del", "10.244.0.0/24")
    graymesh("exec", "--name", twin, "node/n3", "--", *by_hand)
    before = graymesh("exec", "--name", twin, "node/n3", "--", "ip", "route").out

    done = graymesh("run", "founding", "--name", twin, "--json", "-")

    assert done.code == 4
    assert "unhealthy before anything was injected" in done.err
    assert done.document["error"]["kind"] == "ControlFailedError"
    assert done.document["scenario"]["injected"] == []
    assert done.document["findings"]
    assert graymesh("exec", "--name", twin, "node/n3", "--", "ip", "route").out == before


def test_a_second_run_on_a_cluster_is_refused_with_who_holds_it(
    graymesh: Graymesh, twin: str
) -> None:
    """One line; the first run is not disturbed."""
    with _started("run", "founding", "--name", twin, "--json", "-") as first:
        _await_phase(first, "control")
        second = graymesh("run", "healthy", "--name", twin)
        down = graymesh("down", "--name", twin)
        out, _ = first.communicate(timeout=60)

    assert second.code == down.code == 4
    assert "is held by run founding (run-" in second.err
    assert str(first.pid) in second.err
    assert first.returncode == 0, out


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("control", signal.SIGTERM),
        ("inject", signal.SIGINT),
        ("observe", signal.SIGHUP),
        ("prove", signal.SIGTERM),
        ("undo", signal.SIGINT),
    ],
)
def test_a_signal_in_any_phase_leaves_nothing(
    graymesh: Graymesh, twin: str, phase: str, number: signal.Signals
) -> None:
    """Exit 130, undone, reported; twice the signal changes nothing about it."""
    before = _dump(twin)
    words = ("run", "founding", "--prove", "--seed", "3", "--name", twin, "--json", "-")
    with _started(*words) as running:
        _await_phase(running, phase)
        running.send_signal(number)
        running.send_signal(number)
        out, _ = running.communicate(timeout=60)

    document = json.loads(out)
    assert running.returncode == 130
    assert document["error"]["kind"] == "InterruptedRunError"
    assert document["scenario"]["expectation"] == "unknown"
    assert _dump(twin) == before
    assert graymesh("undo", "--name", twin, "--json", "-").document["undone"] == []


def test_a_signal_during_set_up_leaves_no_cluster(graymesh: Graymesh) -> None:
    """Also where the cluster is only half made."""
    with _started(
        "run", "healthy", "--nodes", "20", "--pods-per-node", "4", "--json", "-"
    ) as running:
        assert running.stderr is not None
        name = running.stderr.readline().partition(":")[0]
        time.sleep(0.1)
        running.terminate()
        out, _ = running.communicate(timeout=60)

    assert running.returncode == 130
    assert json.loads(out)["scenario"]["phases"][0]["outcome"] == "interrupted"
    assert name not in graymesh("list", "clusters").out


@pytest.mark.parametrize("phase", ["inject", "effect-proof", "observe", "prove", "undo"])
def test_recover_finishes_what_a_kill_left(graymesh: Graymesh, twin: str, phase: str) -> None:
    """SIGKILL cannot be handled; the ledger can."""
    before = _dump(twin)
    with _started("run", "founding", "--prove", "--seed", "3", "--name", twin) as running:
        _await_phase(running, phase)
        running.kill()

    done = graymesh("recover", "--name", twin)

    assert done.code == 0, done.err
    assert _dump(twin) == before
    assert graymesh("probe", "--name", twin).code == 0


def test_a_killed_run_on_a_fresh_cluster_takes_it_along(graymesh: Graymesh) -> None:
    """The twin belongs to the run's process; bare `recover` tidies what is left on disk."""
    with _started("run", "founding", "--seed", "3") as running:
        name = _await_phase(running, "observe").partition(":")[0]
        assert name in graymesh("list", "clusters").out
        running.kill()

    done = graymesh("recover")

    assert done.code == 0, done.err
    assert name not in graymesh("list", "clusters").out
    assert not [one for one in Path(os.environ["GRAYMESH_STATE"]).iterdir() if one.name == name]


def _started(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "suites", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


_BEFORE = {
    "control": "set-up", "inject": "control", "effect-proof": "inject", "observe": "effect-proof",
    "prove": "judge", "undo": "prove",
}  # fmt: skip


def _await_phase(running: subprocess.Popen[str], phase: str) -> str:
    """Return just after the phase has begun (its predecessor is done): the first line, which names the run."""
    assert running.stderr is not None
    first = running.stderr.readline()
    wanted = f"{_BEFORE[phase]} done"
    for line in running.stderr:
        if line.startswith(wanted):
            time.sleep(0.02)
            return first
    pytest.fail(f"the run ended before {phase}")


_DUMP = """
import sys
from clusters.providers.registry import open_cluster
cluster = open_cluster(sys.argv[1])
script = (
    "ip -o link; ip -o -d link show flannel.1; ip -o addr; ip route; ip neigh show nud permanent; bridge fdb show dev flannel.1;"
    "iptables-save | sed 's/\\\\[[0-9:]*\\\\]//; /^#/d'"
)
for node in cluster.inventory().nodes:
    print(node.name, *sorted(cluster.run(node.name, ["sh", "-c", script]).stdout.splitlines()), sep="\\n")
"""
# Numbers of devices and of their peers' namespaces are given by the kernel, anew for a device made anew.
_NUMBERS = re.compile(r"^\d+: |(?<=@if)\d+|link-netnsid \d+|expires \d+sec", re.MULTILINE)


def _dump(twin: str) -> list[str]:
    """What the kernel's own tools print of every node."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _DUMP, twin], capture_output=True, text=True, check=True
    )
    assert "flannel.1" in done.stdout
    return sorted(_NUMBERS.sub("", done.stdout).splitlines())
