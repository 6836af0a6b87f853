"""Whatever a raw socket sees, only right answers count."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes import icmp, oneway

TOKEN = 0x0123456789ABCDEF
DESTINATIONS = np.array([0x0A000001, 0x0A000002], np.uint32)
NOISE = st.lists(st.binary(min_size=icmp.SLOT, max_size=icmp.SLOT), min_size=1, max_size=8)


@given(NOISE, st.integers(0, icmp.SLOT))
def test_noise_answers_nothing(rows: list[bytes], length: int) -> None:
    """It lacks the token; it must not raise either."""
    payload = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), icmp.SLOT)
    lengths = np.full(len(rows), length, np.uint32)

    answers = icmp.read(payload, lengths, token=TOKEN, ident=1, destinations=DESTINATIONS)

    assert (len(answers.probes), answers.errors) == (0, ())


@given(st.integers(0, 2**32 - 1), st.integers(0, 0xFFFF), st.integers(0, 2**64 - 1))
def test_every_checksum_is_right(probe: int, ident: int, token: int) -> None:
    """The sum over a packet with its checksum is zero in ones' complement (RFC 1071)."""
    payload = np.zeros((1, icmp.ECHO.itemsize), np.uint8)

    icmp.fill(payload, np.array([probe]), token=token, ident=ident)

    total = int(payload.view(">u2").sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20), st.integers(0, 2**64 - 1))
def test_datagrams_count_where_they_are_expected_only(probes: list[int], token: int) -> None:
    """Of this wave, and at the right pod."""
    payload = np.zeros((len(probes), oneway.DATAGRAM.itemsize), np.uint8)
    oneway.fill(payload, np.array(probes), token=token)
    lengths = np.full(len(probes), oneway.DATAGRAM.itemsize, np.uint32)
    goals = np.arange(50) % 2  # probes 50 and up do not exist in this wave

    here = oneway.read(payload, lengths, token=token, goals=goals, place=1)[1].tolist()
    late = oneway.read(payload, lengths, token=token ^ 1, goals=goals, place=1)[1].tolist()

    assert here == [probe for probe in probes if probe < 50 and probe % 2]
    assert late == []
