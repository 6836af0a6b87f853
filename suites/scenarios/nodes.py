"""Nodes come back from a restart, or as new ones, and the cluster heals by itself."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from suites.choosing import any_node
from suites.scenario import Breakage, Effect, Occurrence, Scenario


def _victim(inventory: Inventory, rng: Random) -> Mapping[str, str]:
    return {"victim": any_node(inventory, rng)}


def _heals(_seen: Occurrence) -> Effect:
    """Every agent is alive, so every peer hears of what changed."""
    return Effect()


NODE_RESTART: Final = Scenario(
    name="node-restart",
    summary="a node restarts and is reached again from everywhere",
    breaks=Breakage(fault="node-restart", choose=_victim, effect=_heals),
)

NODE_RECREATE: Final = Scenario(
    name="node-recreate",
    summary="a node is replaced by a new one of its name, with a new podCIDR, and is reached from everywhere",
    breaks=Breakage(fault="node-recreate", choose=_victim, effect=_heals),
)
