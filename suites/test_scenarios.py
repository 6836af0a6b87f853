"""Every scenario as pytest cases, one for each of its assertions: `pytest suites/ -k founding`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from suites.expectation import assertion_names
from suites.scenario import UnsuitableError
from suites.scenarios import SCENARIOS
from suites.testing import Run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each assertion of each scenario; those of one scenario belong on one worker."""
    prove = bool(metafunc.config.getoption("--graymesh-prove"))
    distributed = metafunc.config.pluginmanager.hasplugin("xdist")
    cases = [
        pytest.param(
            one.name,
            assertion,
            id=f"{one.name}-{assertion}",
            marks=[pytest.mark.xdist_group(one.name)] if distributed else [],
        )
        for one in SCENARIOS.values()
        for assertion in assertion_names(one, prove=prove)
    ]
    metafunc.parametrize(("scenario", "assertion"), cases)


@pytest.fixture(scope="session")
def run_once(
    graymesh_run: Callable[[str], Run],
    record_testsuite_property: Callable[[str, object], None],
) -> Callable[[str], Run | UnsuitableError]:
    """Each scenario runs once, however many of its assertions are asked about."""

    @cache
    def run(scenario: str) -> Run | UnsuitableError:
        try:
            done = graymesh_run(scenario)
        except UnsuitableError as exc:
            return exc
        record_testsuite_property(f"{scenario}.run_id", done.document["run_id"])
        record_testsuite_property(f"{scenario}.seed", done.document["seed"])
        return done

    return run


def test_scenario(
    run_once: Callable[[str], Run | UnsuitableError], scenario: str, assertion: str
) -> None:
    """The cluster does what the scenario expects, as far as this one assertion goes."""
    run = run_once(scenario)
    if isinstance(run, UnsuitableError):
        pytest.skip(str(run))

    run.check(assertion)
