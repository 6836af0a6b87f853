"""The underlay loses frames in one direction."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from suites.choosing import edge
from suites.scenario import Breakage, Effect, Occurrence, Scenario


def _edge(inventory: Inventory, rng: Random) -> Mapping[str, str]:
    sender, receiver = edge(inventory, rng)
    return {"victim": receiver, "peers": sender, "direction": "in"}


def _one_way(seen: Occurrence) -> Effect:
    """What peers send to the victim is lost; no table shows it."""
    return Effect(
        causes=frozenset({"one-way-drop"}),
        edges=frozenset((peer, seen.params["victim"]) for peer in seen.peers),
    )


ONE_WAY_DROP: Final = Scenario(
    name="one-way-drop",
    summary="the underlay loses what one node sends to another, and no table shows it",
    breaks=Breakage(fault="underlay-drop", choose=_edge, effect=_one_way),
)
