"""Dump requests: what to ask the kernel for each table."""

from __future__ import annotations

import struct
from typing import Final

from clusters.netlink import codec
from clusters.netlink.entries import RT_TABLE_MAIN
from clusters.netlink.links import IFLA_IFNAME

_RTM_GETNETCONF: Final = 82
_NETCONFA_IFINDEX: Final = 1
_AF_INET: Final = 2

LINKS: Final = codec.message(
    codec.RTM_GETLINK, codec.NLM_F_DUMP, codec.IFINFOMSG.pack(0, 0, 0, 0, 0)
)
ADDRESSES: Final = codec.message(
    codec.RTM_GETADDR, codec.NLM_F_DUMP, codec.IFADDRMSG.pack(0, 0, 0, 0, 0)
)
NEIGHBOURS: Final = codec.message(
    codec.RTM_GETNEIGH, codec.NLM_F_DUMP, codec.NDMSG.pack(0, 0, 0, 0, 0)
)
ROUTES: Final = codec.message(
    codec.RTM_GETROUTE,
    codec.NLM_F_DUMP,
    codec.RTMSG.pack(0, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0),
)
SETTINGS_OF_ALL: Final = codec.message(
    _RTM_GETNETCONF,
    0,
    struct.pack("=Bxxx", _AF_INET),
    codec.attribute(_NETCONFA_IFINDEX, struct.pack("=i", -1)),
)


def fdb_of(ifindex: int) -> bytes:
    """The forwarding entries of one device (the kernel filters, being asked strictly)."""
    body = codec.NDMSG.pack(codec.AF_BRIDGE, ifindex, 0, 0, 0)
    return codec.message(codec.RTM_GETNEIGH, codec.NLM_F_DUMP, body)


def link_named(name: str) -> bytes:
    """One device by name."""
    body = codec.IFINFOMSG.pack(0, 0, 0, 0, 0)
    return codec.message(codec.RTM_GETLINK, 0, body, codec.text(IFLA_IFNAME, name))
