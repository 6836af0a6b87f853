"""Where everything of a twin sits: names, addresses, MACs, computed from the spec alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from clusters.errors import SetupError, UsageError
from clusters.flannel.generations import GENERATIONS
from clusters.providers.base import ClusterSpec

CLUSTER_CIDR: Final = "10.244.0.0/16"
VIP: Final = "10.96.0.10"
KUBERNETES_VIP: Final = "10.96.0.1"
DOMAIN: Final = "cluster.local"
UNDERLAY_GATEWAY: Final = "172.18.0.1"
UNDERLAY_MTU_BYTES: Final = 1500
POD_MTU_BYTES: Final = UNDERLAY_MTU_BYTES - 50  # outer IPv4, UDP, VXLAN and inner Ethernet headers
SUBNETS: Final = 256  # /24 podCIDRs in the cluster's /16
PLACES_PER_SUBNET: Final = 253  # a /24 without its network, cni0 and broadcast addresses

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,39}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One pod or replica: its place `slot` in its node's subnet gives its address and MAC."""

    name: str
    node: str
    role: Literal["pod", "replica"]
    slot: int


def check(spec: ClusterSpec) -> None:
    """Raise UsageError, naming the field and what was expected, for a spec that cannot be built."""
    check_name(spec.name)
    _between("nodes", spec.nodes, 1, SUBNETS)
    _between("pods-per-node", spec.pods_per_node, 1, PLACES_PER_SUBNET)
    _between("dns-replicas", spec.dns_replicas, 1, SUBNETS * PLACES_PER_SUBNET)
    _one_of("dialect", spec.dialect, tuple(GENERATIONS))
    if spec.family != "ipv4":
        raise UsageError(
            f"family: expected ipv4 (the only one a twin has so far), got {spec.family!r}"
        )
    _between("rp-filter", spec.rp_filter, 0, 2)
    _check_placement(spec)
    fullest = max(_count_by_node(spec).values(), default=0)
    if fullest > PLACES_PER_SUBNET:
        raise UsageError(
            f"pods-per-node, dns-replicas: expected at most {PLACES_PER_SUBNET} pods and replicas"
            f" on one node (its podCIDR is a /24), got {fullest}"
        )


def check_name(name: str) -> None:
    """Raise UsageError for a cluster name that no twin can have."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name: expected 1 to 41 of a-z, 0-9 and '-', no '-' at either end; got {name!r}"
        )


def node_name(index: int) -> str:
    """The name of node `index`."""
    return f"n{index}"


def seats(spec: ClusterSpec) -> tuple[Seat, ...]:
    """Every pod and replica with its place; on each node the pods come first."""
    used: dict[str, int] = {}
    pods = [
        Seat(name=f"{node}-p{i}", node=node, role="pod", slot=_next(used, node))
        for node in map(node_name, range(spec.nodes))
        for i in range(spec.pods_per_node)
    ]
    replicas = [
        Seat(name=f"dns-{i}", node=node, role="replica", slot=_next(used, node))
        for i, node in enumerate(map(node_name, _placement(spec)))
    ]
    return (*pods, *replicas)


def underlay_address(index: int) -> str:
    """The underlay address of node `index`."""
    return f"172.18.{(index + 2) >> 8}.{(index + 2) & 255}"


def underlay_mac(index: int) -> str:
    """The MAC of node `index` on the underlay, made from its address as a container bridge does."""
    return _mac("02:42", underlay_address(index))


def next_subnet(used: Collection[int], last: int) -> int:
    """The subnet number a new node gets: the next free one after the `last` given, as Kubernetes allocates.

    Raises SetupError where all are in use.
    """
    for step in range(1, SUBNETS):
        candidate = (last + step) % SUBNETS
        if candidate not in used:
            return candidate
    raise SetupError(f"no podCIDR is free in {CLUSTER_CIDR}: all {SUBNETS} are in use")


def pod_cidr(subnet: int) -> str:
    """The podCIDR that subnet number `subnet` is."""
    return f"10.244.{subnet}.0/24"


def gateway_address(subnet: int) -> str:
    """The address of `cni0`."""
    return f"10.244.{subnet}.1"


def pod_address(subnet: int, slot: int) -> str:
    """The address of the pod in place `slot` (from 0) of a subnet."""
    return f"10.244.{subnet}.{slot + 2}"


def pod_mac(address: str) -> str:
    """The MAC of a pod's or bridge's device, made from its address as the CNI plugins do."""
    return _mac("0a:58", address)


def _mac(prefix: str, address: str) -> str:
    return ":".join((prefix, *(f"{int(part):02x}" for part in address.split("."))))


def _next(used: dict[str, int], node: str) -> int:
    slot = used.get(node, 0)
    used[node] = slot + 1
    return slot


def _placement(spec: ClusterSpec) -> tuple[int, ...]:
    if spec.replica_nodes is not None:
        return spec.replica_nodes
    return tuple((i + 1) % spec.nodes for i in range(spec.dns_replicas))


def _check_placement(spec: ClusterSpec) -> None:
    if spec.replica_nodes is None:
        return
    if len(spec.replica_nodes) != spec.dns_replicas:
        raise UsageError(
            f"replica-nodes: expected one node for each of {spec.dns_replicas} replicas,"
            f" got {len(spec.replica_nodes)}"
        )
    for index in spec.replica_nodes:
        _between("replica-nodes", index, 0, spec.nodes - 1)


def _count_by_node(spec: ClusterSpec) -> Mapping[int, int]:
    counts = dict.fromkeys(range(spec.nodes), spec.pods_per_node)
    for index in _placement(spec):
        counts[index] += 1
    return counts


def _between(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{field}: expected {low} to {high}, got {value}")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{field}: expected one of {', '.join(allowed)}, got {value!r}")
