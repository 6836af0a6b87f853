"""One sweep: every planned pair probed from its own namespace, by one process with one event loop."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from clusters.providers.base import Cluster
from probes.echoes import Echoes
from probes.gear import Gear, opened
from probes.loop import Driver, Loop, run
from probes.mmsg import I64
from probes.model import Observation, SendStats
from probes.oneway import OneWay
from probes.pinned import Pinned
from probes.plan import Plan
from probes.pulse import Gap, Pulse, collector_paused, overlapping, waited_for_cpu_s
from probes.queries import Queries
from probes.sockets import RECEIVE_BUFFER_BYTES, widen_descriptor_limit
from probes.streams import Streams
from probes.tally import Tally
from probes.vantages import Vantages
from probes.wave import Wave
from probes.work import Layout, echo_sources, oneway_ends, questions

WAVES: Final = 6  # a burst, three more until decide.BOUND, two to make up for a starved prober
_LANES: Final = 2
_GRACE_NS: Final = 300_000_000  # how much longer than one timeout a decided wave is waited for
_WORTH_A_LANE: Final = (
    2000  # ICMP probes; a helper thread costs about as much as some hundred of them
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a benchmark or a test of the prober sets; everybody else leaves it alone.

    `lanes` is how many threads send ICMP, the event loop's included (None: two where there is enough to send).
    """

    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
    lanes: int | None = None


def sweep(
    cluster: Cluster,
    plan: Plan,
    *,
    timeout_s: float = 1.0,
    progress: Callable[[str], None] | None = None,
    tuning: Tuning | None = None,
) -> Observation:
    """Probe every pair of the plan and say what was seen; the cluster is as it was afterwards.

    All protocols run at once: a first burst, then more probes for the pairs that it leaves undecided
    (probes.decide). Whatever the prober itself could not do makes a pair unknown, never failed; `trouble` says what.
    An answer counts when the kernel received it within `timeout_s` of its probe. Raises OSError only where
    not even an epoll object can be made.
    """
    started_s = time.monotonic()
    widen_descriptor_limit()
    places = dict.fromkeys(
        place
        for target in plan.targets
        for place in (
            (target.pair.src, target.pair.dst)
            if target.pair.protocol == "oneway"
            else (target.pair.src,)
        )
    )
    tuning = tuning or Tuning()
    with (
        collector_paused(),
        contextlib.closing(Loop()) as loop,
        contextlib.closing(Vantages.of(cluster, places)) as vantages,
        opened(plan, vantages, tuning.receive_buffer_bytes) as gear,
    ):
        course = _Course(plan=plan, gear=gear, loop=loop, tuning=tuning, timeout_s=timeout_s)
        course.run(progress or _silent)
        course.distrust_moved(cluster)
        return course.observation(started_s)


