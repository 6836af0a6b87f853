"""Frozen values that describe a cluster as it should be: nodes, pods, replicas, VIP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T", "Node", "Pod", "Replica")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vtep:
    """The overlay device a node should have. `mac` is the live one, None where the device is absent."""

    device: str = "flannel.1"
    mac: str | None = None
    vni: int = 1
    port: int = 8472


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node; first address of each list is IPv4 where there is one."""

    name: str
    underlay: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    vtep: Vtep = field(default_factory=Vtep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One client pod, wanted by the inventory whether or not it was found running."""

    name: str
    node: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica(Pod):
    """One DNS server pod. `ready` is what the API says (endpoint ready), not what was measured."""

    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a cluster should consist of. Rows and columns of every matrix come from here, never from what answered."""

    provider: str
    name: str
    vips: tuple[str, ...]
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    replicas: tuple[Replica, ...]
    dialect: str = "static"
    domain: str = "cluster.local"
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)

    @property
    def vip(self) -> str:
        """The first service address."""
        return self.vips[0]

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        return _by_name(self.nodes, name)

    def place_node(self, place: str) -> str:
        """The node on which a pod or replica sits. Raises KeyError."""
        for pod in (*self.pods, *self.replicas):
            if pod.name == place:
                return pod.node
        raise KeyError(place)


def _by_name(items: tuple[_T, ...], name: str) -> _T:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)
