"""Builders of link requests, as bytes for `Netlink.batch`.

Attribute numbers are those of linux/if_link.h. Interfaces of one node can be given explicit indexes
when they are made, so that later requests need no look-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clusters.netlink import codec

IFF_UP: Final = 1

IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_MASTER: Final = 10
IFLA_LINKINFO: Final = 18
IFLA_IFALIAS: Final = 20
IFLA_NET_NS_FD: Final = 28
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_INFO_SLAVE_KIND: Final = 4
IFLA_INFO_SLAVE_DATA: Final = 5

IFLA_VXLAN_ID: Final = 1
IFLA_VXLAN_LINK: Final = 3
IFLA_VXLAN_LOCAL: Final = 4
IFLA_VXLAN_LEARNING: Final = 7
IFLA_VXLAN_PORT: Final = 15
IFLA_VXLAN_LOCAL6: Final = 17

_VETH_INFO_PEER: Final = 1
_IFLA_BR_STP_STATE: Final = 5
_IFLA_BR_MCAST_SNOOPING: Final = 23
_IFLA_BR_NF_CALL_IPTABLES: Final = 36
_IFLA_BRPORT_MODE: Final = 4  # hairpin

_NEW: Final = codec.NLM_F_CREATE | codec.NLM_F_EXCL
_AF_INET6: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is chosen when a device is made; 0 and None leave the choice to the kernel.

    `netns_fd` is a descriptor of the namespace in which it is made (None: the socket's own). `master` is
    the index of a bridge in that same namespace.
    """

    name: str
    ifindex: int = 0
    mac: str | None = None
    mtu_bytes: int | None = None
    netns_fd: int | None = None
    master: int = 0
    up: bool = False

    def body(self) -> bytes:
        """The struct ifinfomsg followed by the attributes that every kind of device takes."""
        flags = IFF_UP if self.up else 0
        parts = [codec.IFINFOMSG.pack(0, 0, self.ifindex, flags, flags)]
        parts.append(codec.text(IFLA_IFNAME, self.name))
        if self.mac is not None:
            parts.append(codec.attribute(IFLA_ADDRESS, codec.packed_mac(self.mac)))
        if self.mtu_bytes is not None:
            parts.append(codec.u32(IFLA_MTU, self.mtu_bytes))
        if self.netns_fd is not None:
            parts.append(codec.u32(IFLA_NET_NS_FD, self.netns_fd))
        if self.master:
            parts.append(codec.u32(IFLA_MASTER, self.master))
        return b"".join(parts)


def veth(near: Device, far: Device) -> bytes:
    """A veth pair. Raises ValueError where `far` asks for what the kernel does not do at creation.

    The far end's index is only obeyed when the near end's is chosen too; the far end cannot be up, nor
    have a master, before both exist (drivers/net/veth.c, veth_newlink): use `set_link` for these.
    """
    if far.up or far.master or (far.ifindex and not near.ifindex):
        raise ValueError(f"the far end {far.name!r} cannot be made so; set it afterwards")
    return _created("veth", near, codec.nested(_VETH_INFO_PEER, far.body()))


def bridge(
    device: Device, *, multicast_snooping: bool = True, nf_call_iptables: bool | None = None
) -> bytes:
    """A bridge without spanning tree.

    Its MTU follows its smallest port, whatever is given here, until `set_link` sets it (net/bridge/br_if.c).
    `nf_call_iptables` needs br_netfilter; None leaves the namespace's own setting.
    """
    data = [
        codec.u32(_IFLA_BR_STP_STATE, 0),
        codec.u8(_IFLA_BR_MCAST_SNOOPING, multicast_snooping),
    ]
    if nf_call_iptables is not None:
        data.append(codec.u8(_IFLA_BR_NF_CALL_IPTABLES, nf_call_iptables))
    return _created("bridge", device, *data)


def vxlan(
    device: Device, *, vni: int, port: int, local: str, lower: int, learning: bool = False
) -> bytes:
    """A VXLAN device that sends from the address `local` through the device with index `lower`.

    The kernel lowers an MTU above the lower device's by the 50 (IPv6: 70) bytes of encapsulation.
    """
    family, packed = codec.packed_ip(local)
    local_kind = IFLA_VXLAN_LOCAL6 if family == _AF_INET6 else IFLA_VXLAN_LOCAL
    return _created(
        "vxlan",
        device,
        codec.u32(IFLA_VXLAN_ID, vni),
        codec.u32(IFLA_VXLAN_LINK, lower),
        codec.attribute(local_kind, packed),
        codec.u8(IFLA_VXLAN_LEARNING, learning),
        codec.be16(IFLA_VXLAN_PORT, port),
    )


def set_link(
    link: int | str,
    *,
    up: bool | None = None,
    mac: str | None = None,
    mtu_bytes: int | None = None,
    master: int | None = None,
    alias: str | None = None,
    netns_fd: int | None = None,
    name: str | None = None,
) -> bytes:
    """Change a device given by index or name; None leaves a property alone, master 0 releases it.

    `name` renames, for which the kernel wants the device's index (and, before 6.2, the device down).
    Raises ValueError for a rename by name.
    """
    parts = []
    if mac is not None:
        parts.append(codec.attribute(IFLA_ADDRESS, codec.packed_mac(mac)))
    if mtu_bytes is not None:
        parts.append(codec.u32(IFLA_MTU, mtu_bytes))
    if master is not None:
        parts.append(codec.u32(IFLA_MASTER, master))
    if alias is not None:
        parts.append(codec.attribute(IFLA_IFALIAS, alias.encode()))
    if netns_fd is not None:
        parts.append(codec.u32(IFLA_NET_NS_FD, netns_fd))
    if name is not None:
        if isinstance(link, str):
            raise ValueError(f"cannot rename {link!r} without its index")
        parts.append(codec.text(IFLA_IFNAME, name))
    flags = 0 if up is None else IFF_UP
    body = _target(link, IFF_UP if up else 0, flags)
    return codec.message(codec.RTM_NEWLINK, 0, body, *parts)


def set_bridge_port(link: int | str, *, hairpin: bool) -> bytes:
    """Change a device that already is a bridge's port."""
    info = codec.nested(
        IFLA_LINKINFO,
        codec.attribute(IFLA_INFO_SLAVE_KIND, b"bridge"),
        codec.nested(IFLA_INFO_SLAVE_DATA, codec.u8(_IFLA_BRPORT_MODE, hairpin)),
    )
    return codec.message(codec.RTM_NEWLINK, 0, _target(link), info)


def del_link(link: int | str) -> bytes:
    """Delete a device given by index or name; the other end of a veth goes with it."""
    return codec.message(codec.RTM_DELLINK, 0, _target(link))


def _created(kind: str, device: Device, *data: bytes) -> bytes:
    info = codec.nested(
        IFLA_LINKINFO,
        codec.attribute(IFLA_INFO_KIND, kind.encode()),
        codec.nested(IFLA_INFO_DATA, *data),
    )
    return codec.message(codec.RTM_NEWLINK, _NEW, device.body(), info)


def _target(link: int | str, flags: int = 0, change: int = 0) -> bytes:
    if isinstance(link, int):
        return codec.IFINFOMSG.pack(0, 0, link, flags, change)
    return codec.IFINFOMSG.pack(0, 0, 0, flags, change) + codec.text(IFLA_IFNAME, link)
