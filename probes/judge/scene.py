"""Everything a judgement is made from, joined and indexed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from clusters.state import ClusterState
from clusters.topology import Inventory
from probes.model import VIP, Observation, Pair, PairResult, State
from probes.predict import Leg, Prediction

ONEWAY: Final = "oneway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was measured (decided pairs alone), what the tables predict, and who sits where.

    `nodes` maps pods and replicas to their nodes; without an inventory it is empty, and every place stands alone.
    """

    measured: tuple[PairResult, ...]
    failing: tuple[PairResult, ...]
    oneways: tuple[PairResult, ...]
    nodes: Mapping[str, str]
    replicas: frozenset[str]
    prediction: Prediction | None
    state: ClusterState | None
    before: ClusterState | None
    by_pair: Mapping[Pair, PairResult] = field(repr=False)

    @property
    def of(self) -> int:
        """How many pairs fail."""
        return len(self.failing)

    def node(self, place: str) -> str:
        """The node of a pod or replica; the place itself where that is not known."""
        return self.nodes.get(place, place)

    def direct(self) -> Iterable[PairResult]:
        """Measured pairs between places, not through the VIP."""
        return (one for one in self.measured if one.pair.dst != VIP)

    def legs(self, pair: Pair) -> tuple[Leg, ...]:
        """The legs that a pair's packets take and that do not simply arrive: there, and back for a round trip."""
        if self.prediction is None or pair.dst == VIP:
            return ()
        there = self.prediction.leg(pair.src, pair.dst, pair.family)
        back = None
        if pair.protocol != ONEWAY:
            back = self.prediction.leg(pair.dst, pair.src, pair.family)
        return tuple(leg for leg in (there, back) if leg is not None)

    def grown(self, node: str, counter: str, device: str | None = None) -> int:
        """By how much a counter grew between the two readings; 0 where that is not known."""
        values = []
        for state in (self.before, self.state):
            own = state.nodes.get(node) if state else None
            if own is None:
                return 0
            if device is None:
                values.append(own.counters.get(counter, 0))
            elif device in own.links:
                values.append(int(getattr(own.links[device], counter)))
            else:
                return 0
        return max(0, values[1] - values[0])


def scene(
    observation: Observation | None,
    state: ClusterState | None,
    before: ClusterState | None,
    inventory: Inventory | None,
    prediction: Prediction | None,
) -> Scene:
    """Join the inputs of a judgement."""
    results = observation.pairs if observation else ()
    measured = tuple(one for one in results if one.state is not State.UNKNOWN)
    places = (*inventory.pods, *inventory.replicas) if inventory else ()
    return Scene(
        measured=measured,
        failing=tuple(one for one in measured if one.state is State.FAIL),
        oneways=tuple(one for one in measured if one.pair.protocol == ONEWAY),
        nodes={place.name: place.node for place in places},
        replicas=frozenset(one.name for one in inventory.replicas) if inventory else frozenset(),
        prediction=prediction,
        state=state,
        before=before,
        by_pair={one.pair: one for one in measured},
    )
