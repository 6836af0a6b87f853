"""What a flannel agent reads from the kernel's event messages."""

from __future__ import annotations

from clusters.netlink import codec
from clusters.netlink.decode import attributes, decoding, ip_text, messages
from clusters.netlink.entries import NDA_DST, NDA_LLADDR, NUD
from clusters.netlink.links import IFLA_IFNAME

_RESOLVING = NUD["incomplete"] | NUD["stale"] | NUD["delay"] | NUD["probe"]


def misses(data: bytes, ifindex: int) -> tuple[str, ...]:
    """The addresses whose MAC the kernel lacks on that device.

    As flannel's handleMiss: an event that carries a MAC is no miss, nor is one in another state than resolving.
    """
    found = []
    with decoding("neighbour events"):
        for kind, start, end in messages(data):
            if kind not in {codec.RTM_GETNEIGH, codec.RTM_NEWNEIGH}:
                continue
            _, index, state, _, _ = codec.NDMSG.unpack_from(data, start)
            given = attributes(data, start + codec.NDMSG.size, end)
            if index == ifindex and state & _RESOLVING and NDA_LLADDR not in given:
                found.append(ip_text(given[NDA_DST]))
    return tuple(dict.fromkeys(found))


def deleted_links(data: bytes) -> tuple[str, ...]:
    """The names of devices that went away."""
    found = []
    with decoding("link events"):
        for kind, start, end in messages(data):
            if kind == codec.RTM_DELLINK:
                given = attributes(data, start + codec.IFINFOMSG.size, end)
                found.append(given[IFLA_IFNAME].rstrip(b"\0").decode())
    return tuple(found)
