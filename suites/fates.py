"""Which pairs an effect must make fail, may make fail, or must leave alone; pure."""

from __future__ import annotations

from enum import Enum

from clusters.topology import Inventory
from probes.model import VIP, Pair
from suites.scenario import Edge, Effect


class Fate(Enum):
    """What an effect says about one pair."""

    MUST_FAIL = "must fail"
    MAY_FAIL = "may fail"
    MUST_PASS = "must pass"


_NAMED = frozenset({"dns-udp", "dns-tcp"})  # what a silent replica does not answer


def fate(pair: Pair, inventory: Inventory, effect: Effect) -> Fate:
    """What must become of the pair under the effect.

    A VIP pair may fail where some replicas are out of reach (each query draws one), and must where all are.
    """
    src = inventory.place_node(pair.src)
    if pair.dst == VIP:
        return _vip_fate(src, inventory, effect)
    dst = inventory.place_node(pair.dst)
    lost = _lost((src, dst), effect, one_way=pair.protocol == "oneway")
    silent = pair.dst in effect.replicas and pair.protocol in _NAMED
    return Fate.MUST_FAIL if lost or silent else Fate.MUST_PASS


def _lost(edge: Edge, effect: Effect, *, one_way: bool) -> bool:
    src, dst = edge
    return (src, dst) in effect.edges or (not one_way and (dst, src) in effect.edges)


def _vip_fate(src: str, inventory: Inventory, effect: Effect) -> Fate:
    if src in effect.vipless:
        return Fate.MUST_FAIL
    dead = [
        replica.name in effect.replicas or _lost((src, replica.node), effect, one_way=False)
        for replica in inventory.replicas
    ]
    if all(dead):
        return Fate.MUST_FAIL
    return Fate.MAY_FAIL if any(dead) else Fate.MUST_PASS
