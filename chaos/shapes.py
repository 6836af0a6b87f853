"""Small pure choices that several faults share: MACs, directions."""

from __future__ import annotations

import random
from collections.abc import Collection


def new_mac(rng: random.Random, taken: Collection[str | None]) -> str:
    """A MAC that nobody has, drawn as flanneld draws one: random, locally administered, unicast."""
    while True:
        octets = bytearray(rng.randbytes(6))
        octets[0] = octets[0] & 0xFE | 0x02
        mac = octets.hex(":")
        if mac not in taken:
            return mac


def directed(victim: str, peers: Collection[str], direction: str) -> tuple[tuple[str, str], ...]:
    """The node pairs (from, to) that a direction means, seen from the victim: "in", "out" or "both"."""
    towards = tuple((peer, victim) for peer in peers)
    away = tuple((victim, peer) for peer in peers)
    return {"in": towards, "out": away, "both": towards + away}[direction]
