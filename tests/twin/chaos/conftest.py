"""Twins for faults, with a state directory of the tests' own."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from clusters.providers.base import Cluster, ClusterSpec
from clusters.providers.registry import open_cluster
from clusters.providers.twin.provider import TwinProvider

Twins = Callable[..., str]

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ledgers and locks of these tests are their own; timers inherit the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAYMESH_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@contextlib.contextmanager
def _twins() -> Iterator[Twins]:
    provider = TwinProvider()
    made: list[str] = []

    def make(dialect: str = "static", nodes: int = 4) -> str:
        name = f"chaos{os.getpid()}-{next(_numbers)}"
        spec = ClusterSpec(name=name, dialect=dialect, nodes=nodes, owner_pid=os.getpid())
        provider.up(spec, progress=lambda _text: None)
        made.append(name)
        return name

    try:
        yield make
    finally:
        left = {summary.name for summary in provider.list()}
        for name in made:
            if name in left:
                provider.down(name)


@pytest.fixture
def make_twin() -> Iterator[Twins]:
    """Makes twins that end with the test; gives their names."""
    with _twins() as make:
        yield make


@pytest.fixture(scope="module")
def twin_of() -> Iterator[Twins]:
    """The name of a twin of that dialect, one for all tests of a module: each leaves it as it was."""
    with _twins() as make:
        found: dict[str, str] = {}
        yield lambda dialect: found.get(dialect) or found.setdefault(dialect, make(dialect))


@pytest.fixture
def twin(twin_of: Twins) -> str:
    """The module's static twin."""
    return twin_of("static")


@pytest.fixture
def cluster(twin: str) -> Iterator[Cluster]:
    """A handle on it."""
    with contextlib.closing(open_cluster(twin)) as opened:
        yield opened
