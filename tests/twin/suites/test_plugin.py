"""The pytest plugin in a user's own test directory, and the collected scenarios."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.twin

Graymesh = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]

USER_SUITE = """
import pytest

def test_healthy(graymesh_probe):
    assert graymesh_probe() == "pass"

def test_a_fault_is_seen_and_undone(graymesh_fault, graymesh_probe):
    graymesh_fault("vtep-delete", victim="n1")
    assert graymesh_probe() == "fail"

def test_red(graymesh_fault, graymesh_probe):
    graymesh_fault("vtep-delete", victim="n1")
    assert graymesh_probe() == "pass"

def test_healthy_again(graymesh_probe):
    assert graymesh_probe() == "pass"

@pytest.mark.graymesh_providers("kind")
def test_elsewhere():
    raise RuntimeError
"""


def _pytest(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *words]
    return subprocess.run(argv, cwd=where, capture_output=True, text=True, timeout=300, check=False)


def test_a_users_suite_is_green_and_red_where_it_should_be(
    tmp_path: Path, graymesh: Graymesh
) -> None:
    """Its failure shows the grid and the cause; afterwards no cluster is left."""
    (tmp_path / "test_mine.py").write_text(USER_SUITE)

    done = _pytest(tmp_path, "-rs")

    assert "1 failed, 3 passed, 1 skipped" in done.stdout, done.stdout
    assert "test_red" in done.stdout
    assert "dns-0  dns-1  dns-2  vip" in done.stdout
    assert "cause: " in done.stdout
    assert "needs a cluster of kind: this is twin" in done.stdout
    assert "test-" not in graymesh("list", "clusters").out


def test_scenarios_are_collected_one_case_for_each_assertion(tmp_path: Path) -> None:
    """The JUnit that pytest writes carries the same cases as graymesh's own."""
    xml = tmp_path / "junit.xml"

    done = _pytest(ROOT, "suites", "-k", "healthy-", f"--junitxml={xml}", "--graymesh-seed", "3")

    assert done.returncode == 0, done.stdout
    root = ET.parse(xml).getroot()  # noqa: S314  # pytest's own output
    cases = root.findall(".//testcase")
    assert {case.get("name") for case in cases} >= {
        "test_scenario[healthy-control-passes]",
        "test_scenario[healthy-pairs-as-expected]",
    }
    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert properties["healthy.seed"] == "3"


def test_founding_passes_on_a_named_cluster_and_fails_at_control_on_a_broken_one(
    twin: str, graymesh: Graymesh
) -> None:
    """With the incident there already, the message shows the grid and the cause."""
    words = ("suites", "-k", "founding", "--graymesh-name", twin)
    good = _pytest(ROOT, *words)
    assert good.returncode == 0, good.stdout
    assert "founding-l3miss needs dialect l3miss" in good.stdout
    assert graymesh("inject", "founding", "victim=n0", "peers=n2,n3", "--name", twin).code == 0

    bad = _pytest(ROOT, *words)

    assert bad.returncode == 1
    assert "unhealthy before anything was injected" in bad.stdout
    assert "dns-0  dns-1  dns-2  vip" in bad.stdout
    assert "vtep-mac-stale-on-some-peers" in bad.stdout


def test_the_plugin_costs_a_process_that_does_not_use_it_nothing(tmp_path: Path) -> None:
    """It is loaded into every pytest process of the environment."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'numpy', 'suites.testing', 'suites.child', 'clusters.errors', 'pydantic'}\n"
        "    assert 'suites.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
    )

    done = _pytest(tmp_path, "-q", "-p", "no:hypothesispytest")

    assert done.returncode == 0, done.stdout
