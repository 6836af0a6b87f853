"""What a holder tells its clients about the cluster, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from clusters.providers.twin.wire import Json
from clusters.state import Lease
from clusters.topology import Inventory, Node, Pod, Replica, Vtep


def inventory_json(inventory: Inventory) -> Json:
    """An inventory without what is read live (the VTEPs' MACs)."""
    return {
        "name": inventory.name,
        "vips": inventory.vips,
        "dialect": inventory.dialect,
        "domain": inventory.domain,
        "nodes": [(n.name, n.underlay, n.pod_cidrs) for n in inventory.nodes],
        "pods": [(p.name, p.node, p.ips) for p in inventory.pods],
        "replicas": [(r.name, r.node, r.ips, r.ready) for r in inventory.replicas],
    }


def inventory_from(value: Json, macs: Mapping[str, str | None]) -> Inventory:
    """The inventory, each node's VTEP with its live MAC from `macs`."""
    raw = cast("dict[str, Any]", value)
    return Inventory(
        provider="twin",
        name=raw["name"],
        vips=tuple(raw["vips"]),
        dialect=raw["dialect"],
        domain=raw["domain"],
        nodes=tuple(
            Node(
                name=name,
                underlay=tuple(underlay),
                pod_cidrs=tuple(cidrs),
                vtep=Vtep(mac=macs.get(name)),
            )
            for name, underlay, cidrs in raw["nodes"]
        ),
        pods=tuple(Pod(name=name, node=node, ips=tuple(ips)) for name, node, ips in raw["pods"]),
        replicas=tuple(
            Replica(name=name, node=node, ips=tuple(ips), ready=ready)
            for name, node, ips, ready in raw["replicas"]
        ),
    )


def leases_json(leases: tuple[Lease, ...]) -> Json:
    """Leases as lists."""
    return [list(lease) for lease in leases]


def leases_from(value: Json) -> tuple[Lease, ...]:
    """Leases back."""
    return tuple(Lease(*fields) for fields in cast("list[list[str]]", value))
