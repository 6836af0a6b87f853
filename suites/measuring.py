"""Looking at a cluster and judging what was seen; imported only once the cluster is open.

The prober needs numpy, whose import may start threads, after which no user namespace can be joined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from clusters.providers.base import Cluster
from clusters.state import ClusterState
from clusters.state_reader import read_state
from clusters.topology import Inventory
from probes.engine import sweep
from probes.judge import judge
from probes.matrix import Table, grid
from probes.model import Judgement, Observation, Pair
from probes.plan import make_plan
from suites.report.document import GridPart, TimingPart
from suites.report.json import Grids


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How to probe. `only` restricts the plan to these pairs."""

    protocols: Sequence[str]
    count: int
    timeout_s: float
    seed: int
    full: bool = False
    only: Collection[Pair] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen: probes, and tables read before and after them. Either may be missing, not both."""

    inventory: Inventory
    observation: Observation | None = None
    before: ClusterState | None = None
    state: ClusterState | None = None
    probe_s: float = 0.0
    audit_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A look with its judgement."""

    look: Look
    judgement: Judgement
    judge_s: float

    @property
    def timing(self) -> TimingPart:
        """Seconds of each part."""
        return {
            "probe_s": round(self.look.probe_s, 6),
            "audit_s": round(self.look.audit_s, 6),
            "judge_s": round(self.judge_s, 6),
        }


def probe(
    cluster: Cluster, probing: Probing, *, progress: Callable[[str], None] | None = None
) -> Observation:
    """One sweep over the pairs of the cluster's inventory as it is now."""
    plan = make_plan(
        cluster.inventory(),
        probing.protocols,
        count=probing.count,
        full=probing.full,
        seed=probing.seed,
        only=probing.only,
    )
    return sweep(cluster, plan, timeout_s=probing.timeout_s, progress=progress)


def look_by_probing(
    cluster: Cluster, probing: Probing, progress: Callable[[str], None] | None = None
) -> Look:
    """Probes alone."""
    inventory = cluster.inventory()
    observation = probe(cluster, probing, progress=progress)
    return Look(inventory=inventory, observation=observation, probe_s=observation.duration_s)


def look_at_tables(cluster: Cluster) -> Look:
    """Tables alone; no packet is sent."""
    started_s = time.perf_counter()
    state = read_state(cluster, vip=True)
    audit_s = time.perf_counter() - started_s
    return Look(inventory=state.inventory, state=state, audit_s=audit_s)


def look(cluster: Cluster, probing: Probing, progress: Callable[[str], None] | None = None) -> Look:
    """Probes between two readings of the tables, so that counters show what the probes did."""
    before = read_state(cluster)
    observation = probe(cluster, probing, progress=progress)
    after = look_at_tables(cluster)
    return Look(
        inventory=after.inventory,
        observation=observation,
        before=before,
        state=after.state,
        probe_s=observation.duration_s,
        audit_s=after.audit_s,
    )


def judged(seen: Look) -> Judged:
    """The judgement over what was seen."""
    started_s = time.perf_counter()
    judgement = judge(seen.observation, seen.state, before=seen.before)
    return Judged(look=seen, judgement=judgement, judge_s=time.perf_counter() - started_s)


def grid_parts(seen: Look) -> Grids:
    """The grids as documents hold them; none where nothing was probed."""
    if seen.observation is None:
        return Grids()
    drawn = grid(seen.inventory, seen.observation)
    return Grids(
        replicas=_part(drawn.replicas), oneway=_part(drawn.oneway) if drawn.oneway else None
    )


def _part(table: Table) -> GridPart:
    return {
        "columns": list(table.columns),
        "rows": [
            {"node": node, "cells": cells}
            for node, cells in zip(table.rows, table.cells, strict=True)
        ],
    }
