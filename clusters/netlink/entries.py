"""Builders of address, neighbour, FDB, route requests, as bytes for `Netlink.batch`.

Attribute numbers are those of linux/if_addr.h, linux/neighbour.h and linux/rtnetlink.h. Every `set_*`
creates or replaces; with `exclusive` the kernel answers EEXIST where an entry exists. Every `del_*`
removes exactly what it names and is answered ENOENT (ESRCH for routes, EADDRNOTAVAIL for addresses)
where that does not exist; `del_fdb` says where the kernel is less clear. All raise ValueError on text that is no address.
"""

from __future__ import annotations

from typing import Final

from clusters.netlink import codec

IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
_IFA_F_NODAD: Final = 0x02
_AF_INET6: Final = 10

NDA_DST: Final = 1
NDA_LLADDR: Final = 2
NTF_SELF: Final = 0x02

NUD: Final = {
    "incomplete": 0x01,
    "reachable": 0x02,
    "stale": 0x04,
    "delay": 0x08,
    "probe": 0x10,
    "failed": 0x20,
    "noarp": 0x40,
    "permanent": 0x80,
}

RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RT_TABLE_MAIN: Final = 254
RTNH_F_ONLINK: Final = 4
RTPROT_BOOT: Final = 3
_SCOPE_UNIVERSE: Final = 0
_SCOPE_LINK: Final = 253
_SCOPE_NOWHERE: Final = 255

ROUTE_KINDS: Final = {
    "unicast": 1,
    "local": 2,
    "broadcast": 3,
    "anycast": 4,
    "multicast": 5,
    "blackhole": 6,
    "unreachable": 7,
    "prohibit": 8,
    "throw": 9,
}


def add_address(ifindex: int, cidr: str) -> bytes:
    """Add "10.244.0.1/24" to a device. IPv6 addresses are usable at once (no duplicate detection)."""
    return codec.message(codec.RTM_NEWADDR, _EXCLUSIVE, *_address(ifindex, cidr))


def del_address(ifindex: int, cidr: str) -> bytes:
    """Remove an address from a device."""
    return codec.message(codec.RTM_DELADDR, 0, *_address(ifindex, cidr))


def set_neigh(
    ifindex: int, ip: str, mac: str, *, state: str = "permanent", exclusive: bool = False
) -> bytes:
    """Write a neighbour entry; `state` is a key of NUD (KeyError otherwise)."""
    body, dst = _neighbour(ifindex, ip, NUD[state])
    return codec.message(
        codec.RTM_NEWNEIGH,
        _EXCLUSIVE if exclusive else _REPLACE,
        body,
        dst,
        codec.attribute(NDA_LLADDR, codec.packed_mac(mac)),
    )


def del_neigh(ifindex: int, ip: str) -> bytes:
    """Remove a neighbour entry, whatever MAC it holds."""
    return codec.message(codec.RTM_DELNEIGH, 0, *_neighbour(ifindex, ip, 0))


def set_fdb(
    ifindex: int, mac: str, dst: str, *, permanent: bool = True, exclusive: bool = False
) -> bytes:
    """Write a VXLAN forwarding entry: frames for `mac` go to the underlay address `dst`."""
    flags = _EXCLUSIVE if exclusive else _REPLACE
    return codec.message(codec.RTM_NEWNEIGH, flags, *_fdb(ifindex, mac, dst, permanent=permanent))


def append_fdb(ifindex: int, mac: str, dst: str, *, permanent: bool = True) -> bytes:
    """As `bridge fdb append`: write a VXLAN forwarding entry where the MAC has none.

    Only the all-zero MAC and group MACs take a second destination. Of a unicast MAC that has an entry the
    kernel changes nothing, yet answers 0 (vxlan_fdb_update_existing; measured on 6.18): read back.
    """
    return codec.message(codec.RTM_NEWNEIGH, _APPEND, *_fdb(ifindex, mac, dst, permanent=permanent))


