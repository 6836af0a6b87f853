"""Which probe goes where: a wave's rows turned into each protocol's work."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.echoes import Source
from probes.gear import Gear
from probes.mmsg import I64
from probes.nameservice import Question
from probes.oneway import End
from probes.plan import DNS_PORT, Plan
from probes.queries import Asked
from probes.wave import Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What stays the same over the waves of a sweep: targets by protocol and place, addresses, questions."""

    targets: Mapping[tuple[str, str], I64]  # (protocol, source) → targets
    addresses: npt.NDArray[np.uint32]
    names: tuple[str, ...]  # destination of each target
    places: tuple[str, ...]  # address of each target, as text
    known: Question
    identity: Question

    @classmethod
    def of(cls, plan: Plan) -> Layout:
        """Sort the targets of a plan."""
        groups: dict[tuple[str, str], list[int]] = {}
        for index, target in enumerate(plan.targets):
            groups.setdefault((target.pair.protocol, target.pair.src), []).append(index)
        packed = b"".join(socket.inet_aton(target.address) for target in plan.targets)
        return cls(
            targets={key: np.array(group, np.int64) for key, group in groups.items()},
            addresses=np.frombuffer(packed, ">u4").astype(np.uint32),
            names=tuple(target.pair.dst for target in plan.targets),
            places=tuple(target.address for target in plan.targets),
            known=Question.of(plan.known, {plan.known_address: ""}),
            identity=Question.of(plan.identity, plan.replicas),
        )

    def of_protocol(self, protocol: str) -> Iterable[tuple[str, I64]]:
        """(source, targets) of one protocol."""
        return ((src, group) for (proto, src), group in self.targets.items() if proto == protocol)


def in_rounds(wave: Wave, targets: I64) -> tuple[I64, I64]:
    """The probes of these targets in sending order, one round over all targets after the other, with their targets."""
    counts = wave.first[targets + 1] - wave.first[targets]
    rounds = np.arange(int(counts.max(initial=0)))
    grid = wave.first[targets][None, :] + rounds[:, None]
    wanted = rounds[:, None] < counts[None, :]
    return grid[wanted], np.broadcast_to(targets, grid.shape)[wanted]


def echo_sources(wave: Wave, layout: Layout, gear: Gear, idents: Mapping[str, int]) -> list[Source]:
    """The raw sockets with something to send; targets without a socket become void."""
    found = []
    for place, targets in layout.of_protocol("icmp"):
        probes, owners = in_rounds(wave, targets)
        sock = gear.echo.get(place)
        if sock is None:
            void(wave, probes, gear.failed["icmp", place])
        elif len(probes):
            found.append(
                Source(
                    sock=sock,
                    ident=idents[place],
                    probes=probes,
                    addresses=layout.addresses[owners],
                    first_round=int(
                        np.count_nonzero(wave.first[targets + 1] > wave.first[targets])
                    ),
                )
            )
    return found


def oneway_ends(wave: Wave, layout: Layout, gear: Gear) -> tuple[list[End], I64]:
    """The UDP sockets of all ends, and the end at which each probe is to arrive."""
    numbers = {place: number for number, place in enumerate(gear.oneway)}
    ports = {place: sock.getsockname()[1] for place, sock in gear.oneway.items()}
    goals = np.full(len(wave.outcome), -1, np.int64)
    sends: dict[str, tuple[I64, I64]] = {}
    for place, targets in layout.of_protocol("oneway"):
        probes, owners = in_rounds(wave, targets)
        if place not in numbers:
            void(wave, probes, gear.failed["oneway", place])
            continue
        names = [layout.names[owner] for owner in owners.tolist()]
        heard = np.array([name in numbers for name in names], np.bool_)
        for probe, name in zip(probes[~heard].tolist(), _pick(names, ~heard), strict=True):
            wave.void(probe, gear.failed["oneway", name])
        goals[probes[heard]] = [numbers[name] for name in _pick(names, heard)]
        sends[place] = probes[heard], owners[heard]
    ends = []
    nothing = np.zeros(0, np.int64)
    for place, number in numbers.items():
        probes, owners = sends.get(place, (nothing, nothing))
        wanted = [ports[layout.names[owner]] for owner in owners.tolist()]
        ends.append(
            End(
                sock=gear.oneway[place],
                place=number,
                probes=probes,
                addresses=layout.addresses[owners],
                ports=np.array(wanted, np.uint16),
            )
        )
    return ends, goals


def questions(wave: Wave, layout: Layout, gear: Gear, protocol: str) -> dict[str, list[Asked]]:
    """The DNS queries of one protocol by place; those of a place without a namespace become void."""
    work: dict[str, list[Asked]] = {}
    question = layout.identity if protocol in {"vip", "vip-pinned"} else layout.known
    for place, targets in layout.of_protocol(protocol):
        probes, owners = in_rounds(wave, targets)
        reason = gear.vantages.gone.get(place) or gear.failed.get((protocol, place))
        if reason:
            void(wave, probes, reason)
        elif len(probes):
            work[place] = [
                Asked(probe, (layout.places[owner], DNS_PORT), question, protocol == "vip")
                for probe, owner in zip(probes.tolist(), owners.tolist(), strict=True)
            ]
    return work


def void(wave: Wave, probes: I64, reason: str) -> None:
    """Take all these probes out of the sample."""
    for probe in probes.tolist():
        wave.void(probe, reason)


def _pick(names: list[str], mask: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, wanted in zip(names, mask.tolist(), strict=True) if wanted]
