"""ICMP packets in bulk, against the RFC written out by hand."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes import icmp
from probes.mmsg import U8
from probes.outcome import Outcome

TOKEN = 0xFEDCBA9876543210
IDENT = 0x1234
DESTINATIONS = np.array([0x0A000001, 0x0A000002, 0x0A000003], np.uint32)


class Batch(NamedTuple):
    """Received packets in their slots."""

    payload: U8
    lengths: npt.NDArray[np.uint32]


def checksum(packet: bytes) -> int:
    """RFC 1071, the slow way."""
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(probe: int, token: int = TOKEN, ident: int = IDENT) -> bytes:
    """One echo request."""
    payload = np.zeros((1, icmp.ECHO.itemsize), np.uint8)
    icmp.fill(payload, np.array([probe]), token=token, ident=ident)
    return payload.tobytes()


def ip(source: int, destination: int, body: bytes) -> bytes:
    """An IPv4 packet around an ICMP message."""
    head = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, source, destination)
    return head + body


def reply(
    probe: int, *, source: int | None = None, token: int = TOKEN, ident: int = IDENT
) -> bytes:
    """The echo reply to a probe."""
    came_from = int(DESTINATIONS[probe]) if source is None else source
    return ip(came_from, 0x0A0000FF, b"\x00" + request(probe, token, ident)[1:])


def error(kind: int, code: int, probe: int, *, destination: int | None = None) -> bytes:
    """An ICMP error that quotes the request of a probe."""
    goal = int(DESTINATIONS[probe]) if destination is None else destination
    quoted = ip(0x0A0000FF, goal, request(probe))
    return ip(0x0A0000FE, 0x0A0000FF, struct.pack("!BBHI", kind, code, 0, 0) + quoted)


def batch(*packets: bytes) -> Batch:
    """Packets as recvmmsg leaves them."""
    payload = np.zeros((len(packets), icmp.SLOT), np.uint8)
    for row, packet in zip(payload, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    return Batch(payload, np.array([len(packet) for packet in packets], np.uint32))


def read(*packets: bytes) -> icmp.Answers:
    """Read packets as one batch."""
    payload, lengths = batch(*packets)
    return icmp.read(payload, lengths, token=TOKEN, ident=IDENT, destinations=DESTINATIONS)


def test_requests_are_echo_requests_with_a_right_checksum() -> None:
    """A kernel drops others without a word."""
    for probe in (0, 1, 65_535, 65_536, 1_000_000):
        packet = request(probe)

        kind, code, _sum, ident, seq = struct.unpack("!BBHHH", packet[:8])
        assert (kind, code, ident, seq) == (8, 0, IDENT, probe & 0xFFFF)
        assert checksum(packet) == 0
        assert len(packet) == 64


def test_a_reply_is_taken_for_the_probe_it_answers() -> None:
    """In whatever order replies come."""
    answers = read(reply(2), reply(0))

    assert answers.probes.tolist() == [2, 0]
    assert answers.slots.tolist() == [0, 1]
    assert answers.errors == ()


def test_foreign_and_late_answers_are_none() -> None:
    """Another wave's token, another prober's id, another host's address, another kind: beside a right one."""
    answers = read(
        reply(0, token=TOKEN ^ 1),
        reply(0, ident=IDENT ^ 1),
        reply(0, source=0x0A000002),
        ip(0x0A000001, 0x0A0000FF, request(0)),
        reply(1),
    )

    assert answers.probes.tolist() == [1]
    assert answers.slots.tolist() == [4]


def test_a_probe_number_that_was_never_sent_is_none() -> None:
    """It must not index past the wave."""
    stray = ip(0x0A000001, 0x0A0000FF, b"\x00" + request(3)[1:])

    assert read(stray, reply(0)).probes.tolist() == [0]


def test_a_short_reply_is_none() -> None:
    """What an earlier packet left in the slot is not read as this one's."""
    payload, lengths = batch(reply(0), reply(1))
    lengths[0] = 40

    answers = icmp.read(payload, lengths, token=TOKEN, ident=IDENT, destinations=DESTINATIONS)

    assert answers.probes.tolist() == [1]


def test_errors_are_of_the_probe_they_quote() -> None:
    """Their code says what kind; one about another destination is not ours."""
    answers = read(
        error(3, 0, 0),
        error(3, 1, 1),
        error(3, 13, 2),
        error(11, 0, 0),
        error(3, 1, 0, destination=0x0A000009),
        reply(2),
    )

    assert answers.errors == (
        (0, Outcome.UNREACHABLE_NET),
        (1, Outcome.UNREACHABLE_HOST),
        (2, Outcome.PROHIBITED),
        (0, Outcome.TTL_EXCEEDED),
    )
    assert answers.probes.tolist() == [2]


def test_addresses_are_compared_as_the_kernel_writes_them() -> None:
    """10.0.0.1 is 0x0A000001 in the table of destinations."""
    assert int.from_bytes(socket.inet_aton("10.0.0.1"), "big") == int(DESTINATIONS[0])
