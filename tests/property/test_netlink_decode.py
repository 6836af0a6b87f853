"""Decoders return entries or raise their own error, whatever the bytes are."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusters.errors import MalformedMessageError, MeasureError
from clusters.flannel import kernel_events
from clusters.netlink import codec, decode, decode_links, nftables
from clusters.netlink import requests as rq
from clusters.netlink.entries import NUD
from clusters.state import Address, Fdb, Neigh, Route

NAMES = {2: "eth0", 5: "flannel.1"}
MAC = "02:aa:00:00:00:01"
DECODERS: dict[str, Callable[[Sequence[bytes]], object]] = {
    "links": decode_links.links,
    "addresses": lambda buffers: decode.addresses(buffers, NAMES),
    "neighbours": lambda buffers: decode.neighbours(buffers, NAMES),
    "fdb": lambda buffers: decode.fdb(buffers, NAMES),
    "routes": lambda buffers: decode.routes(buffers, NAMES),
    "netconf": decode.netconf,
    "misses": lambda buffers: [kernel_events.misses(data, 5) for data in buffers],
    "deleted links": lambda buffers: [kernel_events.deleted_links(data) for data in buffers],
    "nat": nftables.saved,
}


def expression(name: str, *data: bytes) -> bytes:
    """One nftables expression."""
    return codec.nested(1, codec.text(1, name), codec.nested(2, *data))


def be32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in network order."""
    return codec.attribute(kind, struct.pack(">i", value))


def nat_rule(*expressions: bytes) -> bytes:
    """A rule of chain OUTPUT as the kernel dumps it."""
    header = struct.pack(">BBH", 2, 0, 0)
    parts = codec.text(1, "nat"), codec.text(2, "OUTPUT"), codec.nested(4, *expressions)
    return codec.message(10 << 8 | 6, 0, header, *parts)


JUMP = expression(
    "immediate", be32(1, 0), codec.nested(2, codec.nested(2, be32(1, -3), codec.text(2, "X")))
)
DNAT_BLOB = struct.pack("=I4s12x4s12xHH4x", 3, bytes([10, 1, 2, 3]), bytes([10, 1, 2, 3]), 0, 0)
DNAT = expression("target", codec.text(1, "DNAT"), be32(2, 2), codec.attribute(3, DNAT_BLOB))
UDP = expression("match", codec.text(1, "udp"), be32(2, 0), codec.attribute(3, bytes(16)))
GENUINE = (
    rq.veth(
        rq.Device(name="eth0", ifindex=2, mac=MAC, mtu_bytes=1450), rq.Device(name="x", ifindex=3)
    ),
    rq.vxlan(
        rq.Device(name="flannel.1", ifindex=5, mac=MAC, mtu_bytes=1450),
        vni=1,
        port=8472,
        local="10.0.0.1",
        lower=2,
    ),
    rq.add_address(2, "10.0.0.1/24"),
    rq.set_neigh(5, "10.244.1.0", MAC),
    rq.set_fdb(5, MAC, "172.18.0.3"),
    rq.set_route("10.244.1.0/24", ifindex=5, via="10.244.1.0", onlink=True),
    nat_rule(UDP, DNAT),
    nat_rule(JUMP),
)


def survives(buffers: Sequence[bytes]) -> None:
    """Every decoder returns, or raises what it may raise."""
    for name, decoder in DECODERS.items():
        try:
            decoder(buffers)
        except MeasureError:
            continue
        except Exception as exc:  # the one thing that must not happen
            raise AssertionError(f"{name} raised {exc!r}") from exc


@given(st.lists(st.binary(max_size=400), max_size=3))
@example([b"\x10\0\0\0"])
def test_decoders_survive_random_bytes(buffers: Sequence[bytes]) -> None:
    """A reader that dies on odd bytes takes the whole audit with it."""
    survives(buffers)


@given(st.lists(st.sampled_from(GENUINE), min_size=1, max_size=4), st.data())
def test_decoders_survive_truncation_at_any_byte(
    messages: list[bytes], data: st.DataObject
) -> None:
    """The kernel's buffers can be cut by a receive buffer that is too small."""
    whole = b"".join(messages)
    survives([whole])

    survives([whole[: data.draw(st.integers(0, len(whole)))]])


@given(st.sampled_from(GENUINE), st.data())
def test_decoders_survive_a_changed_byte(message: bytes, data: st.DataObject) -> None:
    """Lengths inside a message may lie; the walk must end all the same."""
    at = data.draw(st.integers(0, len(message) - 1))
    changed = bytearray(message)
    changed[at] = data.draw(st.integers(0, 255))

    survives([bytes(changed)])


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_cut_header_is_an_error_and_not_an_empty_table(cut: int) -> None:
    """An empty table would be judged: "all entries missing"."""
    request = rq.set_neigh(5, "10.244.1.0", MAC)
    whole = decode.neighbours([request], NAMES)
    assert len(whole) == 1

    with pytest.raises(MalformedMessageError, match="neighbours"):
        decode.neighbours([request + request[:cut]], NAMES)