def del_fdb(ifindex: int, mac: str, dst: str | None = None) -> bytes:
    """Remove a MAC from a VXLAN device.

    With `dst` the kernel removes the entry only if it points there; where it points elsewhere it changes
    nothing, yet answers 0 (measured on 6.18): read back.
    """
    return codec.message(codec.RTM_DELNEIGH, 0, *_fdb(ifindex, mac, dst, permanent=True))


def set_route(
    cidr: str,
    *,
    ifindex: int = 0,
    via: str | None = None,
    onlink: bool = False,
    kind: str = "unicast",
    protocol: int = RTPROT_BOOT,
    metric: int = 0,
    exclusive: bool = False,
) -> bytes:
    """Write a route of the main table; `cidr` "0.0.0.0/0" is the default route, `kind` a key of ROUTE_KINDS.

    As with `ip route`, a route without a gateway has link scope.
    """
    scope = _SCOPE_LINK if via is None and kind == "unicast" else _SCOPE_UNIVERSE
    header, attributes = _route(cidr, ifindex, via, metric)
    body = codec.RTMSG.pack(
        *header, protocol, scope, ROUTE_KINDS[kind], RTNH_F_ONLINK if onlink else 0
    )
    flags = _EXCLUSIVE if exclusive else _REPLACE
    return codec.message(codec.RTM_NEWROUTE, flags, body, *attributes)


def del_route(cidr: str, *, ifindex: int = 0, via: str | None = None, metric: int = 0) -> bytes:
    """Remove a route of the main table, of any kind; a gateway or device that is given must match."""
    header, attributes = _route(cidr, ifindex, via, metric)
    body = codec.RTMSG.pack(*header, 0, _SCOPE_NOWHERE, 0, 0)
    return codec.message(codec.RTM_DELROUTE, 0, body, *attributes)


_EXCLUSIVE: Final = codec.NLM_F_CREATE | codec.NLM_F_EXCL
_REPLACE: Final = codec.NLM_F_CREATE | codec.NLM_F_REPLACE
_APPEND: Final = codec.NLM_F_CREATE | codec.NLM_F_APPEND


def _address(ifindex: int, cidr: str) -> tuple[bytes, bytes, bytes]:
    family, packed, prefix = codec.packed_cidr(cidr)
    flags = _IFA_F_NODAD if family == _AF_INET6 else 0
    return (
        codec.IFADDRMSG.pack(family, prefix, flags, _SCOPE_UNIVERSE, ifindex),
        codec.attribute(IFA_LOCAL, packed),
        codec.attribute(IFA_ADDRESS, packed),
    )


def _neighbour(ifindex: int, ip: str, state: int) -> tuple[bytes, bytes]:
    family, packed = codec.packed_ip(ip)
    return codec.NDMSG.pack(family, ifindex, state, 0, 0), codec.attribute(NDA_DST, packed)


def _fdb(ifindex: int, mac: str, dst: str | None, *, permanent: bool) -> tuple[bytes, ...]:
    state = NUD["permanent" if permanent else "reachable"]
    parts = (
        codec.NDMSG.pack(codec.AF_BRIDGE, ifindex, state, NTF_SELF, 0),
        codec.attribute(NDA_LLADDR, codec.packed_mac(mac)),
    )
    return parts if dst is None else (*parts, codec.attribute(NDA_DST, codec.packed_ip(dst)[1]))


def _route(
    cidr: str, ifindex: int, via: str | None, metric: int
) -> tuple[tuple[int, int, int, int, int], list[bytes]]:
    family, packed, prefix = codec.packed_cidr(cidr)
    parts = [codec.attribute(RTA_DST, packed)] if prefix else []
    if via is not None:
        parts.append(codec.attribute(RTA_GATEWAY, codec.packed_ip(via)[1]))
    if ifindex:
        parts.append(codec.u32(RTA_OIF, ifindex))
    if metric:
        parts.append(codec.u32(RTA_PRIORITY, metric))
    return (family, prefix, 0, 0, RT_TABLE_MAIN), parts
