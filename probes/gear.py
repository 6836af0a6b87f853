"""The long-lived sockets of a sweep, each opened once inside its pod's namespace."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from probes.pinned import Pin
from probes.plan import DNS_PORT, Plan
from probes.sockets import datagram_socket, echo_socket, overflowed, query_socket
from probes.vantages import Vantages


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear:
    """Sockets by place, per protocol; `failed` says why a place has none, by (protocol, place)."""

    vantages: Vantages
    echo: Mapping[str, socket.socket]
    oneway: Mapping[str, socket.socket]
    pins: Mapping[str, Pin]
    failed: Mapping[tuple[str, str], str]

    def overflows(self) -> Iterator[tuple[str, str, int]]:
        """(protocol, place, packets dropped) of every socket whose buffer was too small."""
        for protocol, sockets in (("icmp", self.echo), ("oneway", self.oneway)):
            for place, sock in sockets.items():
                if drops := overflowed(sock):
                    yield protocol, place, drops


@contextlib.contextmanager
def opened(plan: Plan, vantages: Vantages, receive_bytes: int) -> Iterator[Gear]:
    """All sockets that the plan needs, closed at the end of the block."""
    places = _places(plan)
    echo, no_echo = vantages.open_each(places["icmp"], lambda: echo_socket(receive_bytes))
    oneway, no_oneway = vantages.open_each(places["oneway"], lambda: _bound(receive_bytes))
    vip = next((t.address for t in plan.targets if t.pair.protocol == "vip-pinned"), "")
    pins, no_pins = vantages.open_each(places["vip-pinned"], lambda: _pin(vip))
    try:
        yield Gear(
            vantages=vantages,
            echo=echo,
            oneway=oneway,
            pins=pins,
            failed={
                (protocol, place): reason
                for protocol, reasons in (
                    ("icmp", no_echo),
                    ("oneway", no_oneway),
                    ("vip-pinned", no_pins),
                )
                for place, reason in reasons.items()
            },
        )
    finally:
        for sock in (*echo.values(), *oneway.values(), *(pin.sock for pin in pins.values())):
            sock.close()


def _places(plan: Plan) -> dict[str, dict[str, None]]:
    """Where a socket is needed, per protocol, in plan order."""
    places: dict[str, dict[str, None]] = {"icmp": {}, "oneway": {}, "vip-pinned": {}}
    for target in plan.targets:
        pair = target.pair
        wanted = places.get(pair.protocol)
        if wanted is None:
            continue
        wanted[pair.src] = None
        if pair.protocol == "oneway":
            wanted[pair.dst] = None
    return places


def _bound(receive_bytes: int) -> socket.socket:
    sock = datagram_socket(receive_bytes)
    sock.bind(("0.0.0.0", 0))  # noqa: S104 - inside a pod's namespace
    return sock


def _pin(address: str) -> Pin:
    ident = random.getrandbits(16)
    return Pin(sock=query_socket(), address=(address, DNS_PORT), next_ident=ident)
