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
from typing import Final

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
_PERMANENT: Final = NUD["permanent"]
_NUD_NAMES: Final = {value: name for name, value in NUD.items()}
_ROUTE_NAMES: Final = {value: name for name, value in ROUTE_KINDS.items()}

_NLMSG_OVERRUN: Final = 4
_RTA_MULTIPATH: Final = 9
_RTA_TABLE: Final = 15
_RTA_VIA: Final = 18
_NETCONFA_IFINDEX: Final = 1
_NETCONFA_FORWARDING: Final = 2
_NETCONFA_RP_FILTER: Final = 3
_NEXTHOP: Final = struct.Struct("=HBBi")  # length, flags, hops, index
_U32: Final = struct.Struct("=I")
_I32: Final = struct.Struct("=i")
_ANYWHERE: Final = {int(socket.AF_INET): "0.0.0.0/0", int(socket.AF_INET6): "::/0"}

# What nearly all entries of a node look like, with attributes in the order in which the kernel writes them.
# One unpack of that shape instead of a walk over the attributes halves the time of an audit; whatever has
# another shape is walked.
_IPV4_NEIGH: Final = struct.Struct("=BxxxiHxxHH4sHH6s")
_IPV4_NEIGH_SHAPE: Final = (8, NDA_DST, 10, NDA_LLADDR)
_IPV4_FDB: Final = struct.Struct("=BxxxiHBxHH6sxxHH4s")
_IPV4_FDB_SHAPE: Final = (10, NDA_LLADDR, 8, NDA_DST)
_IPV4_ROUTE: Final = struct.Struct("=BBBBBBBBIHHxxxxHH4sHH4sHHI")
_IPV4_MAIN_UNICAST: Final = (int(socket.AF_INET), RT_TABLE_MAIN, ROUTE_KINDS["unicast"])
_IPV4_ROUTE_SHAPE: Final = (8, _RTA_TABLE, 8, RTA_DST, 8, RTA_GATEWAY, 8, RTA_OIF)

Names = Mapping[int, str]  # device names by index, within one namespace


class InterruptedDumpError(MeasureError):
    """The table changed while the kernel was dumping it, so entries may be missing: dump again."""


@contextlib.contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn everything that truncated or odd bytes can cause into MalformedMessageError."""
    try:
        yield
    except (struct.error, LookupError, ValueError, OverflowError) as exc:
        raise MalformedMessageError(f"cannot decode the kernel's {what}: {exc}") from exc


def messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of the payload of every data message in one buffer.

    Raises InterruptedDumpError, ValueError, struct.error.
    """
    at, size = 0, len(data)
    unpack = codec.HEADER.unpack_from
    while at < size:
        length, kind, flags, _, _ = unpack(data, at)
        if length < 16 or at + length > size:
            raise ValueError(f"message length {length} at {at} of {size}")
        if flags & codec.NLM_F_DUMP_INTR:
            raise InterruptedDumpError("the table kept changing while it was dumped")
        if kind > _NLMSG_OVERRUN:
            yield kind, at + 16, at + length
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
                family, ifindex, state, dst, mac = _neighbour(data, start, end)
                if family not in _ANYWHERE:
                    continue
                if state == _NOARP and mac and (mac[0] & 1 or not any(mac)):
                    continue
                device = names.get(ifindex) or f"if{ifindex}"
                text = mac_text(mac) if mac else None
                found.append(Neigh(device, ip_text(dst), text, _NUD_NAMES.get(state, "none")))
    return tuple(found)


def fdb(buffers: Sequence[bytes], names: Names) -> tuple[Fdb, ...]:
    """Forwarding entries that VXLAN devices keep themselves; a bridge's entries for its ports are left out."""
    found = []
    with decoding("forwarding entries"):
        for data in buffers:
            for _, start, end in messages(data):
                family, ifindex, state, flags, mac, dst = _forwarding(data, start, end)
                if family != codec.AF_BRIDGE or not flags & NTF_SELF or not dst:
                    continue
                device = names.get(ifindex) or f"if{ifindex}"
                found.append(Fdb(device, mac_text(mac), ip_text(dst), state & _PERMANENT != 0))
    return tuple(found)


def routes(buffers: Sequence[bytes], names: Names) -> tuple[Route, ...]:
    """Routes of the main table."""
    found = []
    with decoding("routes"):
        for data in buffers:
            for _, start, end in messages(data):
                route = _plain_route(data, start, end, names) or _route(data, start, end, names)
                if route:
                    found.append(route)
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


def _neighbour(data: bytes, start: int, end: int) -> tuple[int, int, int, bytes, bytes | None]:
    """Family, device index, state, address, MAC."""
    if end - start >= _IPV4_NEIGH.size:
        family, ifindex, state, a, b, dst, c, d, mac = _IPV4_NEIGH.unpack_from(data, start)
        if (a, b, c, d) == _IPV4_NEIGH_SHAPE:
            return family, ifindex, state, dst, mac
    family, ifindex, state, _, _ = codec.NDMSG.unpack_from(data, start)
    given = attributes(data, start + 12, end)
    return family, ifindex, state, given.get(NDA_DST, b""), given.get(NDA_LLADDR)


def _forwarding(data: bytes, start: int, end: int) -> tuple[int, int, int, int, bytes, bytes]:
    """Family, device index, state, flags, MAC, destination."""
    if end - start >= _IPV4_FDB.size:
        family, ifindex, state, flags, a, b, mac, c, d, dst = _IPV4_FDB.unpack_from(data, start)
        if (a, b, c, d) == _IPV4_FDB_SHAPE:
            return family, ifindex, state, flags, mac, dst
    family, ifindex, state, flags, _ = codec.NDMSG.unpack_from(data, start)
    given = attributes(data, start + 12, end)
    return family, ifindex, state, flags, given.get(NDA_LLADDR, b""), given.get(NDA_DST, b"")


def _plain_route(data: bytes, start: int, end: int, names: Names) -> Route | None:
    """A unicast IPv4 route with one gateway and nothing else, None where it is not that."""
    if end - start != _IPV4_ROUTE.size:
        return None
    header = _IPV4_ROUTE.unpack_from(data, start)
    family, prefix, _, _, table, protocol, _, kind, flags, a, b, c, d, dst, e, f, via, g, h, oif = (
        header
    )
    if (a, b, c, d, e, f, g, h) != _IPV4_ROUTE_SHAPE or (family, table, kind) != _IPV4_MAIN_UNICAST:
        return None
    onlink = flags & RTNH_F_ONLINK != 0
    device = names.get(oif) or f"if{oif}"
    return Route(f"{ip_text(dst)}/{prefix}", device, ip_text(via), onlink, "unicast", protocol)


def _route(data: bytes, start: int, end: int, names: Names) -> Route | None:
    """Any route of the main table, None for one of another table."""
    family, prefix, _, _, table, protocol, _, kind, flags = codec.RTMSG.unpack_from(data, start)
    if table != RT_TABLE_MAIN or family not in _ANYWHERE:
        return None
    given = attributes(data, start + 12, end)
    dst = given.get(RTA_DST)
    oif = given.get(RTA_OIF)
    metric = given.get(RTA_PRIORITY)
    hops = given.get(_RTA_MULTIPATH)
    return Route(
        f"{ip_text(dst)}/{prefix}" if dst else _ANYWHERE[family],
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
