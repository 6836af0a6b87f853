"""Which pairs are probed, how often and at which address."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from clusters.dns_names import KUBERNETES_ADDRESS, identity_name, kubernetes_name
from clusters.topology import Inventory, Node, Pod
from probes.model import PROTOCOLS, VIP, Pair

DNS_PORT: Final = 53
VIP_LEAST: Final = 20
VIP_MISS: Final = 1e-3  # chance that fresh-port queries through the VIP never meet one bad replica


class Target(NamedTuple):
    """One pair to probe: where, and how many probes the first burst has."""

    pair: Pair
    address: str
    probes: int


class Exclusion(NamedTuple):
    """A pair that is not probed, and why: classed apart, never a failure."""

    pair: Pair
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a sweep needs beside the cluster handle.

    `known` is the DNS name that every replica answers alike with `known_address`; `identity` the one that each answers
    with its own address, which `replicas` maps to its name.
    """

    targets: tuple[Target, ...]
    excluded: tuple[Exclusion, ...]
    known: str
    known_address: str
    identity: str
    replicas: Mapping[str, str]


def make_plan(
    inventory: Inventory,
    protocols: Iterable[str],
    *,
    count: int = 5,
    full: bool = False,
    seed: int = 0,
    only: Collection[Pair] | None = None,
) -> Plan:
    """The expected pairs of an inventory, from client pods, in a fixed order.

    `count` is the number of probes per pair in the first burst; VIP pairs get at least as many as make it
    improbable (1e-3) that one bad replica is never met. `full` probes one-way between all pods instead of one pod
    per node, chosen by `seed`. `only` keeps just those pairs. Raises ValueError for a protocol that does not exist.
    """
    asked = tuple(protocols)
    if strange := set(asked) - set(PROTOCOLS):
        raise ValueError(f"no such protocol: {', '.join(sorted(strange))}")
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    rng = random.Random(seed)  # noqa: S311 - a choice of pods, not a secret
    ends = _one_per_node(inventory, rng) if not full else _ready(inventory)
    targets: list[Target] = []
    excluded: list[Exclusion] = []
    kept = None if only is None else frozenset(only)
    for protocol in asked:
        for pair, address, reason in _pairs(inventory, protocol, ends):
            if kept is not None and pair not in kept:
                continue
            if reason:
                excluded.append(Exclusion(pair, reason))
            else:
                targets.append(Target(pair, address, _probes(protocol, count, inventory)))
    return Plan(
        targets=tuple(targets),
        excluded=tuple(excluded),
        known=kubernetes_name(inventory.domain),
        known_address=KUBERNETES_ADDRESS,
        identity=identity_name(inventory.domain),
        replicas={ip: replica.name for replica in inventory.replicas for ip in replica.ips},
    )


def vip_probes(replicas: int) -> int:
    """How many fresh-port queries meet every one of so many replicas but with probability `VIP_MISS`."""
    if replicas < 2:
        return VIP_LEAST
    return max(VIP_LEAST, math.ceil(math.log(VIP_MISS) / math.log(1 - 1 / replicas)))


def representatives(inventory: Inventory, seed: int = 0) -> Mapping[str, Pod]:
    """One pod for every node that has one, by node name; a ready replica where there is no client pod."""
    rng = random.Random(seed)  # noqa: S311 - a choice of pods, not a secret
    return {pod.node: pod for pod in _one_per_node(inventory, rng)}


def _probes(protocol: str, count: int, inventory: Inventory) -> int:
    if protocol != "vip":
        return count
    return max(vip_probes(sum(replica.ready for replica in inventory.replicas)), 4 * count)


_Expected = Iterator[tuple[Pair, str, str]]  # pair, address, reason why it is not probed


def _pairs(inventory: Inventory, protocol: str, ends: tuple[Pod, ...]) -> _Expected:
    if protocol in {"vip", "vip-pinned"}:
        for pod in inventory.pods:
            yield Pair(pod.name, VIP, protocol), _ipv4(inventory.vips), _no_ipv4(inventory.vips)
    elif protocol == "oneway":
        yield from _between(ends, ends, protocol)
    elif protocol == "icmp":
        yield from _between(inventory.pods, inventory.pods, protocol)
        yield from _to_replicas(inventory, protocol)
    else:
        yield from _to_replicas(inventory, protocol)


def _to_replicas(inventory: Inventory, protocol: str) -> _Expected:
    for pod in inventory.pods:
        for replica in inventory.replicas:
            reason = _no_ipv4(replica.ips) if replica.ready else "replica not ready"
            yield Pair(pod.name, replica.name, protocol), _ipv4(replica.ips), reason


def _between(sources: Iterable[Pod], destinations: tuple[Pod, ...], protocol: str) -> _Expected:
    ends = [(pod.name, _ipv4(pod.ips), _no_ipv4(pod.ips)) for pod in destinations]
    for source in sources:
        own = source.name
        for name, address, reason in ends:
            if name != own:
                yield Pair(own, name, protocol), address, reason


def _ipv4(addresses: tuple[str, ...]) -> str:
    return next((address for address in addresses if ":" not in address), "")


def _no_ipv4(addresses: tuple[str, ...]) -> str:
    return "" if _ipv4(addresses) else "no IPv4 address"


def _ready(inventory: Inventory) -> tuple[Pod, ...]:
    """Every client pod, and a ready replica of each node that has no client pod."""
    return (*inventory.pods, *_stand_ins(inventory))


def _one_per_node(inventory: Inventory, rng: random.Random) -> tuple[Pod, ...]:
    pods: dict[str, list[Pod]] = {}
    for pod in (*inventory.pods, *_stand_ins(inventory)):
        pods.setdefault(pod.node, []).append(pod)
    nodes: tuple[Node, ...] = inventory.nodes
    return tuple(rng.choice(pods[node.name]) for node in nodes if node.name in pods)


def _stand_ins(inventory: Inventory) -> tuple[Pod, ...]:
    manned = {pod.node for pod in inventory.pods}
    found: dict[str, Pod] = {}
    for replica in inventory.replicas:
        if replica.node not in manned and replica.ready:
            found.setdefault(replica.node, replica)
    return tuple(found.values())
