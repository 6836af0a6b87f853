"""The engine on a cluster in memory."""

from pathlib import Path

import pytest

from chaos.fake import FakeCluster
from chaos.fake_bench import Bench
from clusters.ledger import Ledger


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Four nodes, static dialect."""
    return Bench(FakeCluster(), Ledger(tmp_path / "ledger.jsonl"))
