"""graymesh inside pytest: a cluster, probes, faults and whole scenarios as fixtures.

Every fixture works by calling the `graymesh` command, so that nothing is written twice, a test process may have
threads, and each worker of pytest-xdist has clusters of its own names. Importing this costs nothing but pytest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from suites.testing import Faults, Handle, Run, Settings, Verdict

_REPORT = pytest.StashKey[str]()
_OPTIONS = (
    ("--graymesh-cluster", "provider of fresh clusters: twin or kind (twin)"),
    ("--graymesh-name", "a running cluster to use instead of fresh ones"),
    ("--graymesh-seed", "decides every choice of the scenarios (random)"),
    ("--graymesh-nodes", "nodes of a fresh cluster (4)"),
    ("--graymesh-pods-per-node", "client pods on each node of a fresh cluster (1)"),
    ("--graymesh-dns-replicas", "DNS replicas of a fresh cluster (3)"),
    ("--graymesh-dialect", "flannel generation of a fresh cluster (the scenario's own)"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; their values are checked by the command they are handed to."""
    group = parser.getgroup("graymesh", "partial failures of pod networks and cluster DNS")
    for name, text in _OPTIONS:
        group.addoption(name, default=None, help=text)
    group.addoption("--graymesh-prove", action="store_true", help="prove findings by repair")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that restricts a test to some providers."""
    config.addinivalue_line(
        "markers", "graymesh_providers(*names): run only on clusters of these providers"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is meant for other providers."""
    wanted = [name for mark in item.iter_markers("graymesh_providers") for name in mark.args]
    provider = item.config.getoption("--graymesh-cluster") or "twin"
    if wanted and provider not in wanted:
        pytest.skip(f"needs a cluster of {' or '.join(wanted)}: this is {provider}")


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    """Say the cause where a verdict is not what was asserted; the whole report becomes a section of its own.

    Pytest cuts long explanations off, and the grid would be the first to go.
    """
    testing = sys.modules.get(
        "suites.testing"
    )  # nothing was asserted about a verdict while it is not loaded
    if testing is None or op != "==":
        return None
    verdict = next((one for one in (left, right) if isinstance(one, testing.Verdict)), None)
    if verdict is None:
        return None
    config.stash[_REPORT] = verdict.report
    other = right if verdict is left else left
    return [f"verdict {verdict.state!r} == {other!r}", verdict.cause]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the report of the verdict that was not what was asserted."""
    report = yield
    text = item.config.stash.get(_REPORT, None)
    if text is not None and report.failed:
        report.sections.append(("graymesh", text))
        del item.config.stash[_REPORT]
    return report


@pytest.fixture(scope="session")
def graymesh_settings(pytestconfig: pytest.Config) -> Settings:
    """The options as given."""
    from suites.testing import Settings  # noqa: PLC0415  # only where a fixture is used

    def given(name: str) -> Any:
        return pytestconfig.getoption(f"--graymesh-{name}")

    shape = ("cluster", "nodes", "pods-per-node", "dns-replicas", "dialect")
    words = [word for key in shape if given(key) for word in (f"--{key}", str(given(key)))]
    return Settings(
        name=given("name"), seed=given("seed"), prove=given("prove"), shape=tuple(words)
    )


@pytest.fixture(scope="session")
def graymesh_cluster(graymesh_settings: Settings) -> Iterator[Handle]:
    """A running cluster: the one of --graymesh-name, else a fresh one that is removed at the end."""
    from suites.testing import cluster  # noqa: PLC0415  # only where a fixture is used

    with cluster(graymesh_settings) as handle:
        yield handle


@pytest.fixture
def graymesh_probe(graymesh_cluster: Handle) -> Callable[..., Verdict]:
    """Probe and judge the cluster, with options of `diagnose` as words; the verdict compares with "pass"."""
    return graymesh_cluster.diagnose


@pytest.fixture
def graymesh_fault(graymesh_cluster: Handle) -> Iterator[Faults]:
    """Inject faults: `graymesh_fault("vtep-delete", victim="n1")`; all are undone when the test ends."""
    from suites.testing import Faults  # noqa: PLC0415  # only where a fixture is used

    with Faults(handle=graymesh_cluster) as faults:
        yield faults


@pytest.fixture(scope="session")
def graymesh_run(graymesh_settings: Settings) -> Callable[..., Run]:
    """Run a scenario as `graymesh run` does: `graymesh_run("founding").check()`."""
    return graymesh_settings.run
