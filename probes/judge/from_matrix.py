"""Causes that no table shows, as findings: localised as far as the measured pairs allow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from probes.judge.hypotheses import POD_KINDS, PROTO_POD_KINDS, Hypothesis, Kind
from probes.judge.localise import Localised
from probes.judge.scene import Scene
from probes.judge.words import arrows, enumerated
from probes.model import Entry, Finding, Pair, PairResult, Repair

_DOWN: Final = frozenset({"refused", "reset", "unreachable-host", "unreachable-net", "prohibited"})
_SICK: Final = frozenset(
    {"servfail", "nxdomain", "rcode", "wrong-answer", "malformed", "truncated"}
)
_DIRECTED: Final = frozenset({Kind.EDGE, Kind.OUT, Kind.IN})
_TRANSPORTS: Final = {Kind.SERVING_UDP: "UDP", Kind.SERVING_TCP: "TCP"}


def findings(scene: Scene, found: Iterable[Localised]) -> tuple[Finding, ...]:
    """One finding per cause; directed edges that share a sender or receiver are one."""
    directed: list[Localised] = []
    by_protocol: dict[tuple[str, ...], list[Localised]] = defaultdict(list)
    others: list[Localised] = []
    for one in found:
        kind, subject = one.chosen.kind, one.chosen.subject
        if kind in _DIRECTED:
            directed.append(one)
        elif kind is Kind.PROTO_EDGE:
            by_protocol[*sorted(subject[:2]), subject[2]].append(one)
        else:
            others.append(one)
    return (
        *(_one_way(scene, star) for star in _stars(directed)),
        *(_protocol_edges(scene, both) for both in by_protocol.values()),
        *(_MAKERS[one.chosen.kind](scene, one) for one in others),
    )


def unexplained(scene: Scene, pairs: Sequence[Pair]) -> Finding:
    """What is left over when every cause has been considered."""
    ends = enumerated(f"{pair.src}→{pair.dst} ({pair.protocol})" for pair in pairs)
    return _finding(
        scene,
        "unexplained",
        f"no cause found for {ends}.",
        0.3,
        tuple(pairs),
        evidence=("neither the tables nor the shape of the failures say why",),
    )


class _Star(NamedTuple):
    edges: tuple[tuple[str, str], ...]
    found: tuple[Localised, ...]


def _stars(found: list[Localised]) -> Iterator[_Star]:
    """Directed edges by the sender or receiver that most of them have in common."""
    left = [(edge, one) for one in found for edge in _edges(one.chosen)]
    while left:
        votes = Counter((side, edge[side]) for edge, _ in left for side in (0, 1))
        side, centre = max(votes, key=lambda one: (votes[one], -one[0], one[1]))
        ours = [(edge, one) for edge, one in left if edge[side] == centre]
        left = [each for each in left if each not in ours]
        edges = tuple(sorted({edge for edge, _ in ours}))
        yield _Star(edges, tuple({id(one): one for _, one in ours}.values()))


def _edges(hypothesis: Hypothesis) -> set[tuple[str, str]]:
    """The directed node pairs that a cause loses."""
    if hypothesis.kind is Kind.EDGE:
        return {(hypothesis.subject[0], hypothesis.subject[1])}
    (centre,) = hypothesis.subject
    return {
        (centre, other) if hypothesis.kind is Kind.OUT else (other, centre)
        for other in _counterparts(hypothesis)
    }


def _counterparts(hypothesis: Hypothesis) -> set[str]:
    return set(hypothesis.nodes) - set(hypothesis.subject)


def _one_way(scene: Scene, star: _Star) -> Finding:
    failing = [one for each in star.found for one in each.chosen.failing]
    lossy = sum(one.ok > 0 for one in failing) * 2 > len(failing)
    what = "many" if lossy else "all"
    lines = [_tables_line(scene), *_ruled_out(scene, star.edges), *_only_pods(star.found)]
    lines += [line for each in star.found for line in _inside(each)]
    return _finding(
        scene,
        "one-way-drop",
        f"{what} packets {arrows(star.edges)} are lost, one way, and no table says why.",
        0.7 if lossy else 0.9,
        _pairs(failing),
        edges=star.edges,
        evidence=(*lines, *_counts(scene, star.edges)),
    )


def _only_pods(found: Iterable[Localised]) -> Iterator[str]:
    """What cannot be told apart where a node has a single pod."""
    alike = (other for one in found for other in one.alike if other.kind in POD_KINDS)
    if pods := {other.subject[0] for other in alike}:
        yield f"{enumerated(pods)}: the only pod probed on its node; it may be lost inside"


def _inside(one: Localised) -> Iterator[str]:
    """What says that the node itself loses the packets."""
    if one.chosen.within:
        yield f"the pairs inside {one.chosen.subject[0]} fail as well: they are lost in that node"


def _path(scene: Scene, one: Localised) -> Finding:
    a, b = one.chosen.subject
    return _finding(
        scene,
        "path-loss",
        f"round trips between {a} and {b} fail; which direction is lost was not measured.",
        0.5,
        _pairs(one.chosen.failing),
        edges=((a, b), (b, a)),
        evidence=(_tables_line(scene), "the protocol `oneway` would name the direction"),
    )


def _dark(scene: Scene, one: Localised) -> Finding:
    (node,) = one.chosen.subject
    return _finding(
        scene,
        "node-dark",
        f"nothing to or from {node} arrives, and no table says why.",
        0.9,
        _pairs(one.chosen.failing),
        nodes=(node,),
        evidence=(
            _tables_line(scene),
            *_unreadable(scene, node),
            *_only_pods([one]),
            *_inside(one),
        ),
    )


def _pod(scene: Scene, one: Localised) -> Finding:
    (pod,) = one.chosen.subject
    node, replica = scene.node(pod), pod in scene.replicas
    mates = [name for name in scene.nodes if name != pod and scene.node(name) == node]
    lines = [_tables_line(scene)]
    if mates:
        lines.append(f"the other pods of {node} ({enumerated(mates)}) are not concerned")
    ports = scene.ports_down(node)
    entry = Entry(node, node, "link", ports[0], "down", "up") if len(ports) == 1 else None
    lines += [f"ports of {node}'s pod bridge that are down: {enumerated(ports)}"] if ports else []
    return replace(
        _finding(
            scene,
            "pod-unreachable",
            f"{_isolation(one.chosen.kind, pod)}: the loss is inside that pod or at its port.",
            0.9,
            _pairs(one.chosen.failing),
            pods=() if replica else (pod,),
            replicas=(pod,) if replica else (),
            evidence=tuple(lines),
        ),
        entries=(entry,) if entry else (),
        repair=(Repair(node, ("ip", "link", "set", "dev", ports[0], "up")),) if entry else (),
    )


def _isolation(kind: Kind, pod: str) -> str:
    if kind in {Kind.POD_FAR_OUT, Kind.POD_FAR, Kind.POD_FAR_IN}:
        ways = {Kind.POD_FAR_OUT: "to", Kind.POD_FAR_IN: "from"}
        return f"{pod} exchanges nothing {ways.get(kind, 'with')} other nodes, only within its own"
    return {
        Kind.POD_IN: f"nothing that is sent to {pod} is received there",
        Kind.POD_OUT: f"nothing that {pod} sends is received elsewhere",
    }.get(kind, f"{pod} exchanges nothing with any other place")


def _serving(scene: Scene, one: Localised) -> Finding:
    (replica,) = one.chosen.subject
    errors: Counter[str] = Counter()
    for result in one.alone:
        errors.update(result.errors)
    kind, words = _replica_kind(one.chosen.kind, errors)
    said = ", ".join(f"{name} {count}" for name, count in sorted(errors.items()))
    pings = [r for r in scene.direct() if r.pair.dst == replica and r.pair.protocol == "icmp"]
    alive = sum(r.ok for r in pings)
    lines = [f"its errors: {said}"] if said else []
    if pings:
        lines.append(f"ICMP to it: {alive} of {sum(r.sent for r in pings)} answered")
    return _finding(
        scene,
        kind,
        f"{replica} {words}.",
        0.97,
        _pairs(one.chosen.failing),
        replicas=(replica,),
        evidence=(*lines, "the path to it is sound: no command on a node repairs it"),
    )


def _replica_kind(kind: Kind, errors: Counter[str]) -> tuple[str, str]:
    if sum(errors[name] for name in _SICK) * 2 > errors.total():
        return "dns-replica-sick", "answers wrongly, from everywhere"
    if kind is Kind.SERVING_TCP:
        return "dns-tcp-fallback-broken", "answers over UDP but not over TCP"
    only = f" over {_TRANSPORTS[kind]}" if kind in _TRANSPORTS else ""
    if sum(errors[name] for name in _DOWN) * 2 > errors.total():
        return "replica-down", f"refuses queries{only} from everywhere, while its pod is reached"
    return "replica-mute", f"does not answer{only} from anywhere, while its pod is reached"


def _protocol_edges(scene: Scene, both: list[Localised]) -> Finding:
    """One protocol between two nodes, asked from one of them or from both."""
    edges = tuple(sorted({(one.chosen.subject[0], one.chosen.subject[1]) for one in both}))
    protocol = both[0].chosen.subject[2]
    return _finding(
        scene,
        "protocol-drop",
        f"{protocol} {arrows(edges)} is lost, or its answers are; other protocols get through.",
        0.8,
        _pairs(result for one in both for result in one.chosen.failing),
        edges=edges,
        evidence=(_tables_line(scene),),
    )


def _protocol(scene: Scene, one: Localised) -> Finding:
    kind, (centre, protocol) = one.chosen.kind, one.chosen.subject
    where = {
        Kind.PROTO_OUT: f"from {centre}'s pods to other nodes",
        Kind.PROTO_IN: f"to places on {centre}",
        Kind.PROTO_POD_OUT: f"from {centre}",
        Kind.PROTO_POD_IN: f"to {centre}",
        Kind.PROTO_POD: f"to and from {centre}",
    }[kind]
    places = {centre} if kind in PROTO_POD_KINDS else set[str]()
    return _finding(
        scene,
        "protocol-drop",
        f"{protocol} {where} is lost, or its answers are; other protocols get through.",
        0.8,
        _pairs(one.chosen.failing),
        pods=tuple(places - scene.replicas),
        replicas=tuple(places & scene.replicas),
        nodes=() if places else (centre,),
        evidence=(_tables_line(scene),),
    )


def _pair(scene: Scene, one: Localised) -> Finding:
    a, b = one.chosen.subject[:2]
    by = f" by {one.chosen.subject[2]}" if one.chosen.kind is Kind.PAIR_PROTO else ""
    places = {a, b}
    return _finding(
        scene,
        "pair-loss",
        f"{a} and {b} do not reach each other{by}; other pods of their nodes do.",
        0.7,
        _pairs(one.chosen.failing),
        pods=tuple(sorted(places - scene.replicas)),
        replicas=tuple(sorted(places & scene.replicas)),
        evidence=(_tables_line(scene),),
    )


def _finding(
    scene: Scene,
    name: str,
    summary: str,
    confidence: float,
    explained: tuple[Pair, ...],
    *,
    edges: tuple[tuple[str, str], ...] = (),
    replicas: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
    pods: tuple[str, ...] = (),
    evidence: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        id=name,
        summary=summary,
        confidence=confidence,
        edges=edges,
        replicas=replicas,
        nodes=nodes,
        pods=pods,
        explained=explained,
        of=scene.of,
        evidence=evidence,
    )


def _pairs(results: Iterable[PairResult]) -> tuple[Pair, ...]:
    return tuple(dict.fromkeys(one.pair for one in results))


def _tables_line(scene: Scene) -> str:
    if scene.prediction is None:
        return "the tables were not read"
    return "no cause in the tables: every entry about it is right"


def _ruled_out(scene: Scene, edges: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Counters that would have grown if a wrong entry were the cause."""
    if scene.prediction is None or scene.before is None:
        return
    for node in sorted({edge[1] for edge in edges})[:2]:
        own = scene.owner(node)
        if own is not None and not scene.grown(node, "rx_otherhost", own.device):
            yield f"{node}'s {own.device} took no frame for another MAC (otherhost did not grow)"


