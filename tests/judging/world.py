"""Observations as a cluster with certain tables would give them, by the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from clusters.state import ClusterState
from probes.model import VIP, Observation, Pair, PairResult, State
from probes.plan import make_plan
from tests.judging.oracle import Oracle

ALL = ("icmp", "dns-udp", "dns-tcp", "vip", "oneway")
COUNT = 5


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What no table shows: packets that are lost on a leg, replicas that do not serve.

    `drops` says of (source place, destination place, protocol of the pair) whether packets are lost on that leg;
    `share` how many of them.
    """

    drops: Callable[[str, str, str], bool] = lambda _src, _dst, _protocol: False
    share: float = 1.0
    error: str = "timeout"
    refused: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()
    sick: frozenset[str] = frozenset()
    rng: random.Random = field(default_factory=lambda: random.Random(1))


class World:
    """One cluster under one weather."""

    def __init__(self, state: ClusterState, weather: Weather | None = None) -> None:
        self.state, self.sky = state, weather or Weather()
        self.oracle = Oracle(state)
        self.places = (*state.inventory.pods, *state.inventory.replicas)
        self.node = {place.name: place.node for place in self.places}
        self._known: dict[tuple[str, str], bool | None] = {}
        self._ip = {place.name: place.ips[0] for place in self.places}
        self._at = {ip: name for name, ip in self._ip.items()}

    def tables(self, src: str, dst: str) -> bool | None:
        """Whether packets between two places arrive by the tables."""
        if (src, dst) not in self._known:
            self._known[src, dst] = self.oracle.arrives(self._ip[src], self._ip[dst])
        return self._known[src, dst]

    def lost_edges(self) -> set[tuple[str, str]]:
        """The directed node pairs on which some place's packets are lost, by tables and weather."""
        return {
            (a.node, b.node)
            for a in self.places
            for b in self.places
            if a.node != b.node and not self._arrives(a.name, b.name, "oneway")
        }

    def uncertain(self) -> bool:
        """Whether the tables leave something open: per-flow routes, ARP, routers."""
        return any(self.tables(a.name, b.name) is None for a in self.places for b in self.places)

    def observe(self, protocols: Iterable[str] = ALL, *, full: bool = False) -> Observation:
        """One sweep over the planned pairs."""
        plan = make_plan(self.state.inventory, tuple(protocols), count=COUNT, full=full)
        pairs = tuple(self._result(target.pair, target.probes) for target in plan.targets)
        return Observation(pairs=pairs, timeout_s=1.0, duration_s=0.1)

    def _result(self, pair: Pair, probes: int) -> PairResult:
        if pair.dst == VIP:
            return self._vip(pair, probes)
        error = self._error(pair.src, pair.dst, pair.protocol)
        if not error:
            return counted(pair, probes, probes)
        kept = sum(self.sky.rng.random() >= self.sky.share for _ in range(probes))
        return counted(pair, probes, min(kept, probes - 1), error)

    def _arrives(self, src: str, dst: str, protocol: str) -> bool:
        # What the tables leave open (the agent's memory) is taken to be right.
        return self.tables(src, dst) is not False and not self.sky.drops(src, dst, protocol)

    def _error(self, src: str, dst: str, protocol: str) -> str:
        there = self._arrives(src, dst, protocol)
        if not there or (protocol != "oneway" and not self._arrives(dst, src, protocol)):
            return self.sky.error
        if protocol.startswith("dns"):
            for error, replicas in (
                ("refused", self.sky.refused),
                ("timeout", self.sky.mute),
                ("servfail", self.sky.sick),
            ):
                if dst in replicas:
                    return error
        return ""

    def _vip(self, pair: Pair, probes: int) -> PairResult:
        rules = self.state.nodes[self.node[pair.src]].vip
        assert rules is not None
        targets = rules.targets["udp"]
        if not targets:
            return counted(pair, probes, 0)
        draws = [self.sky.rng.choice(targets) for _ in range(probes)]
        if pair.protocol == "vip-pinned":
            draws = draws[:1] * probes
        return counted(pair, probes, sum(self._through(pair.src, address) for address in draws))

    def _through(self, src: str, address: str) -> bool:
        replica = self._at.get(address)
        return replica is not None and not self._error(src, replica, "dns-udp")


def counted(pair: Pair, sent: int, ok: int, error: str = "timeout") -> PairResult:
    """A result with so many answers."""
    return PairResult(
        pair=pair,
        sent=sent,
        ok=ok,
        state=State.PASS if ok == sent else State.FAIL,
        errors={error: sent - ok} if ok < sent else {},
    )
