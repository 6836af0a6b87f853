"""What the kernel's own counters say about the frames that a cause loses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from probes.judge.scene import Scene
from probes.predict import Leg

_OTHERHOST = "rx_otherhost"
_DROPPED = "tx_dropped"


def evidence(scene: Scene, legs: Iterable[Leg]) -> tuple[str, ...]:
    """One line per counter that grew during the sweep where a leg's packets end."""
    lines = (line for leg in legs for line in _of_leg(scene, leg))
    return tuple(dict.fromkeys(lines))


def _of_leg(scene: Scene, leg: Leg) -> Iterator[str]:
    own = scene.owner(leg.path[-1])
    if own is None:
        return
    node, grown = own.node, 0
    match leg.reason:
        case "otherhost":
            grown = scene.grown(node, _OTHERHOST, own.device)
            text = f"{node}'s {own.device} took {grown} frames for another MAC (otherhost)"
        case "fdb-missing" | "neigh-missing":
            grown = scene.grown(node, _DROPPED, own.device)
            text = f"{node}'s {own.device} dropped {grown} frames before sending (tx dropped)"
        case "rp-filter":
            grown = scene.grown(node, "TcpExtIPReversePathFilter")
            text = f"{node} refused {grown} packets by their source (IPReversePathFilter)"
        case "no-vtep":
            grown = scene.grown(node, "UdpNoPorts")
            text = f"{node} had no socket for {grown} datagrams (UdpNoPorts)"
        case "not-forwarding":
            grown = scene.grown(node, "IpInAddrErrors")
            text = f"{node} would not forward {grown} packets (IpInAddrErrors)"
        case _:
            return
    if grown:
        yield f"{text} during the sweep"
