"""Decoding of netlink dumps into the entry values of clusters.state.

Every function takes the buffers of one dump. Whatever the bytes are, it returns or raises
MalformedMessageError; an interrupted dump raises InterruptedDumpError. Message layouts: rtnetlink(7),
linux/if_link.h, linux/neighbour.h, linux/netconf.h.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from clusters.errors import MalformedMessageError, MeasureError
from clusters.netlink import codec
from clusters.netlink.entries import (
    IFA_ADDRESS,
    IFA_LOCAL,
    NDA_DST,
    NDA_LLADDR,
    NTF_SELF,
    NUD,
    ROUTE_KINDS,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PRIORITY,
    RTNH_F_ONLINK,
)
from clusters.state import Address, Fdb, Neigh, Route

_NOARP: Final = NUD["noarp"]
_NUD_NAMES: Final = {value: name for name, value in NUD.items()}
_ROUTE_NAMES: Final = {value: name for name, value in ROUTE_KINDS.items()}

_NLMSG_OVERRUN: Final = 4
_RTA_MULTIPATH: Final = 9
_RTA_VIA: Final = 18
_NETCONFA_IFINDEX: Final = 1
_NETCONFA_FORWARDING: Final = 2
_NETCONFA_RP_FILTER: Final = 3
_NEXTHOP: Final = struct.Struct("=HBBi")  # length, flags, hops, index
_U32: Final = struct.Struct("=I")
_I32: Final = struct.Struct("=i")
_ANYWHERE: Final = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}

Names = Mapping[int, str]  # device names by index, within one namespace


class InterruptedDumpError(MeasureError):
    """The table changed while the kernel was dumping it, so entries may be missing: dump again."""


class Message(NamedTuple):
    """Where the payload of one message lies in its buffer."""

    kind: int
    start: int
    end: int


@contextlib.contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn everything that truncated or odd bytes can cause into MalformedMessageError."""
    try:
        yield
    except (struct.error, LookupError, ValueError, OverflowError) as exc:
        raise MalformedMessageError(f"cannot decode the kernel's {what}: {exc}") from exc


def messages(data: bytes) -> Iterator[Message]:
    """The data messages of one buffer. Raises InterruptedDumpError, ValueError, struct.error."""
    at, size = 0, len(data)
    unpack = codec.HEADER.unpack_from
    while at < size:
        length, kind, flags, _, _ = unpack(data, at)
        if length < 16 or at + length > size:
            raise ValueError(f"message length {length} at {at} of {size}")
        if flags & codec.NLM_F_DUMP_INTR:
            raise InterruptedDumpError("the table kept changing while it was dumped")
        if kind > _NLMSG_OVERRUN:
            yield Message(kind, at + 16, at + length)
        at += length + 3 & -4


