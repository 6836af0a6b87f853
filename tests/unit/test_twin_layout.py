"""Names and addresses of a twin, and what cannot be built."""

from __future__ import annotations

import dataclasses

import pytest

from clusters.errors import SetupError, UsageError
from clusters.providers.base import ClusterSpec
from clusters.providers.twin import layout


def _spec(**wanted: object) -> ClusterSpec:
    return dataclasses.replace(ClusterSpec(), **wanted)


def test_the_default_cluster_has_its_replicas_beside_the_first_node() -> None:
    """The founding incident: the victim n0 carries none of three replicas."""
    found = {seat.name: (seat.node, seat.slot) for seat in layout.seats(_spec())}

    assert found == {
        **{f"n{i}-p0": (f"n{i}", 0) for i in range(4)},
        **{f"dns-{i}": (f"n{i + 1}", 1) for i in range(3)},
    }


def test_replicas_go_round_where_there_are_more_than_nodes() -> None:
    """Two replicas on one node have different places."""
    found = [
        seat for seat in layout.seats(_spec(nodes=2, dns_replicas=4)) if seat.role == "replica"
    ]

    assert [(seat.node, seat.slot) for seat in found] == [
        ("n1", 1),
        ("n0", 1),
        ("n1", 2),
        ("n0", 2),
    ]


def test_addresses_and_macs_are_those_of_a_real_node() -> None:
    """Docker's and the CNI plugins' habits, which people recognise in a dump."""
    assert layout.underlay_address(0) == "172.18.0.2"
    assert layout.underlay_address(255) == "172.18.1.1"
    assert layout.underlay_mac(255) == "02:42:ac:12:01:01"
    assert layout.pod_cidr(7) == "10.244.7.0/24"
    assert layout.pod_address(7, 0) == "10.244.7.2"
    assert layout.pod_address(7, layout.PLACES_PER_SUBNET - 1) == "10.244.7.254"
    assert layout.pod_mac("10.244.7.2") == "0a:58:0a:f4:07:02"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"nodes": 0}, "nodes: expected 1 to 256, got 0"),
        ({"nodes": 257}, "nodes: expected 1 to 256, got 257"),
        ({"pods_per_node": 0}, "pods-per-node: expected 1 to 253, got 0"),
        ({"pods_per_node": 254}, "pods-per-node: expected 1 to 253, got 254"),
        ({"dns_replicas": 0}, "dns-replicas: expected"),
        ({"nodes": 1, "pods_per_node": 253, "dns_replicas": 1}, "at most 253 .* got 254"),
        ({"nodes": 1, "dns_replicas": 253}, "at most 253 .* got 254"),
        ({"replica_nodes": (0, 1, 4)}, "replica-nodes: expected 0 to 3, got 4"),
        ({"replica_nodes": (0,)}, "replica-nodes: expected one node for each of 3 replicas, got 1"),
        (
            {"dialect": "calico"},
            "dialect: expected one of l3miss, static, persistent, got 'calico'",
        ),
        ({"family": "dual"}, "family: expected ipv4 .* got 'dual'"),
        ({"rp_filter": 3}, "rp-filter: expected 0 to 2, got 3"),
        ({"name": ""}, "name: expected"),
        ({"name": "-a"}, "name: expected"),
        ({"name": "Big"}, "name: expected"),
        ({"name": "a/b"}, "name: expected"),
        ({"name": "a" * 42}, "name: expected"),
        ({"name": "a\n"}, "name: expected"),
    ],
)
def test_a_spec_that_cannot_be_built_names_field_and_expectation(
    wrong: dict[str, object], said: str
) -> None:
    """One clear line, exit code 2."""
    with pytest.raises(UsageError, match=said) as caught:
        layout.check(_spec(**wrong))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [{}, {"nodes": 256}, {"nodes": 1, "dns_replicas": 252}, {"name": "a" * 41}, {"name": "0-x"}],
)
def test_the_largest_specs_that_can_be_built_pass(right: dict[str, object]) -> None:
    """The positive control of the refusals."""
    layout.check(_spec(**right))


def test_the_next_podcidr_is_the_first_free_one_after_the_last_given() -> None:
    """A podCIDR given back is not given out at once: events of its old owner may still be on their way."""
    assert layout.next_subnet([0, 2], last=2) == 3
    assert layout.next_subnet([0, 255], last=255) == 1
    with pytest.raises(SetupError, match="no podCIDR is free"):
        layout.next_subnet(range(256), last=7)
