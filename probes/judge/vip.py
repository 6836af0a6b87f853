"""Failures through the service address: explained by the replicas behind it, or by its rules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, NamedTuple

from probes.judge.scene import Scene
from probes.judge.words import enumerated
from probes.model import VIP, Entry, Finding, Pair, PairResult, State

_UNLIKELY: Final = 1e-4
_LINES: Final = 4


class Expected(NamedTuple):
    """What share of a pod's fresh-port queries must be lost, and because of which pairs to replicas."""

    share: Fraction
    because: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VipView:
    """The VIP pairs of a scene, with what the failures already explained make of them."""

    scene: Scene
    explained: frozenset[Pair]  # failing pairs to replicas that some finding explains

    def failing(self) -> Iterator[PairResult]:
        """The VIP pairs that fail."""
        return (one for one in self.scene.failing if one.pair.dst == VIP)

    def expected(self, pod: str, family: str) -> Expected:
        """By the replicas that this pod's node would choose from and that the pod cannot reach."""
        addresses = self.scene.targets(pod, family)
        bad = [self._bad(pod, family, address) for address in addresses]
        because = tuple(pair for pairs in bad for pair in pairs if pair is not None)
        lost = sum(bool(pairs) for pairs in bad)
        return Expected(Fraction(lost, len(addresses)) if addresses else Fraction(1), because)

    def rules(self, node: str) -> Entry | None:
        """The UDP rules of a node where they hold other targets than the ready replicas; `have` None: no target."""
        if self.scene.state is None:
            return None
        own = self.scene.state.nodes.get(node)
        if own is None or own.vip is None:
            return None
        have, want = set(own.vip.targets.get("udp", ())), set(self.scene.ready("ipv4"))
        if have == want:
            return None
        return Entry(node, node, "vip", "udp", _listed(have) or None, _listed(want) or None)

    def _bad(self, pod: str, family: str, address: str) -> tuple[Pair | None, ...]:
        """What of a pod's way to a replica fails; (None,) where no replica has the address, () where nothing fails.

        The replica's own DNS answers decide; where it was not asked, ICMP; where neither was, the tables.
        """
        replica = self.scene.replica(address)
        if replica is None:
            return (None,)
        udp, icmp = (Pair(pod, replica, name, family) for name in ("dns-udp", "icmp"))
        result = self.scene.by_pair.get(udp) or self.scene.by_pair.get(icmp)
        if result is not None:
            return (result.pair,) if result.state is State.FAIL else ()
        return (None,) if self.scene.lost_share(udp) else ()


def beyond(result: PairResult, share: Fraction) -> bool:
    """Whether so many losses are improbable (1e-4) where each query is lost with that probability."""
    lost = result.sent - result.ok
    if share >= 1:
        return False
    return _at_least(lost, result.sent, float(share)) < _UNLIKELY


def share_line(result: PairResult, expected: Expected) -> str:
    """One VIP pair as evidence."""
    lost = result.sent - result.ok
    share = expected.share
    words = f"{share.numerator}/{share.denominator}" if share.denominator > 1 else str(share)
    return f"VIP from {result.pair.src}: expected {words} lost, measured {lost}/{result.sent}"


def attributed(
    view: VipView, findings: Iterable[Finding]
) -> tuple[tuple[Finding, ...], frozenset[Pair]]:
    """The findings with the VIP pairs that they explain as well, and those pairs that need no further cause."""
    extra: dict[int, list[PairResult]] = defaultdict(list)
    settled: set[Pair] = set()
    expectations: dict[Pair, Expected] = {}
    found = tuple(findings)
    for one in view.failing():
        expected = expectations[one.pair] = view.expected(one.pair.src, one.pair.family)
        because = set(expected.because)
        for at, finding in enumerate(found):
            if because.intersection(finding.explained):
                extra[at].append(one)
        pinned = one.pair.protocol == "vip-pinned"
        known = bool(because & view.explained) or one.pair in view.explained
        if known and (pinned or not beyond(one, expected.share)):
            settled.add(one.pair)
    grown = tuple(
        _with_vip(finding, extra.get(at, []), expectations) for at, finding in enumerate(found)
    )
    return grown, frozenset(settled)


