"""Which pairs are expected."""

from __future__ import annotations

from collections import Counter

import pytest

from clusters.topology import Inventory, Node, Pod, Replica
from probes.model import PROTOCOLS, VIP, Pair
from probes.plan import Plan, make_plan, representatives, vip_probes


def inventory(*, nodes: int = 3, pods: int = 2, replicas: tuple[Replica, ...] = ()) -> Inventory:
    """Nodes n0…, pods n0-p0…, and these replicas."""
    return Inventory(
        provider="paper",
        name="paper",
        vips=("10.96.0.10",),
        nodes=tuple(
            Node(name=f"n{i}", underlay=(f"172.18.0.{2 + i}",), pod_cidrs=(f"10.244.{i}.0/24",))
            for i in range(nodes)
        ),
        pods=tuple(
            Pod(name=f"n{i}-p{j}", node=f"n{i}", ips=(f"10.244.{i}.{2 + j}",))
            for i in range(nodes)
            for j in range(pods)
        ),
        replicas=replicas,
    )


def replica(number: int, node: str = "n0", *, ready: bool = True) -> Replica:
    """A replica with an address outside the nodes."""
    return Replica(name=f"dns-{number}", node=node, ips=(f"10.244.9.{number}",), ready=ready)


def pairs(plan: Plan) -> list[Pair]:
    """The pairs that are probed."""
    return [target.pair for target in plan.targets]


def test_icmp_goes_from_every_pod_to_every_other_pod_and_every_replica() -> None:
    """The expected pairs come from the inventory, and no pod probes itself."""
    plan = make_plan(inventory(replicas=(replica(0), replica(1))), ("icmp",))

    assert len(plan.targets) == 6 * 5 + 6 * 2
    assert all(pair.src != pair.dst for pair in pairs(plan))
    assert len(set(pairs(plan))) == len(plan.targets)


@pytest.mark.parametrize("protocol", ["dns-udp", "dns-tcp"])
def test_dns_goes_from_every_client_pod_to_every_replica(protocol: str) -> None:
    """Sources are client pods, replicas only answer."""
    plan = make_plan(inventory(replicas=(replica(0), replica(1))), (protocol,))

    assert len(plan.targets) == 6 * 2
    assert {pair.dst for pair in pairs(plan)} == {"dns-0", "dns-1"}
    assert not any(pair.src.startswith("dns") for pair in pairs(plan))
    assert plan.targets[0].address == "10.244.9.0"


@pytest.mark.parametrize("protocol", ["vip", "vip-pinned"])
def test_the_vip_is_probed_once_from_every_pod(protocol: str) -> None:
    """One pair per pod, at the service address."""
    plan = make_plan(inventory(replicas=(replica(0),)), (protocol,))

    assert pairs(plan) == [Pair(pod.name, VIP, protocol) for pod in inventory().pods]
    assert {target.address for target in plan.targets} == {"10.96.0.10"}


def test_oneway_has_one_pod_per_node_and_every_direction() -> None:
    """Three nodes have six directed pairs."""
    plan = make_plan(inventory(), ("oneway",))

    ends = Counter((pair.src[:2], pair.dst[:2]) for pair in pairs(plan))
    assert ends == Counter({(f"n{i}", f"n{j}"): 1 for i in range(3) for j in range(3) if i != j})


def test_oneway_full_has_all_pods() -> None:
    """With `full` the pods of one node probe each other as well."""
    plan = make_plan(inventory(), ("oneway",), full=True)

    assert len(plan.targets) == 6 * 5


def test_a_replica_stands_in_for_a_node_without_client_pods() -> None:
    """Else no direction of that node would be seen."""
    bare = inventory(pods=0, replicas=(replica(0, "n2"), replica(1, "n1", ready=False)))

    assert {node: pod.name for node, pod in representatives(bare).items()} == {"n2": "dns-0"}


def test_the_representative_depends_on_the_seed_only() -> None:
    """A seed repeats a plan, and some other seed makes another one."""
    wide = inventory(pods=8)

    again = [make_plan(wide, ("oneway",), seed=7) for _ in range(2)]

    assert again[0] == again[1]
    assert any(make_plan(wide, ("oneway",), seed=n) != again[0] for n in range(5))


def test_a_replica_that_is_not_ready_is_classed_apart_with_a_reason() -> None:
    """It is not a network failure that it does not answer."""
    plan = make_plan(inventory(replicas=(replica(0), replica(1, ready=False))), ("dns-udp",))

    assert {pair.dst for pair in pairs(plan)} == {"dns-0"}
    assert len(plan.excluded) == 6
    assert {(e.pair.dst, e.reason) for e in plan.excluded} == {("dns-1", "replica not ready")}


def test_a_pod_without_an_ipv4_address_is_classed_apart() -> None:
    """There is nothing to send to."""
    six = Pod(name="six", node="n0", ips=("fd00::2",))
    base = inventory(nodes=1, pods=1)
    mixed = Inventory(
        provider=base.provider,
        name=base.name,
        vips=base.vips,
        nodes=base.nodes,
        pods=(*base.pods, six),
        replicas=(),
    )

    plan = make_plan(mixed, ("icmp",))

    assert pairs(plan) == [Pair("six", "n0-p0", "icmp")]
    assert [(e.pair.dst, e.reason) for e in plan.excluded] == [("six", "no IPv4 address")]


def test_vip_queries_meet_each_bad_replica_almost_surely() -> None:
    """P(never asked) = (1 - 1/R)^n stays below 1e-3, and one query less would not do."""
    for replicas in range(2, 40):
        probes = vip_probes(replicas)

        assert (1 - 1 / replicas) ** probes < 1e-3
        assert probes == 20 or (1 - 1 / replicas) ** (probes - 1) >= 1e-3
    assert vip_probes(1) == 20


def test_count_scales_the_vip_queries_but_not_the_pinned_ones() -> None:
    """More queries from one pinned port say nothing more."""
    three = inventory(replicas=(replica(0), replica(1), replica(2)))

    few, many = (make_plan(three, ("vip", "vip-pinned"), count=n) for n in (5, 50))

    assert {t.pair.protocol: t.probes for t in few.targets} == {"vip": 20, "vip-pinned": 5}
    assert {t.pair.protocol: t.probes for t in many.targets} == {"vip": 200, "vip-pinned": 50}


def test_only_keeps_just_those_pairs_in_plan_order() -> None:
    """A re-probe of the affected pairs asks nothing else."""
    whole = make_plan(inventory(replicas=(replica(0),)), PROTOCOLS)
    wanted = [pairs(whole)[n] for n in (40, 3, 17)]

    plan = make_plan(inventory(replicas=(replica(0),)), PROTOCOLS, only=wanted)

    assert pairs(plan) == [pair for pair in pairs(whole) if pair in wanted]


def test_a_protocol_that_does_not_exist_is_refused() -> None:
    """It would otherwise measure nothing and pass."""
    with pytest.raises(ValueError, match="no such protocol: arp"):
        make_plan(inventory(), ("icmp", "arp"))


def test_a_count_of_none_is_refused() -> None:
    """Zero probes would prove nothing."""
    with pytest.raises(ValueError, match="count is 0"):
        make_plan(inventory(), ("icmp",), count=0)


def test_the_identity_name_knows_every_replica() -> None:
    """An answer through the VIP tells who gave it."""
    plan = make_plan(inventory(replicas=(replica(0), replica(1))), ("vip",))

    assert plan.replicas == {"10.244.9.0": "dns-0", "10.244.9.1": "dns-1"}
    assert plan.known == "kubernetes.default.svc.cluster.local"
    assert plan.identity == "replica.graymesh.cluster.local"
