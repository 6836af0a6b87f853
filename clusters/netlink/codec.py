"""The wire form of netlink: headers, attributes, addresses (linux/netlink.h, linux/rtnetlink.h)."""

from __future__ import annotations

import socket
import struct
from typing import Final

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

NLM_F_REQUEST: Final = 0x01
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800

NLA_F_NESTED: Final = 0x8000

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29
RTM_GETNEIGH: Final = 30

AF_BRIDGE: Final = 7

HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
ATTRIBUTE: Final = struct.Struct("=HH")  # length, kind
IFINFOMSG: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change mask
IFADDRMSG: Final = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
NDMSG: Final = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
RTMSG: Final = struct.Struct("=BBBBBBBBI")
# family, destination length, source length, tos, table, protocol, scope, type, flags

_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(len(payload) + 4, kind) + payload + _PADDING[len(payload) & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """One attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in host order."""
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """An attribute of two bytes in network order, as ports are."""
    return attribute(kind, struct.pack(">H", value))


def text(kind: int, value: str) -> bytes:
    """An attribute holding a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, body: bytes, *attributes: bytes) -> bytes:
    """A whole request with sequence number 0; the socket numbers it when it is sent."""
    payload = b"".join((body, *attributes))
    return HEADER.pack(len(payload) + 16, kind, flags | NLM_F_REQUEST, 0, 0) + payload


def packed_mac(mac: str) -> bytes:
    """Six bytes of "aa:bb:cc:dd:ee:ff". Raises ValueError."""
    packed = bytes.fromhex(mac.replace(":", ""))
    if len(packed) != 6 or mac.count(":") != 5:
        raise ValueError(f"not a MAC address: {mac!r}")
    return packed


def packed_ip(address: str) -> tuple[int, bytes]:
    """Address family and bytes of an IPv4 or IPv6 address. Raises ValueError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return family, socket.inet_pton(family, address)
    except OSError:
        raise ValueError(f"not an IP address: {address!r}") from None


def packed_cidr(cidr: str) -> tuple[int, bytes, int]:
    """Family, bytes and prefix length of "10.0.0.0/8"; without a slash, of one host. Raises ValueError."""
    address, slash, length = cidr.partition("/")
    family, packed = packed_ip(address)
    bits = len(packed) * 8
    prefix = int(length) if slash else bits
    if not 0 <= prefix <= bits:
        raise ValueError(f"prefix length out of range: {cidr!r}")
    return family, packed, prefix
