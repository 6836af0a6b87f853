"""The `graymesh` command as its users call it, and clusters that go away again."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Done:
    """What one call of the command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Stdout as the one document that it must be with `--json -`."""
        document: dict[str, Any] = json.loads(self.out)
        return document


Graymesh = Callable[..., Done]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers and locks of a test are its own; children inherit the variable."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "state"))


@pytest.fixture
def graymesh() -> Graymesh:
    """Run one command line to its end."""

    def run(*words: str) -> Done:
        argv = [sys.executable, "-P", "-m", "suites", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def twin(graymesh: Graymesh) -> Iterator[str]:
    """The name of a running twin of four nodes, three replicas on n1, n2, n3."""
    name = f"t-{secrets.token_hex(4)}"
    assert graymesh("up", "--name", name).code == 0
    try:
        yield name
    finally:
        graymesh("down", "--name", name)
