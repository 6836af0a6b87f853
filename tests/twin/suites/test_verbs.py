"""The verbs on a real twin: what they print, what they refuse, what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.twin

Graymesh = Callable[..., Any]


def test_a_cluster_comes_is_listed_and_goes(graymesh: Graymesh, twin: str) -> None:
    """One document each; what is gone is unknown to every verb."""
    listed = graymesh("list", "clusters", "--json", "-").document["clusters"]
    assert [one["nodes"] for one in listed if one["name"] == twin] == [4]
    again = graymesh("up", "--name", twin)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert twin in again.err

    down = graymesh("down", "--name", twin, "--json", "-")

    assert (down.code, down.document["down"]) == (0, [twin])
    gone = graymesh("exec", "--name", twin, "node/n0", "--", "true")
    assert gone.code == 2
    assert f"no cluster is called {twin!r}" in gone.err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--nodes", "300"), 2),
        (("--pods-per-node", "400"), 2),
        (("--dns-replicas", "2000"), 2),
        (("--family", "ipv6"), 2),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_one_line(
    graymesh: Graymesh, options: tuple[str, ...], code: int
) -> None:
    """Nothing is left of it."""
    done = graymesh("up", "--name", "impossible", *options)

    assert done.code == code, done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert graymesh("down", "--name", "impossible").code == 2


def test_exec_passes_streams_and_status_through(graymesh: Graymesh, twin: str) -> None:
    """As if the command had been typed in the node."""
    argv = [sys.executable, "-P", "-m", "suites", "exec", "--name", twin, "node/n1", "--"]
    done = subprocess.run(
        [*argv, "sh", "-c", "cat; echo oops >&2; exit 7"],
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (7, "typed", "oops\n")
    collected = graymesh(
        "exec", "--name", twin, "--json", "-", "pod/dns-0", "--", "ip", "-j", "addr"
    )
    assert collected.code == 0
    addresses = json.loads(collected.document["stdout"])
    assert any(one["ifname"] == "eth0" for one in addresses)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("n1", "expected node/NAME or pod/NAME, got 'n1'"),
        ("node/n9", "node: expected n0, n1, n2 or n3, got 'n9'"),
        ("pod/n1", "pod: expected n0-p0"),
    ],
)
def test_exec_names_what_there_is(graymesh: Graymesh, twin: str, place: str, says: str) -> None:
    """A typo costs one line."""
    done = graymesh("exec", "--name", twin, place, "--", "true")

    assert done.code == 2
    assert says in done.err


def test_a_healthy_twin_passes_every_look(graymesh: Graymesh, twin: str) -> None:
    """The positive control: each document has the contract's schema and a verdict."""
    for verb in ("probe", "audit", "diagnose"):
        done = graymesh(verb, "--name", twin, "--json", "-")
        document = done.document

        assert done.code == 0, done.err
        assert document["schema"] == "graymesh/verdict/1"
        assert (document["verdict"], document["findings"], document["pairs"]) == ("pass", [], [])
    assert document["totals"]["pass"] == document["totals"]["pairs"] > 40
    assert document["grid"]["columns"] == ["dns-0", "dns-1", "dns-2", "vip", "vip-pinned"]
    assert [row["cells"] for row in document["grid"]["rows"]] == ["....."] * 4
    full = graymesh("diagnose", "--name", twin, "--full", "--json", "-").document
    assert len(full["pairs"]) == full["totals"]["pairs"]


def test_what_is_changed_by_hand_is_named_and_its_printed_repair_mends_it(
    graymesh: Graymesh, twin: str
) -> None:
    """The main promise: diagnose, paste, probe passes."""
    wrong = "02:00:00:00:00:99"
    by_hand = ("ip", "neigh", "replace", "10.244.0.0", "dev", "flannel.1", "lladdr", wrong)
    graymesh("exec", "--name", twin, "node/n2", "--", *by_hand, "nud", "permanent")

    done = graymesh("diagnose", "--name", twin, "--json", "-")

    (finding,) = done.document["findings"]
    assert done.code == 1
    assert finding["edges"] == [["n2", "n0"]]
    (entry,) = finding["entries"]
    assert (entry["observer"], entry["owner"], entry["have"]) == ("n2", "n0", wrong)
    for repair in finding["repair"]:
        place = f"node/{repair['node']}"
        assert graymesh("exec", "--name", twin, place, "--", *repair["argv"]).code == 0
    assert graymesh("probe", "--name", twin).code == 0


def test_a_fault_is_injected_seen_and_undone(graymesh: Graymesh, twin: str) -> None:
    """By hand, without a scenario; the same fault twice is refused while it is in."""
    words = ("inject", "founding", "victim=n1", "peers=n0", "--name", twin)
    injected = graymesh(*words, "--json", "-")
    assert injected.code == 0, injected.err
    assert injected.document["injection"]["proof"]
    again = graymesh(*words)
    assert (again.code, again.err.count("\n")) == (4, 1)
    assert graymesh("diagnose", "--name", twin).code == 1

    undone = graymesh("undo", "--name", twin, "--json", "-")

    assert undone.code == 0, undone.err
    assert [one["fault"] for one in undone.document["undone"]] == ["founding"]
    assert graymesh("diagnose", "--name", twin).code == 0
    assert graymesh("undo", "--name", twin, "--json", "-").document["undone"] == []


def test_a_cluster_goes_with_its_owner(graymesh: Graymesh) -> None:
    """`--owner-pid` is what test runs use: a killed one leaves no twin."""
    with subprocess.Popen(["sleep", "60"]) as owner:
        assert graymesh("up", "--name", "owned", "--owner-pid", str(owner.pid)).code == 0
        owner.kill()

    for _ in range(50):
        names = [
            one["name"] for one in graymesh("list", "clusters", "--json", "-").document["clusters"]
        ]
        if "owned" not in names:
            break

    assert "owned" not in names


def test_a_state_directory_that_cannot_be_used_is_one_line(
    graymesh: Graymesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is named, and nothing was made."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "file" / "state"))

    done = graymesh("up", "--name", "never")

    assert (done.code, done.err.count("\n")) == (4, 1)
    assert str(tmp_path / "file") in done.err
    assert "never" not in graymesh("list", "clusters").out
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  # names only