def attributes(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """The attributes between two offsets, by kind. Raises ValueError, struct.error."""
    found: dict[int, bytes] = {}
    unpack = codec.ATTRIBUTE.unpack_from
    while at < end:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            raise ValueError(f"attribute length {length} at {at} of {end}")
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += length + 3 & -4
    return found


@functools.lru_cache(maxsize=1 << 16)
def mac_text(packed: bytes) -> str:
    """Lower-case "aa:bb:cc:dd:ee:ff" of any number of bytes."""
    return packed.hex(":")


@functools.lru_cache(maxsize=1 << 16)
def ip_text(packed: bytes) -> str:
    """Text of a packed IPv4 or IPv6 address. Raises ValueError."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed)


def addresses(buffers: Sequence[bytes], names: Names) -> tuple[Address, ...]:
    """Addresses of every device; of a point-to-point address the local end."""
    found = []
    with decoding("addresses"):
        for data in buffers:
            for _, start, end in messages(data):
                _, prefix, _, _, ifindex = codec.IFADDRMSG.unpack_from(data, start)
                given = attributes(data, start + 8, end)
                packed = given.get(IFA_LOCAL) or given[IFA_ADDRESS]
                found.append(Address(_name(names, ifindex), f"{ip_text(packed)}/{prefix}"))
    return tuple(found)


def neighbours(buffers: Sequence[bytes], names: Names) -> tuple[Neigh, ...]:
    """IPv4 and IPv6 neighbour entries; `mac` is None while the kernel has none.

    The entries that the kernel computes from group addresses and for the loopback device, which come and
    go with traffic, are left out; a NOARP entry written by hand is not.
    """
    found = []
    with decoding("neighbours"):
        for data in buffers:
            for _, start, end in messages(data):
                family, ifindex, state, _, _ = codec.NDMSG.unpack_from(data, start)
                if family not in _ANYWHERE:
                    continue
                given = attributes(data, start + 12, end)
                mac = given.get(NDA_LLADDR)
                if state == _NOARP and mac and (mac[0] & 1 or not any(mac)):
                    continue
                found.append(
                    Neigh(
                        _name(names, ifindex),
                        ip_text(given[NDA_DST]),
                        mac_text(mac) if mac else None,
                        _NUD_NAMES.get(state, "none"),
                    )
                )
    return tuple(found)


def fdb(buffers: Sequence[bytes], names: Names) -> tuple[Fdb, ...]:
    """Forwarding entries that VXLAN devices keep themselves; a bridge's entries for its ports are left out."""
    found = []
    with decoding("forwarding entries"):
        for data in buffers:
            for _, start, end in messages(data):
                family, ifindex, state, flags, _ = codec.NDMSG.unpack_from(data, start)
                if family != codec.AF_BRIDGE or not flags & NTF_SELF:
                    continue
                given = attributes(data, start + 12, end)
                if NDA_DST not in given:
                    continue
                found.append(
                    Fdb(
                        _name(names, ifindex),
                        mac_text(given[NDA_LLADDR]),
                        ip_text(given[NDA_DST]),
                        state & NUD["permanent"] != 0,
                    )
                )
    return tuple(found)


def routes(buffers: Sequence[bytes], names: Names) -> tuple[Route, ...]:
    """Routes of the main table."""
    found = []
    with decoding("routes"):
        for data in buffers:
            for _, start, end in messages(data):
                header = codec.RTMSG.unpack_from(data, start)
                if header[4] == RT_TABLE_MAIN and header[0] in _ANYWHERE:
                    found.append(_route(header, attributes(data, start + 12, end), names))
    return tuple(found)


def netconf(buffers: Sequence[bytes]) -> dict[int, tuple[int, int]]:
    """IPv4 (forwarding, rp_filter) by device index; -1 is "all", -2 is "default"."""
    found = {}
    with decoding("device settings"):
        for data in buffers:
            for _, start, end in messages(data):
                given = attributes(data, start + 4, end)
                found[_I32.unpack(given[_NETCONFA_IFINDEX])[0]] = (
                    _I32.unpack(given[_NETCONFA_FORWARDING])[0],
                    _I32.unpack(given[_NETCONFA_RP_FILTER])[0],
                )
    return found


def _name(names: Names, ifindex: int) -> str:
    # A device made between two dumps has no name yet: better a strange name than a lost entry.
    return names.get(ifindex) or f"if{ifindex}"


def _route(header: tuple[int, ...], given: Mapping[int, bytes], names: Names) -> Route:
    family, prefix, _, _, _, protocol, _, kind, flags = header
    dst = given.get(RTA_DST)
    oif = given.get(RTA_OIF)
    metric = given.get(RTA_PRIORITY)
    hops = given.get(_RTA_MULTIPATH)
    return Route(
        f"{ip_text(dst)}/{prefix}" if dst else _ANYWHERE[socket.AddressFamily(family)],
        _name(names, _U32.unpack(oif)[0]) if oif else "",
        _gateway(given),
        flags & RTNH_F_ONLINK != 0,
        _ROUTE_NAMES.get(kind, str(kind)),
        protocol,
        _U32.unpack(metric)[0] if metric else 0,
        tuple(_nexthops(hops, names)) if hops else (),
    )


def _gateway(given: Mapping[int, bytes]) -> str | None:
    if (gateway := given.get(RTA_GATEWAY)) is not None:
        return ip_text(gateway)
    via = given.get(_RTA_VIA)  # an IPv6 gateway of an IPv4 route: family (2 bytes), address
    return ip_text(via[2:]) if via is not None else None


def _nexthops(data: bytes, names: Names) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(data):
        length, _, _, ifindex = _NEXTHOP.unpack_from(data, at)
        if length < 8 or at + length > len(data):
            raise ValueError(f"next hop length {length} at {at} of {len(data)}")
        yield _gateway(attributes(data, at + 8, at + length)) or "", _name(names, ifindex)
        at += length + 3 & -4
