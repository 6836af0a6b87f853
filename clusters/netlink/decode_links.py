"""Decoding of link dumps: devices with their counters and their own sysctls."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from clusters.netlink import codec
from clusters.netlink.decode import attributes, decoding, ip_text, mac_text, messages
from clusters.netlink.links import (
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_LEARNING,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
)
from clusters.state import Link

_IFLA_STATS64: Final = 23
_IFLA_AF_SPEC: Final = 26
_IFLA_INET_CONF: Final = 1
_AF_INET: Final = 2
_RP_FILTER_AT: Final = 7 * 4  # IPV4_DEVCONF_RP_FILTER is 8; the array starts at 1 (linux/ip.h)
_OTHERHOST_AT: Final = 24 * 8  # rx_otherhost_dropped: last of struct rtnl_link_stats64, since 5.19
_U32: Final = struct.Struct("=I")
_U64: Final = struct.Struct("=Q")
_BE16: Final = struct.Struct(">H")


class ReadLink(NamedTuple):
    """A device with the sysctl of it that decides what is lost; None where the kernel did not say."""

    link: Link
    rp_filter: int | None


def links(buffers: Sequence[bytes]) -> tuple[ReadLink, ...]:
    """Every device of a dump. Raises MalformedMessageError, InterruptedDumpError."""
    raw = []
    with decoding("links"):
        for data in buffers:
            for _, start, end in messages(data):
                _, _, ifindex, flags, _ = codec.IFINFOMSG.unpack_from(data, start)
                raw.append((ifindex, flags, attributes(data, start + 16, end)))
        names = {ifindex: _text(given[IFLA_IFNAME]) for ifindex, _, given in raw}
        return tuple(_read_link(ifindex, flags, given, names) for ifindex, flags, given in raw)


def _read_link(
    ifindex: int, flags: int, given: Mapping[int, bytes], names: Mapping[int, str]
) -> ReadLink:
    master = given.get(IFLA_MASTER)
    received, sent, dropped, otherhost = _counters(given.get(_IFLA_STATS64, b""))
    kind, data = _info(given.get(IFLA_LINKINFO, b""))
    vxlan = _vxlan(data) if kind == "vxlan" else (None, None, None, None)
    link = Link(
        names[ifindex],
        ifindex,
        mac_text(given.get(IFLA_ADDRESS, b"")),
        _U32.unpack(given[IFLA_MTU])[0],
        flags & IFF_UP != 0,
        kind,
        _master(master, names) if master else "",
        received,
        otherhost,
        sent,
        dropped,
        *vxlan,
    )
    return ReadLink(link, _rp_filter(given.get(_IFLA_AF_SPEC, b"")))


def _master(packed: bytes, names: Mapping[int, str]) -> str:
    (ifindex,) = _U32.unpack(packed)
    return names.get(ifindex) or f"if{ifindex}"


def _counters(stats: bytes) -> tuple[int, int, int, int]:
    if not stats:
        return 0, 0, 0, 0
    received, sent = struct.unpack_from("=QQ", stats)
    (dropped,) = _U64.unpack_from(stats, 7 * 8)
    otherhost = _U64.unpack_from(stats, _OTHERHOST_AT)[0] if len(stats) > _OTHERHOST_AT else 0
    return received, sent, dropped, otherhost


def _info(info: bytes) -> tuple[str, bytes]:
    given = attributes(info, 0, len(info))
    return _text(given.get(IFLA_INFO_KIND, b"")), given.get(IFLA_INFO_DATA, b"")


def _vxlan(data: bytes) -> tuple[int | None, int | None, str | None, bool | None]:
    given = attributes(data, 0, len(data))
    vni, port = given.get(IFLA_VXLAN_ID), given.get(IFLA_VXLAN_PORT)
    local = given.get(IFLA_VXLAN_LOCAL) or given.get(IFLA_VXLAN_LOCAL6)
    learning = given.get(IFLA_VXLAN_LEARNING)
    return (
        _U32.unpack(vni)[0] if vni else None,
        _BE16.unpack(port)[0] if port else None,
        ip_text(local) if local else None,
        learning != b"\0" if learning else None,
    )


def _rp_filter(spec: bytes) -> int | None:
    inet = attributes(spec, 0, len(spec)).get(_AF_INET, b"")
    conf = attributes(inet, 0, len(inet)).get(_IFLA_INET_CONF, b"")
    return _U32.unpack_from(conf, _RP_FILTER_AT)[0] if conf else None


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode()
