"""The nat table of iptables-nft, read by nfnetlink, as the text that iptables-save prints.

iptables-nft keeps some matches as native nftables expressions (addresses, protocol, ports, marks) and wraps
the others, with all targets, as xtables blobs ("match", "target"). Attribute numbers, network byte order:
linux/netfilter/nf_tables.h, nf_tables_compat.h; blobs, host byte order: xt_tcpudp.h, xt_statistic.h, nf_nat.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from clusters.netlink import codec
from clusters.netlink.decode import attributes, decoding, ip_text, messages

NETLINK_NETFILTER: Final = 12

_GETRULE: Final = 10 << 8 | 7  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE
_RULE_TABLE: Final = 1
_RULE_CHAIN: Final = 2
_RULE_EXPRESSIONS: Final = 4
_VERDICTS: Final = {0: "-j DROP", 1: "-j ACCEPT", -3: "-j", -4: "-g", -5: "-j RETURN"}
_EQUAL, _NOT_EQUAL = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_INTERFACES: Final = {6: "-i", 7: "-o"}
_META_PROTOCOL: Final = 16
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
_ADDRESSES: Final = {12: "-s", 16: "-d"}, {8: "-s", 24: "-d"}  # offset in an IPv4, an IPv6 header
_PORTS: Final = {0: "--sport", 2: "--dport"}
_TCPUDP_DEFAULT: Final = struct.pack("=HHHH", 0, 0xFFFF, 0, 0xFFFF)
_BE16: Final = struct.Struct(">H")
_BE16_TWICE: Final = struct.Struct(">HH")
_BE32: Final = struct.Struct(">I")
_BE32_SIGNED: Final = struct.Struct(">i")


def nat_rules(*, ipv6: bool) -> bytes:
    """The request that dumps the rules of table nat, to a socket of family NETLINK_NETFILTER."""
    header = struct.pack(">BBH", socket.AF_INET6 if ipv6 else socket.AF_INET, 0, 0)
    return codec.message(_GETRULE, codec.NLM_F_DUMP, header, codec.text(_RULE_TABLE, "nat"))


def saved(buffers: Sequence[bytes]) -> str:
    """The rules of a dump as iptables-save prints them, without chain declarations and counters.

    Of what is not decoded (any match other than address, protocol, port, interface, chance) it only says that
    it is there: `-m NAME --opaque`. Raises MalformedMessageError, InterruptedDumpError.
    """
    lines = ["*nat"]
    with decoding("nat rules"):
        for data in buffers:
            for _, start, end in messages(data):
                given = attributes(data, start + 4, end)
                rule = _Rule(ipv6=data[start] == socket.AF_INET6)
                words = rule.words(given.get(_RULE_EXPRESSIONS, b""))
                lines.append(" ".join(["-A", _text(given[_RULE_CHAIN]), *words]))
    return "\n".join([*lines, "COMMIT", ""])


class _Loaded(NamedTuple):
    """What a register holds: bytes of a header, or a property of the packet (`header` 0)."""

    header: int
    at: int  # the offset in that header, or the property's number
    mask: bytes = b""


_BOTH_PORTS: Final = _Loaded(_TRANSPORT_HEADER, 0)  # iptables-nft merges neighbouring comparisons


class _Rule:
    """Decodes one rule, expression by expression, as the kernel would evaluate it."""

    def __init__(self, *, ipv6: bool) -> None:
        self._ipv6 = ipv6
        self._registers: dict[int, _Loaded] = {}

    def words(self, packed: bytes) -> Iterator[str]:
        """The rule's matches and its verdict, in words."""
        for name, given in _expressions(packed):
            match name:
                case "payload":
                    self._load(given, _Loaded(_u32(given[2]), _u32(given[3])))
                case "meta" if 2 in given and 1 in given:
                    self._load(given, _Loaded(0, _u32(given[2])))
                case "bitwise":
                    self._mask(given)
                case "cmp":
                    yield self._compared(given)
                case "immediate":
                    yield _verdict(given[2])
                case "match":
                    yield _match(_text(given[1]), given[3])
                case "target":
                    yield self._target(_text(given[1]), _u32(given[2]), given[3])
                case "counter":
                    pass
                case _:
                    yield _opaque(name)

    def _load(self, given: dict[int, bytes], what: _Loaded) -> None:
        self._registers[_u32(given[1])] = what

    def _mask(self, given: dict[int, bytes]) -> None:
        source, destination = _u32(given[1]), _u32(given[2])
        mask = attributes(given[4], 0, len(given[4]))[1]
        self._registers[destination] = self._registers[source]._replace(mask=mask)

    def _compared(self, given: dict[int, bytes]) -> str:
        value = attributes(given[3], 0, len(given[3]))[1]
        operator = _u32(given[2])
        loaded = self._registers[_u32(given[1])]
        if loaded == _BOTH_PORTS and len(value) == 4 and operator == _EQUAL:
            return "--sport {} --dport {}".format(*_BE16_TWICE.unpack(value))
        words = self._field(loaded, value)
        if words is None or operator not in (_EQUAL, _NOT_EQUAL):
            return _opaque("cmp")
        return words if operator == _EQUAL else f"! {words}"

    def _field(self, loaded: _Loaded, value: bytes) -> str | None:
        if loaded.header == _NETWORK_HEADER and loaded.at in _ADDRESSES[self._ipv6]:
            return f"{_ADDRESSES[self._ipv6][loaded.at]} {self._prefix(value, loaded.mask)}"
        if loaded.mask:
            return None
        if loaded.header == _TRANSPORT_HEADER and loaded.at in _PORTS and len(value) == 2:
            return f"{_PORTS[loaded.at]} {_BE16.unpack(value)[0]}"
        if loaded.header == 0 and loaded.at == _META_PROTOCOL:
            return f"-p {_PROTOCOLS.get(value[0], value[0])}"
        if loaded.header == 0 and loaded.at in _META_INTERFACES:
            wild = "" if value.endswith(b"\0") else "+"
            return f"{_META_INTERFACES[loaded.at]} {_text(value)}{wild}"
        return None

    def _prefix(self, value: bytes, mask: bytes) -> str:
        size = 16 if self._ipv6 else 4
        bits = int.from_bytes(mask).bit_count() if mask else len(value) * 8
        return f"{ip_text(value.ljust(size, bytes(1)))}/{bits}"

    def _target(self, name: str, revision: int, blob: bytes) -> str:
        if name != "DNAT":
            return f"-j {name}"
        # struct nf_nat_ipv4_multi_range_compat at revision 0, nf_nat_range(2) after it
        flags_at, size, port_at = (4, 4, 16) if revision == 0 else (0, 16, 36)
        (flags,) = struct.unpack_from("=I", blob, flags_at)
        address = blob[flags_at + 4 : flags_at + 4 + (size if self._ipv6 else 4)]
        (port,) = _BE16.unpack_from(blob, port_at)
        return f"-j DNAT --to-destination {_endpoint(ip_text(address), port if flags & 2 else 0)}"


