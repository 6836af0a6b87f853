"""Kernel events that a CNI agent reacts to: a device that went away, an address without neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clusters.netlink import codec
from clusters.netlink.decode import attributes, decoding, ip_text, messages
from clusters.netlink.entries import NDA_DST
from clusters.netlink.links import IFLA_IFNAME


class LinkGone(NamedTuple):
    """A device was deleted (RTM_DELLINK); heard by sockets opened with GROUP_LINK."""

    ifindex: int
    name: str


class NeighbourMissed(NamedTuple):
    """The kernel asks user space for a neighbour (RTM_GETNEIGH, where app_solicit > 0); GROUP_NEIGH."""

    ifindex: int
    ip: str


def events(data: bytes) -> Iterator[LinkGone | NeighbourMissed]:
    """The events in one received buffer; all other messages are passed over. Raises MalformedMessageError."""
    with decoding("events"):
        for kind, start, end in messages(data):
            if kind == codec.RTM_DELLINK:
                family, _, ifindex, _, _ = codec.IFINFOMSG.unpack_from(data, start)
                name = attributes(data, start + 16, end)[IFLA_IFNAME]
                if family != codec.AF_BRIDGE:  # a port left its bridge; the device is still there
                    yield LinkGone(ifindex, name.rstrip(b"\0").decode())
            elif kind == codec.RTM_GETNEIGH:
                _, ifindex, _, _, _ = codec.NDMSG.unpack_from(data, start)
                dst = attributes(data, start + 12, end).get(NDA_DST)
                if dst is not None:
                    yield NeighbourMissed(ifindex, ip_text(dst))
