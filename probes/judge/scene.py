"""Everything a judgement is made from, joined and indexed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from clusters.state import ClusterState
from clusters.topology import Inventory
from probes.forwarding import Outcome
from probes.model import VIP, Observation, Pair, PairResult, State
from probes.predict import Leg, Prediction
from probes.truth import Owner

ONEWAY: Final = "oneway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was measured (decided pairs alone), what the tables predict, and who sits where.

    `nodes` maps pods and replicas to their nodes; without an inventory it is empty, and every place stands alone.
    """

    measured: tuple[PairResult, ...]
    failing: tuple[PairResult, ...]
    oneways: tuple[PairResult, ...]
    inventory: Inventory | None
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
        """The legs that a pair's packets take and that do not simply arrive: there, and back for a round trip.

        Through the VIP these are the ways to every replica that was not asked directly from the same place.
        """
        if self.prediction is None:
            return ()
        if pair.dst == VIP:
            ends = self._unasked(pair)
            return tuple(leg for end in ends for leg in self.legs(end))
        there = self.prediction.leg(pair.src, pair.dst, pair.family)
        back = None
        if pair.protocol != ONEWAY:
            back = self.prediction.leg(pair.dst, pair.src, pair.family)
        return tuple(leg for leg in (there, back) if leg is not None)

    def lost_share(self, pair: Pair) -> Fraction:
        """What share of a pair's probes must be lost by the tables."""
        if pair.dst != VIP:
            return Fraction(any(leg.outcome is Outcome.LOST for leg in self.legs(pair)))
        addresses = self.targets(pair.src, pair.family)
        replicas = [self.replica(address) for address in addresses]
        lost = (
            name is None or self.lost_share(Pair(pair.src, name, "dns-udp", pair.family)) == 1
            for name in replicas
        )
        return Fraction(sum(lost), len(addresses)) if addresses else Fraction(1)

    def sure(self, pair: Pair) -> bool:
        """Whether a pair must pass by the tables: every leg of it arrives, through the VIP to whichever replica."""
        if pair.dst != VIP:
            return all(leg.outcome is Outcome.ARRIVES for leg in self.legs(pair))
        names = [self.replica(address) for address in self.targets(pair.src, pair.family)]
        return bool(names) and all(
            name is not None and self.sure(Pair(pair.src, name, "dns-udp", pair.family))
            for name in names
        )

    def targets(self, pod: str, family: str) -> tuple[str, ...]:
        """The addresses that the VIP stands for on the pod's node; the ready replicas' where that was not read."""
        own = self.state.nodes.get(self.node(pod)) if self.state else None
        if own is not None and own.vip is not None and family == "ipv4":
            return tuple(sorted(own.vip.targets.get("udp", ())))
        return self.ready(family)

    def ready(self, family: str) -> tuple[str, ...]:
        """The addresses of the replicas that are ready; sorted."""
        replicas = self.inventory.replicas if self.inventory else ()
        six = family == "ipv6"
        return tuple(
            sorted(ip for one in replicas if one.ready for ip in one.ips if (":" in ip) is six)
        )

    def replica(self, address: str) -> str | None:
        """The replica that has an address."""
        replicas = self.inventory.replicas if self.inventory else ()
        return next((one.name for one in replicas if address in one.ips), None)

    def _unasked(self, pair: Pair) -> Iterator[Pair]:
        for address in self.targets(pair.src, pair.family):
            name = self.replica(address)
            if name is not None:
                direct = [Pair(pair.src, name, by, pair.family) for by in ("dns-udp", "icmp")]
                if not any(one in self.by_pair for one in direct):
                    yield direct[0]

    def owner(self, node: str) -> Owner | None:
        """A node as its peers should know it, where the tables were read."""
        owners = self.prediction.truth.owners if self.prediction else {}
        return next((own for (name, _), own in owners.items() if name == node), None)

    def ports_down(self, node: str) -> tuple[str, ...]:
        """The ports of a node's pod bridge that are down."""
        own = self.owner(node)
        tables = self.state.nodes.get(node) if self.state else None
        if own is None or tables is None:
            return ()
        links = tables.links.values()
        return tuple(one.name for one in links if one.master == own.bridge and not one.up)

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
        inventory=inventory,
        nodes={place.name: place.node for place in places},
        replicas=frozenset(one.name for one in inventory.replicas) if inventory else frozenset(),
        prediction=prediction,
        state=state,
        before=before,
        by_pair={one.pair: one for one in measured},
    )
