"""Time to predict, audit and judge on made-up clusters; prints one line each. Needs no privilege and no network.

Usage: python -m tests.benchmarks.bench_judge
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

from clusters.state import ClusterState
from probes import testing as made
from probes.audit import audit
from probes.judge import judge
from probes.model import VIP, Observation, PairResult, State
from probes.plan import make_plan
from probes.predict import predict
from probes.testing import Shape, changed, healthy_state

_ROUNDS = 7
_OLD = "02:de:ad:00:00:01"


def founding(shape: Shape) -> ClusterState:
    """Two peers keep an old MAC of n0."""
    state = healthy_state(shape)
    for peer in ("n2", "n3"):
        state = changed(state, peer, made.set_neigh(made.gateway(0), _OLD))
        state = changed(state, peer, made.set_fdb(_OLD, made.underlay(0)))
    return state


def observed(state: ClusterState) -> Observation:
    """A sweep that loses what the tables say must be lost, VIP queries aside."""
    plan = make_plan(state.inventory, ("icmp", "dns-udp", "dns-tcp", "vip", "oneway"))
    prediction = predict(state)
    results = []
    for pair, _, probes in plan.targets:
        legs = [(pair.src, pair.dst)]
        legs += [(pair.dst, pair.src)] if pair.protocol != "oneway" else []
        lost = pair.dst != VIP and any(prediction.leg(*leg) for leg in legs)
        results.append(
            PairResult(
                pair=pair,
                sent=probes,
                ok=0 if lost else probes,
                state=State.FAIL if lost else State.PASS,
                errors={"timeout": probes} if lost else {},
            )
        )
    return Observation(pairs=tuple(results), timeout_s=1.0, duration_s=1.0)


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and work of each figure."""
    for nodes in (50, 100):
        state = healthy_state(Shape(nodes=nodes, pods=4))
        yield f"predict {nodes} healthy nodes", lambda state=state: predict(state)  # type: ignore[misc]
        yield f"audit {nodes} healthy nodes", lambda state=state: audit(state)  # type: ignore[misc]
    lost = changed(healthy_state(Shape(nodes=50, pods=4)), "n7", made.del_link("flannel.1"))
    yield "predict 50 nodes, one without its device", lambda: predict(lost)
    for name, state in (
        ("healthy", healthy_state(Shape(nodes=20, pods=4))),
        ("founding", founding(Shape(nodes=20, pods=4))),
    ):
        seen = observed(state)
        label = f"judge 20 nodes x 4 pods, {name} ({len(seen.pairs)} pairs)"
        yield label, lambda seen=seen, state=state: judge(seen, state)  # type: ignore[misc]


def measured(work: Callable[[], object]) -> str:
    """Median by the clock and least on the processor, of several rounds."""
    clock_s, processor_s = [], []
    for _ in range(_ROUNDS):
        started_s, worked_s = time.perf_counter(), time.process_time()
        work()
        clock_s.append(time.perf_counter() - started_s)
        processor_s.append(time.process_time() - worked_s)
    return f"{statistics.median(clock_s) * 1e3:.1f} ms ({min(processor_s) * 1e3:.1f} ms CPU)"


def main() -> None:
    """One line per figure."""
    for name, work in cases():
        sys.stdout.write(f"{name}: {measured(work)}\n")


if __name__ == "__main__":
    main()
