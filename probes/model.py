"""Values of observation and judgement: pairs, observations, entries, findings, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

PROTOCOLS: Final = ("icmp", "dns-udp", "dns-tcp", "vip", "vip-pinned", "oneway")
VIP: Final = "vip"  # the destination name of pairs towards the service address


class State(StrEnum):
    """Three-valued everywhere; unknown is never pass."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Pair(NamedTuple):
    """A directed pair with protocol and family. `dst` is a pod, a replica, or "vip"."""

    src: str
    dst: str
    protocol: str
    family: str = "ipv4"


class Latency(NamedTuple):
    """Round-trip (or one-way) times in microseconds, from kernel receive timestamps."""

    min_us: float
    median_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """What was counted for one pair.

    `errors` by kind: timeout, refused, unreachable-host, unreachable-net, servfail, nxdomain, wrong-answer,
    truncated, reset, … `answered_by` counts, for VIP pairs, which replica answered.
    `unknown` is the reason why the pair could not be measured (starved prober, socket overflow, vantage gone); such a
    pair is unknown whatever was counted.
    """

    pair: Pair
    sent: int
    ok: int
    state: State
    errors: Mapping[str, int] = field(default_factory=dict)
    latency: Latency | None = None
    answered_by: Mapping[str, int] = field(default_factory=dict)
    unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStats:
    """How fast a sweep sent its first burst: probes of all protocols, the ICMP ones among them, and its length."""

    probes: int
    icmp: int
    burst_s: float

    @property
    def per_s(self) -> float:
        """Probes per second of the first burst."""
        return self.probes / self.burst_s if self.burst_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One sweep. `pairs` has a result for every planned pair, in plan order."""

    pairs: tuple[PairResult, ...]
    timeout_s: float
    duration_s: float
    trouble: tuple[str, ...] = ()  # what was wrong with the prober itself, in words
    stats: SendStats | None = None


class Entry(NamedTuple):
    """One table entry of `observer` about `owner`; have/want None = absent.

    table "neigh": key the address, values MACs. "fdb": key the MAC, values underlay addresses. "route": key the
    prefix, values as `ip route` prints them without the prefix. "link": key the device. "vip": key the transport.
    """

    observer: str
    owner: str
    table: str
    key: str
    have: str | None
    want: str | None


class Repair(NamedTuple):
    """One command, run as it stands with `graymesh exec node/NODE -- ARGV…`."""

    node: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause that loses frames or answers."""

    id: str
    summary: str  # one sentence in the field's words
    confidence: float
    edges: tuple[tuple[str, str], ...] = ()
    replicas: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    explained: tuple[Pair, ...] = ()  # the failing pairs it accounts for
    of: int = 0  # all failing pairs
    evidence: tuple[str, ...] = ()
    repair: tuple[Repair, ...] = ()
    proved: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something wrong or left over that loses nothing."""

    id: str
    summary: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict over one observation and one reading of the tables."""

    verdict: State
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    patterns: tuple[str, ...] = ()
    predicted: tuple[Pair, ...] = ()  # pairs the tables say must fail
    unpredicted: tuple[Pair, ...] = ()  # failed, though the tables say they must not
    unfulfilled: tuple[Pair, ...] = ()  # passed, though the tables say they must fail
    reasons: tuple[str, ...] = ()  # why the verdict is unknown, where it is
