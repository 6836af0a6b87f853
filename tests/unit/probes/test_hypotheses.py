"""Losses that no table shows: who is named, and who is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clusters.topology import Inventory, Node, Pod, Replica
from probes.judge import judge
from probes.model import Finding, Observation, Pair, PairResult, State

NODES = ("n0", "n1", "n2", "n3")
PODS = tuple(f"{node}-p{i}" for node in NODES for i in range(2))
REPLICAS = {"dns-0": "n1", "dns-1": "n2"}


def node(place: str) -> str:
    """Where it sits."""
    return REPLICAS.get(place) or place.partition("-")[0]


def pairs() -> Iterator[Pair]:
    """Every pair that a sweep asks, without those through the VIP."""
    for src in PODS:
        yield from (Pair(src, dst, "icmp") for dst in (*PODS, *REPLICAS) if dst != src)
        for dst in REPLICAS:
            yield from (Pair(src, dst, protocol) for protocol in ("dns-udp", "dns-tcp"))
    yield from (Pair(f"{a}-p0", f"{b}-p0", "oneway") for a in NODES for b in NODES if a != b)


def judged(lost: Callable[[Pair], bool]) -> tuple[Finding, ...]:
    """The findings about a sweep that lost every probe of those pairs."""
    results = tuple(
        PairResult(pair=pair, sent=5, ok=0, state=State.FAIL, errors={"timeout": 5})
        if lost(pair)
        else PairResult(pair=pair, sent=5, ok=5, state=State.PASS)
        for pair in pairs()
    )
    inventory = Inventory(
        provider="twin",
        name="t",
        vips=("10.96.0.10",),
        nodes=tuple(
            Node(name=name, underlay=(f"172.18.0.{i}",), pod_cidrs=(f"10.244.{i}.0/24",))
            for i, name in enumerate(NODES)
        ),
        pods=tuple(Pod(name=name, node=node(name), ips=()) for name in PODS),
        replicas=tuple(Replica(name=name, node=at, ips=()) for name, at in REPLICAS.items()),
    )
    seen = Observation(pairs=results, timeout_s=1.0, duration_s=1.0)
    return judge(seen, None, inventory=inventory).findings


def test_a_node_that_forwards_nothing_explains_the_pairs_inside_it() -> None:
    """Bridged frames pass the packet filter too; the last pair left is no second cause."""
    (finding,) = judged(lambda pair: "n1" in {node(pair.src), node(pair.dst)})

    assert (finding.id, finding.nodes, finding.pods) == ("node-dark", ("n1",), ())
    assert "the pairs inside n1 fail as well: they are lost in that node" in finding.evidence


def test_a_node_that_forwards_nothing_to_its_pods_explains_the_pairs_inside_it() -> None:
    """A drop rule for its podCIDR: one way, and every pair inside."""

    def lost(pair: Pair) -> bool:
        ends = {node(pair.src), node(pair.dst)}
        return node(pair.dst) == "n1" if pair.protocol == "oneway" else "n1" in ends

    (finding,) = judged(lost)

    assert finding.id == "one-way-drop"
    assert set(finding.edges) == {("n0", "n1"), ("n2", "n1"), ("n3", "n1")}


def test_a_node_is_not_blamed_for_one_of_several_pairs_inside_it() -> None:
    """One of them fails beside a lost node: that is another cause."""
    inside = {Pair("n1-p0", "dns-0", "dns-tcp"), Pair("n1-p0", "dns-0", "dns-udp")}
    found = judged(
        lambda pair: (
            pair in inside
            or (node(pair.src) != node(pair.dst) and "n1" in {node(pair.src), node(pair.dst)})
        )
    )

    dark = next(finding for finding in found if finding.id == "node-dark")
    assert not inside.intersection(dark.explained)


def test_a_protocol_that_a_pod_refuses_both_ways_is_one_cause() -> None:
    """ICMP dropped on its way into a pod: requests to it, and the answers that it waits for."""
    (finding,) = judged(lambda pair: pair.protocol == "icmp" and "n0-p0" in {pair.src, pair.dst})

    assert (finding.id, finding.pods) == ("protocol-drop", ("n0-p0",))
    assert finding.summary.startswith("icmp to and from n0-p0 is lost")


def test_a_protocol_that_a_replica_is_asked_in_vain_names_it() -> None:
    """ICMP to it alone."""
    (finding,) = judged(lambda pair: pair.protocol == "icmp" and pair.dst == "dns-1")

    assert (finding.id, finding.replicas, finding.pods) == ("protocol-drop", ("dns-1",), ())


def test_a_protocol_that_a_pod_asks_in_vain_names_it() -> None:
    """Its queries alone."""
    (finding,) = judged(lambda pair: pair.protocol == "dns-udp" and pair.src == "n2-p1")

    assert (finding.id, finding.pods) == ("protocol-drop", ("n2-p1",))
    assert finding.summary.startswith("dns-udp from n2-p1 is lost")