def _with_vip(
    finding: Finding, results: list[PairResult], expectations: Mapping[Pair, Expected]
) -> Finding:
    if not results:
        return finding
    fresh = [one for one in results if one.pair.protocol == VIP]
    lines = [share_line(one, expectations[one.pair]) for one in fresh[:_LINES]]
    if len(fresh) > _LINES:
        lines.append(f"VIP from {len(fresh) - _LINES} more pods in the same way")
    pairs = (one.pair for one in results)
    return replace(
        finding,
        explained=tuple(dict.fromkeys((*finding.explained, *pairs))),
        evidence=(*finding.evidence, *lines),
    )


def of_service(view: VipView, settled: frozenset[Pair]) -> tuple[Finding, ...]:
    """Findings about the VIP itself: rules missing or stale on some nodes, pinned flows, or unexplained."""
    failing = list(view.failing())
    by_cause: dict[str, list[PairResult]] = defaultdict(list)
    for one in failing:
        if cause := _cause(view, one, settled):
            by_cause[cause].append(one)
    return tuple(_finding(view, cause, results) for cause, results in by_cause.items())


def _cause(view: VipView, one: PairResult, settled: frozenset[Pair]) -> str | None:
    rules = view.rules(view.scene.node(one.pair.src))
    if rules is not None and rules.have is None:
        return "vip-rules-missing"
    if rules is not None and not _targets(rules.have) <= _targets(rules.want):
        return "vip-rules-stale"
    if one.pair in settled:
        return None
    fresh = view.scene.by_pair.get(one.pair._replace(protocol=VIP))
    pinned = one.pair.protocol == "vip-pinned"
    if pinned and fresh is not None and fresh.state is State.PASS:
        return "conntrack-stale-udp-endpoint"
    return "vip-broken"


def _finding(view: VipView, cause: str, results: list[PairResult]) -> Finding:
    nodes = sorted({view.scene.node(one.pair.src) for one in results})
    pods = () if cause.startswith("vip-rules") else tuple(_single_pods(view, results))
    rules = [rule for rule in map(view.rules, nodes) if rule is not None]
    lines = [
        share_line(one, view.expected(one.pair.src, one.pair.family))
        for one in results[:_LINES]
        if one.pair.protocol == VIP
    ]
    by_rules = cause.startswith("vip-rules")
    if by_rules:
        lines.append("repair: let kube-proxy write the service's rules on these nodes anew")
    return Finding(
        id=cause,
        summary=_SUMMARIES[cause].format(nodes=enumerated(pods or nodes)),
        confidence=0.99 if by_rules else 0.7,
        nodes=() if pods else tuple(nodes),
        pods=pods,
        entries=tuple(rules) if by_rules else (),
        explained=tuple(one.pair for one in results),
        of=view.scene.of,
        evidence=tuple(lines),
    )


def _single_pods(view: VipView, results: list[PairResult]) -> Iterator[str]:
    """The failing pods, where others of their nodes get through."""
    failing = {one.pair.src for one in results}
    nodes = {view.scene.node(pod) for pod in failing}
    for one in view.scene.measured:
        same = one.pair.protocol == results[0].pair.protocol and one.pair.src not in failing
        if same and view.scene.node(one.pair.src) in nodes:
            yield from sorted(failing)
            return


_SUMMARIES: Final = {
    "vip-rules-missing": "{nodes} has no rules that lead the service address to a replica.",
    "vip-rules-stale": "{nodes} leads the service address to an address that is no ready replica.",
    "conntrack-stale-udp-endpoint": (
        "flows from {nodes} that keep their source port stay with a dead replica; fresh ones work."
    ),
    "vip-broken": (
        "the service address fails from {nodes} though the replicas answer there; the rules that were"
        " read do not say why."
    ),
}


def _targets(text: str | None) -> set[str]:
    return set((text or "").split())


def _listed(addresses: Iterable[str]) -> str:
    return " ".join(sorted(addresses))


def _at_least(lost: int, sent: int, share: float) -> float:
    return math.fsum(
        math.comb(sent, k) * share**k * (1 - share) ** (sent - k) for k in range(lost, sent + 1)
    )
