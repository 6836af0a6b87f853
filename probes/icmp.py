"""ICMP echo packets in bulk: many requests built, many answers read, in a few numpy operations."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from probes.mmsg import I64, U8
from probes.outcome import Outcome, by_unreachable

ECHO_REQUEST: Final = 8
ECHO_REPLY: Final = 0
UNREACHABLE: Final = 3
TTL_EXCEEDED: Final = 11

ECHO: Final = np.dtype(
    {
        "names": ["type", "code", "checksum", "ident", "seq", "token", "probe"],
        "formats": ["u1", "u1", "<u2", ">u2", ">u2", "<u8", "<u4"],
        "offsets": [0, 1, 2, 4, 6, 8, 16],
        "itemsize": 64,  # 56 bytes of payload, as ping sends
    }
)
_IP: Final = 20  # bytes of an IPv4 header without options, RFC 791
PACKET: Final = _IP + ECHO.itemsize
SLOT: Final = 128  # an answer, or an error that quotes the whole request
_REPLY: Final = np.dtype(
    {
        "names": ["version", "source", "echo"],
        "formats": ["u1", ">u4", ECHO],
        "offsets": [0, 12, _IP],
        "itemsize": SLOT,
    }
)
_ERROR: Final = np.dtype(
    {
        "names": ["type", "code", "version", "destination", "echo"],
        "formats": ["u1", "u1", "u1", ">u4", ECHO],
        "offsets": [_IP, _IP + 1, _IP + 8, _IP + 8 + 16, _IP + 8 + _IP],
        "itemsize": SLOT,
    }
)
_ERROR_BYTES: Final = _IP + 8 + _IP + 20  # up to the probe number in the quoted request


class Answers(NamedTuple):
    """What one batch of received packets says: probes answered, and probes for which an error came back."""

    slots: I64  # where the answers lie in the batch
    probes: I64
    errors: tuple[tuple[int, Outcome], ...]


def fill(payload: U8, probes: I64, *, token: int, ident: int) -> None:
    """Write one echo request per probe into the rows of `payload`, checksums included."""
    echo = payload[: len(probes)].view(ECHO)[:, 0]
    echo["type"] = ECHO_REQUEST
    echo["ident"] = ident
    echo["seq"] = probes & 0xFFFF
    echo["token"] = token
    echo["probe"] = probes
    echo["checksum"] = 0
    echo["checksum"] = checksums(payload[: len(probes)])


def checksums(packets: U8) -> npt.NDArray[np.uint16]:
    """The Internet checksum (RFC 1071) of every row, to be stored in host byte order."""
    total = packets.view(np.uint16).sum(axis=1, dtype=np.uint32)
    total = (total & 0xFFFF) + (total >> 16)
    total += total >> 16
    checksum: npt.NDArray[np.uint16] = (~total).astype(np.uint16)
    return checksum


def read(
    payload: U8,
    lengths: npt.NDArray[np.uint32],
    *,
    token: int,
    ident: int,
    destinations: npt.NDArray[np.uint32],
) -> Answers:
    """The answers and errors among received packets that belong to this wave and socket.

    `destinations` is the address each probe was sent to; an answer from elsewhere is none. Anything else that a
    raw socket sees (other probers' answers, answers to an earlier wave) has another token and is passed over.
    """
    reply = payload[: len(lengths)].view(_REPLY)[:, 0]
    echo = reply["echo"]
    mine = (
        (echo["type"] == ECHO_REPLY)
        & (echo["token"] == token)
        & (echo["ident"] == ident)
        & (reply["version"] == 0x45)
        & (lengths == PACKET)
        & (echo["probe"] < len(destinations))
    )
    slots = np.flatnonzero(mine)
    probes = echo["probe"][slots].astype(np.int64)
    right = reply["source"][slots] == destinations[probes]
    if not right.all():
        slots, probes = slots[right], probes[right]
    if len(slots) == len(lengths):
        return Answers(slots, probes, ())
    return Answers(slots, probes, _errors(payload[: len(lengths)], lengths, token, destinations))


def _errors(
    payload: U8,
    lengths: npt.NDArray[np.uint32],
    token: int,
    destinations: npt.NDArray[np.uint32],
) -> tuple[tuple[int, Outcome], ...]:
    error = payload.view(_ERROR)[:, 0]
    echo = error["echo"]
    mine = (
        ((error["type"] == UNREACHABLE) | (error["type"] == TTL_EXCEEDED))
        & (lengths >= _ERROR_BYTES)
        & (error["version"] == 0x45)
        & (echo["token"] == token)
        & (echo["probe"] < len(destinations))
    )
    found = []
    for slot in np.flatnonzero(mine).tolist():
        probe = int(echo["probe"][slot])
        if error["destination"][slot] == destinations[probe]:
            expired = error["type"][slot] == TTL_EXCEEDED
            code = int(error["code"][slot])
            found.append((probe, Outcome.TTL_EXCEEDED if expired else by_unreachable(code)))
    return tuple(found)
