"""Small clusters and judgements, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from clusters.topology import Inventory, Node, Pod, Replica, Vtep
from probes.model import (
    PROTOCOLS,
    VIP,
    Entry,
    Finding,
    Judgement,
    Latency,
    Note,
    Observation,
    Pair,
    PairResult,
    Repair,
    State,
)
from suites.fates import Fate, fate
from suites.scenario import Effect

MakeInventory = Callable[..., Inventory]
Measure = Callable[[Inventory, Effect], Observation]


@pytest.fixture
def make_inventory() -> MakeInventory:
    """Build `nodes` nodes with one pod each, and a replica on each node index of `replicas`."""

    def make(
        nodes: int = 4, replicas: Sequence[int] = (1, 2, 3), dialect: str = "static"
    ) -> Inventory:
        return Inventory(
            provider="twin",
            name="t",
            vips=("10.96.0.10",),
            dialect=dialect,
            nodes=tuple(
                Node(
                    name=f"n{i}",
                    underlay=(f"172.18.0.{2 + i}",),
                    pod_cidrs=(f"10.244.{i}.0/24",),
                    vtep=Vtep(mac=f"02:00:00:00:00:0{i}"),
                )
                for i in range(nodes)
            ),
            pods=tuple(
                Pod(name=f"n{i}-p0", node=f"n{i}", ips=(f"10.244.{i}.2",)) for i in range(nodes)
            ),
            replicas=tuple(
                Replica(name=f"dns-{r}", node=f"n{i}", ips=(f"10.244.{i}.{3 + r}",))
                for r, i in enumerate(replicas)
            ),
        )

    return make


@pytest.fixture
def measure() -> Measure:
    """Measure what an effect must cause: pairs that may fail do."""

    def observe(inventory: Inventory, effect: Effect) -> Observation:
        pairs = [
            Pair(pod.name, to, protocol)
            for pod in inventory.pods
            for protocol in PROTOCOLS
            for to in _destinations(inventory, pod, protocol)
        ]
        results = tuple(_result(pair, fate(pair, inventory, effect)) for pair in pairs)
        return Observation(pairs=results, timeout_s=1.0, duration_s=0.25)

    return observe


def _destinations(inventory: Inventory, pod: Pod, protocol: str) -> list[str]:
    if protocol.startswith("vip"):
        return [VIP]
    others = inventory.pods if protocol in {"icmp", "oneway"} else inventory.replicas
    return [one.name for one in others if one.name != pod.name]


def _result(pair: Pair, what: Fate) -> PairResult:
    if what is Fate.MUST_PASS:
        return PairResult(
            pair=pair, sent=5, ok=5, state=State.PASS, latency=Latency(10.0, 12.5, 40.0)
        )
    return PairResult(pair=pair, sent=5, ok=0, state=State.FAIL, errors={"timeout": 5})


@pytest.fixture
def stale() -> Effect:
    """n2 and n3 keep the old MAC of n0."""
    return Effect(
        causes=frozenset({"vtep-mac-stale-on-some-peers"}),
        edges=frozenset({("n2", "n0"), ("n3", "n0")}),
        entries=frozenset({_stale_entry("n2"), _stale_entry("n3")}),
    )


def _stale_entry(observer: str) -> Entry:
    old, new = "72:00:00:00:00:01", "02:00:00:00:00:00"
    return Entry(observer, "n0", "neigh", "10.244.0.0", old, new)


@pytest.fixture
def judgement_of() -> Callable[[Effect, Observation], Judgement]:
    """What a perfect judge says about an effect."""

    def judge(effect: Effect, observation: Observation) -> Judgement:
        if effect.healthy:
            return Judgement(verdict=State.PASS, findings=(), notes=())
        failing = tuple(one.pair for one in observation.pairs if one.state is State.FAIL)
        finding = Finding(
            id=min(effect.causes),
            summary="n2 and n3 keep an old MAC of n0",
            confidence=0.99,
            edges=tuple(sorted(effect.edges)),
            entries=tuple(sorted(effect.entries)),
            replicas=tuple(sorted(effect.replicas)),
            nodes=tuple(sorted(effect.nodes)),
            explained=failing,
            of=len(failing),
            evidence=("n0 flannel.1 otherhost +40",),
            repair=tuple(
                Repair(one.observer, ("ip", "neigh", "replace", one.key, "lladdr", str(one.want)))
                for one in sorted(effect.entries)
            ),
        )
        residue = Entry("n1", "n0", "fdb", "72:00:00:00:00:01", "172.18.0.2", None)
        note = Note(id="fdb-residue", summary="n1 keeps an old MAC of n0", entries=(residue,))
        return Judgement(verdict=State.FAIL, findings=(finding,), notes=(note,))

    return judge