def _expressions(packed: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    """The expressions of a list whose elements all have the same attribute number."""
    at = 0
    while at < len(packed):
        length, _ = codec.ATTRIBUTE.unpack_from(packed, at)
        if length < 4 or at + length > len(packed):
            raise ValueError(f"expression length {length} at {at} of {len(packed)}")
        given = attributes(packed, at + 4, at + length)
        data = given.get(2, b"")
        yield _text(given[1]), attributes(data, 0, len(data))
        at += length + 3 & -4


def _verdict(packed: bytes) -> str:
    data = attributes(packed, 0, len(packed))
    if 2 not in data:
        return _opaque("immediate")
    verdict = attributes(data[2], 0, len(data[2]))
    word = _VERDICTS.get(_BE32_SIGNED.unpack(verdict[1])[0])
    if word is None:
        return _opaque("verdict")
    return f"{word} {_text(verdict[2])}" if 2 in verdict else word


def _match(name: str, blob: bytes) -> str:
    if name == "comment":
        return "-m comment"
    if name in ("tcp", "udp"):
        return _ports(name, blob)
    if name == "statistic":
        mode, _, probability = struct.unpack_from("=HHI", blob)
        if mode == 0:
            return f"-m statistic --mode random --probability {probability / 2**31:.11f}"
    return _opaque(name)


def _ports(name: str, blob: bytes) -> str:
    flags_at = 11 if name == "tcp" else 8
    low, high = struct.unpack_from("=HH", blob, 4)
    if any(blob[8 : flags_at + 1]) or blob[:4] != _TCPUDP_DEFAULT[:4]:
        return _opaque(name)
    if (low, high) == (0, 0xFFFF):
        return f"-m {name}"
    return f"-m {name} --dport {low}" if low == high else _opaque(name)


def _opaque(name: str) -> str:
    return f"-m {name} --opaque"


def _endpoint(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _u32(packed: bytes) -> int:
    return int(_BE32.unpack(packed)[0])


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode()
