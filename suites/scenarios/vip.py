"""One node cannot use the service address."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from probes.model import Entry
from suites.choosing import any_node
from suites.scenario import Breakage, Effect, Occurrence, Scenario


def _node(inventory: Inventory, rng: Random) -> Mapping[str, str]:
    return {"victim": any_node(inventory, rng)}


def _no_rules(seen: Occurrence) -> Effect:
    victim = seen.params["victim"]
    targets = " ".join(sorted(one.ips[0] for one in seen.after.inventory.replicas))
    return Effect(
        causes=frozenset({"vip-rules-missing"}),
        entries=frozenset({Entry(victim, victim, "vip", "udp", None, targets)}),
        nodes=frozenset({victim}),
        vipless=frozenset({victim}),
    )


VIP_ONLY: Final = Scenario(
    name="vip-only",
    summary="every replica answers, and yet one node's pods cannot use the service address",
    breaks=Breakage(fault="vip-rules-missing", choose=_node, effect=_no_rules),
)