@dataclass(slots=True, kw_only=True)
class _Course:
    """The state of one sweep over its waves."""

    plan: Plan
    gear: Gear
    loop: Loop
    tuning: Tuning
    timeout_s: float
    layout: Layout = field(init=False)
    tally: Tally = field(init=False)
    stats: SendStats | None = None
    trouble: list[str] = field(default_factory=list)
    _idents: dict[str, int] = field(default_factory=dict)
    _ports: dict[str, set[int]] = field(default_factory=dict)
    _drops: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.plan)
        self.tally = Tally.of(len(self.plan.targets))
        self.trouble.extend(self.gear.vantages.gone.values())
        rng = random.Random()  # noqa: S311 - to tell sockets apart
        self._idents = {place: rng.getrandbits(16) for place in self.gear.echo}

    def run(self, progress: Callable[[str], None]) -> None:
        """The burst, and further waves while pairs are undecided."""
        wanted = np.array([target.probes for target in self.plan.targets], np.int64)
        counts = wanted
        for number in range(WAVES):
            pairs = int(np.count_nonzero(counts))
            if not pairs:
                return
            progress(f"{'re-' if number else ''}probing {pairs} pairs: {int(counts.sum())} probes")
            self.tally.add(self._wave(counts))
            counts = self.tally.undecided(wanted)

    def distrust_moved(self, cluster: Cluster) -> None:
        """Pairs that fail from a namespace that has been replaced meanwhile were not measured."""
        vantages = self.gear.vantages
        moved: dict[str, str | None] = dict.fromkeys(vantages.gone)
        for index in self.tally.failing():
            pair = self.plan.targets[index].pair
            for place in (pair.src, pair.dst) if pair.protocol == "oneway" else (pair.src,):
                if place not in moved:
                    moved[place] = vantages.moved(cluster, place)
                    if reason := moved[place]:
                        self.trouble.append(f"{place}: {reason}")
                if reason := moved[place]:
                    self.tally.distrusted[index] = reason

    def observation(self, started_s: float) -> Observation:
        """What was seen."""
        return Observation(
            pairs=self.tally.results(self.plan.targets),
            timeout_s=self.timeout_s,
            duration_s=time.monotonic() - started_s,
            trouble=tuple(self.trouble),
            stats=self.stats,
        )

    def _wave(self, counts: I64) -> Wave:
        wave = Wave.of(counts, token=secrets.randbits(64), timeout_s=self.timeout_s)
        patience_ns = time.time_ns() + wave.timeout_ns + _GRACE_NS
        pulses = [Pulse(limit_s=self.timeout_s / 2)]
        waited_s = waited_for_cpu_s()
        with self.gear.vantages.visiting(), contextlib.ExitStack() as stack:
            echoes, others = self._drivers(wave, pulses[0])
            for driver in (echoes, *others):
                stack.callback(driver.close)
            helpers = [Pulse(limit_s=self.timeout_s / 2) for _ in range(self._helpers(echoes))]
            pulses.extend(helpers)
            with echoes.helped(helpers):
                run(
                    others,
                    (echoes,),
                    self.loop,
                    pulses[0],
                    lambda now_ns: now_ns > patience_ns and wave.settled(now_ns),
                )
        self._judge_prober(wave, [gap for pulse in pulses for gap in pulse.gaps], waited_s)
        wave.close(time.time_ns())
        if self.stats is None:
            self.stats = self._stats(wave)
        return wave

    def _drivers(self, wave: Wave, pulse: Pulse) -> tuple[Echoes, tuple[Driver, ...]]:
        layout, gear, loop = self.layout, self.gear, self.loop
        idents = os.urandom(2 * len(wave.outcome))
        servers = max(len(self.plan.replicas), 1)
        asked = {
            protocol: questions(wave, layout, gear, protocol)
            for protocol in ("dns-udp", "dns-tcp", "vip", "vip-pinned")
        }
        ends, goals = oneway_ends(wave, layout, gear)

        def queries(protocol: str) -> Queries:
            return Queries(
                wave,
                asked[protocol],
                loop,
                gear.vantages,
                ports=self._ports,
                idents=idents,
                servers=servers,
            )

        others = (
            queries("dns-udp"),
            OneWay(wave, ends, goals, loop),
            Pinned(wave, asked["vip-pinned"], loop, gear.pins),
            Streams(wave, asked["dns-tcp"], loop, gear.vantages, idents=idents, servers=servers),
            queries("vip"),
        )
        sources = echo_sources(wave, layout, gear, self._idents)
        return Echoes(wave, sources, loop, pulse), others

    def _helpers(self, echoes: Echoes) -> int:
        lanes = self.tuning.lanes or (_LANES if echoes.planned >= _WORTH_A_LANE else 1)
        return lanes - 1

    def _judge_prober(self, wave: Wave, gaps: list[Gap], waited_s: float) -> None:
        """Losses that may be the prober's own doing are taken out of the sample."""
        if gaps:
            longest_s = max(gap.length_s for gap in gaps)
            cpu_s = waited_for_cpu_s() - waited_s
            reason = f"the prober stood still for {longest_s:.1f} s ({cpu_s:.1f} s without a CPU)"
            self.trouble.append(reason)
            wave.void_losses(overlapping(wave, gaps), reason)
        for protocol, place, drops in self.gear.overflows():
            fresh = drops - self._drops.get((protocol, place), 0)
            if fresh:
                self._drops[protocol, place] = drops
                reason = f"socket overflow in {place}: {fresh} packets dropped"
                self.trouble.append(reason)
                wave.void_losses(np.isin(wave.target, self._served(protocol, place)), reason)

    def _served(self, protocol: str, place: str) -> list[int]:
        """The targets whose answers that socket receives."""
        if protocol == "icmp":
            return self.layout.targets[protocol, place].tolist()  # type: ignore[no-any-return]
        return [
            index
            for index, target in enumerate(self.plan.targets)
            if target.pair.protocol == protocol and target.pair.dst == place
        ]

    def _stats(self, wave: Wave) -> SendStats:
        sent_ns = wave.sent_ns[wave.sent_ns > 0]
        protocols = np.array([target.pair.protocol == "icmp" for target in self.plan.targets])
        icmp = int(np.count_nonzero(protocols[wave.target] & (wave.sent_ns > 0)))
        span_ns = int(sent_ns.max() - sent_ns.min()) if len(sent_ns) else 0
        return SendStats(probes=len(sent_ns), icmp=icmp, burst_s=span_ns / 1e9)


def _silent(_text: str) -> None:
    """Progress that nobody wants to see."""