def _counts(scene: Scene, edges: Sequence[tuple[str, str]]) -> Iterator[str]:
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    wanted = {*edges, *(edge[::-1] for edge in edges)}
    for one in scene.oneways:
        edge = (scene.node(one.pair.src), scene.node(one.pair.dst))
        if edge in wanted:
            counts[edge][0] += one.ok
            counts[edge][1] += one.sent
    if counts:
        text = ", ".join(f"{a}→{b} {ok}/{sent}" for (a, b), (ok, sent) in sorted(counts.items()))
        yield f"one-way packets that arrived: {text}"


def _unreadable(scene: Scene, node: str) -> Iterator[str]:
    reason = scene.state.unreadable.get(node) if scene.state else None
    if reason is not None:
        yield f"{node} could not be read: {reason}"


_MAKERS: Final = {
    Kind.PATH: _path,
    Kind.DARK: _dark,
    **dict.fromkeys(POD_KINDS, _pod),
    **dict.fromkeys((Kind.SERVING, Kind.SERVING_UDP, Kind.SERVING_TCP), _serving),
    **dict.fromkeys((*PROTO_POD_KINDS, Kind.PROTO_OUT, Kind.PROTO_IN), _protocol),
    **dict.fromkeys((Kind.PAIR, Kind.PAIR_PROTO), _pair),
}
