"""A cluster in memory with a ledger, and engines on both, for tests of the engine and of faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from chaos.engine import Engine
from chaos.fake import FakeCluster
from chaos.journal import Event
from chaos.model import Fault
from chaos.registry import FAULTS
from chaos.tables import dump
from chaos.timer import Mark
from clusters.ledger import Ledger


class FakeTimers:
    """Timers that are only noted."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[str, float]] = {}  # pid → injection, seconds

    def start(self, cluster: str, injection: str, after_s: float) -> Mark:  # noqa: ARG002  # there is one
        """One more."""
        pid = 100 + len(self.running)
        self.running[pid] = (injection, after_s)
        return Mark(pid, 1)

    def cancel(self, mark: Mark) -> None:
        """One less."""
        self.running.pop(mark.pid, None)


class Bench:
    """A cluster in memory and its ledger; engines on them as successive processes would have."""

    def __init__(self, cluster: FakeCluster, ledger: Ledger) -> None:
        self.cluster = cluster
        self.ledger = ledger
        self.timers = FakeTimers()

    def engine(
        self,
        watch: Callable[[Event], None] = lambda _event: None,
        faults: Mapping[str, Fault] = FAULTS,
    ) -> Engine:
        """A new engine: it knows what the ledger says and nothing else."""
        return Engine(
            self.cluster,
            ledger=self.ledger,
            run_id="r-1",
            rng=random.Random(7),  # noqa: S311  # MACs of a test
            watch=watch,
            faults=faults,
            reader=self.cluster,
            timers=self.timers,
            settle_s=0.05,  # what does not read back at once in memory never will
        )

    def portrait(self) -> dict[str, object]:
        """All that a fault may change."""
        cluster = self.cluster
        return {
            "tables": dump(cluster.read_all()),
            "agents": cluster.agents(),
            "rules": [
                cluster.run(name, ["iptables-save"]).stdout for name in cluster.read_all().nodes
            ],
            "replicas": [cluster.replica_mode(r.name) for r in cluster.inventory().replicas],
        }