def test_an_interrupted_dump_is_an_error_of_its_own() -> None:
    """It is not malformed: dumping again helps."""
    request = bytearray(rq.set_neigh(5, "10.244.1.0", MAC))
    struct.pack_into("=H", request, 6, codec.NLM_F_DUMP_INTR)

    with pytest.raises(decode.InterruptedDumpError):
        decode.neighbours([bytes(request)], NAMES)


@given(
    ip=st.ip_addresses().map(lambda address: decode.ip_text(address.packed)),
    mac=st.binary(min_size=6, max_size=6).map(lambda packed: packed.hex(":")),
    underlay=st.ip_addresses().map(lambda address: decode.ip_text(address.packed)),
)
def test_what_the_builders_write_the_decoders_read(ip: str, mac: str, underlay: str) -> None:
    """Both ends of a repair: what was read as `have` must be what a request would write."""
    assert decode.neighbours([rq.set_neigh(5, ip, mac)], NAMES) == (
        Neigh("flannel.1", ip, mac, "permanent"),
    )
    assert decode.fdb([rq.set_fdb(5, mac, underlay)], NAMES) == (Fdb("flannel.1", mac, underlay),)
    learned = rq.set_fdb(5, mac, underlay, permanent=False)
    assert decode.fdb([learned], NAMES) == (Fdb("flannel.1", mac, underlay, permanent=False),)
    assert decode.addresses([rq.add_address(2, f"{ip}/20")], NAMES) == (
        Address("eth0", f"{ip}/20"),
    )


@pytest.mark.parametrize("ip", ["10.244.1.0", "fd00::1"])
@pytest.mark.parametrize("state", sorted(NUD))
def test_neighbours_are_read_in_every_state(ip: str, state: str) -> None:
    """An unresolved entry has no MAC, and is not the same as an absent one."""
    header = codec.NDMSG.pack(10 if ":" in ip else 2, 5, NUD[state], 0, 0)
    dst = codec.attribute(1, codec.packed_ip(ip)[1])
    unresolved = codec.message(codec.RTM_NEWNEIGH, 0, header, dst, codec.u32(4, 3))

    assert decode.neighbours([unresolved], NAMES) == (Neigh("flannel.1", ip, None, state),)
    resolved = rq.set_neigh(5, ip, MAC, state=state)
    assert decode.neighbours([resolved], NAMES) == (Neigh("flannel.1", ip, MAC, state),)


def test_routes_are_read_with_their_gateway_and_kind() -> None:
    """A blackhole without device, a default route without destination: both are entries."""
    requests = [
        rq.set_route("10.244.1.0/24", ifindex=5, via="10.244.1.0", onlink=True, protocol=7),
        rq.set_route("0.0.0.0/0", ifindex=2, via="172.18.0.1", metric=9),
        rq.set_route("10.9.0.0/16", kind="blackhole"),
        rq.set_route("::/0", ifindex=99, via="fd00::1"),
    ]

    assert decode.routes([b"".join(requests)], NAMES) == (
        Route("10.244.1.0/24", "flannel.1", "10.244.1.0", onlink=True, protocol=7),
        Route("0.0.0.0/0", "eth0", "172.18.0.1", protocol=3, metric=9),
        Route("10.9.0.0/16", kind="blackhole", protocol=3),
        Route("::/0", "if99", "fd00::1", protocol=3),
    )


def test_a_nat_rule_that_is_not_understood_says_so() -> None:
    """A match that is dropped silently would turn "sometimes" into "always"."""
    text = nftables.saved([nat_rule(expression("lookup"), UDP, DNAT), nat_rule(JUMP)])

    assert text.splitlines() == [
        "*nat",
        "-A OUTPUT -m lookup --opaque -m udp --opaque -j DNAT --to-destination 10.1.2.3",
        "-A OUTPUT -j X",
        "COMMIT",
    ]


@pytest.mark.parametrize(
    ("revision", "blob"),
    [
        (0, struct.pack("=II4s4s2s2s", 1, 3, b"\x0a\1\2\3", b"\x0a\1\2\3", b"\0\x35", b"\0\x35")),
        (1, struct.pack("=I4s12x4s12x2s2s", 3, b"\x0a\1\2\3", b"\x0a\1\2\3", b"\0\x35", b"\0\x35")),
        (2, struct.pack("=I4s12x4s12x2s2s4x", 3, b"\x0a\1\2\3", b"\0\0\0\0", b"\0\x35", b"\0\x35")),
    ],
)
def test_every_revision_of_the_dnat_target_gives_its_destination(
    revision: int, blob: bytes
) -> None:
    """A node image is free to carry an iptables that still writes the oldest one."""
    target = codec.text(1, "DNAT"), be32(2, revision), codec.attribute(3, blob)

    text = nftables.saved([nat_rule(expression("target", *target))])

    assert "-A OUTPUT -j DNAT --to-destination 10.1.2.3:53\n" in text
