"""One-way UDP of one wave: sent from one pod, counted where it arrives."""

from __future__ import annotations

import socket
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from probes.burst import BURST, send_burst
from probes.loop import Loop
from probes.mmsg import I64, U8, Inbox, Outbox
from probes.outcome import Outcome
from probes.wave import Wave

DATAGRAM: Final = np.dtype([("token", "<u8"), ("probe", "<u4"), ("zero", "V20")])


@dataclass(slots=True, kw_only=True)
class End:
    """One pod's socket, which sends and receives; `probes` go to `addresses` and `ports`, in their order."""

    sock: socket.socket
    probes: I64
    addresses: npt.NDArray[np.uint32]
    ports: npt.NDArray[np.uint16]
    place: int  # this pod's number
    sent: int = 0


class OneWay:
    """The driver of a wave's one-way pairs."""

    def __init__(self, wave: Wave, ends: list[End], goals: I64, loop: Loop) -> None:
        self._wave = wave
        self._goals = goals
        self._loop = loop
        self._ends = ends
        self._queue = deque(end for end in ends if len(end.probes))
        self._outbox = Outbox(BURST, DATAGRAM.itemsize)
        self._inbox = Inbox(2 * BURST, DATAGRAM.itemsize)
        self._last_ns = 0
        self._mine = np.concatenate([end.probes for end in ends] or [np.zeros(0, np.int64)])
        self._waiting = len(self._mine) > 0
        for end in ends:
            loop.watch(end.sock.fileno(), partial(self._collect, end))

    def launch(self, now_ns: int) -> bool:  # noqa: ARG002
        """One burst from the next pod."""
        if not self._queue:
            return False
        end = self._queue.popleft()
        probes = end.probes[end.sent : end.sent + BURST]
        part = slice(end.sent, end.sent + len(probes))
        fill(self._outbox.payload, probes, token=self._wave.token)
        self._outbox.names["address"][: len(probes)] = end.addresses[part]
        self._outbox.names["port"][: len(probes)] = end.ports[part]
        self._last_ns = send_burst(self._wave, end.sock.fileno(), self._outbox, probes)
        end.sent += len(probes)
        if end.sent < len(end.probes):
            self._queue.append(end)
        return bool(self._queue)

    def expire(self, now_ns: int) -> None:
        """Give up on all when the last datagram has had its time."""
        if self._queue or not self._waiting:
            return
        pending = (self._wave.outcome[self._mine] == Outcome.PENDING).any()
        self._waiting = bool(pending) and now_ns <= self._last_ns + self._wave.timeout_ns

    def due_ns(self) -> int | None:
        """When the last datagram expires."""
        return self._last_ns + self._wave.timeout_ns + 1 if self._waiting else None

    def close(self) -> None:
        """Stop watching; the sockets belong to the sweep."""
        for end in self._ends:
            self._loop.forget(end.sock.fileno())

    def _collect(self, end: End, _events: int) -> None:
        while True:
            count = self._inbox.receive(end.sock.fileno())
            if not count:
                return
            slots, probes = read(
                self._inbox.payload,
                self._inbox.lengths(count),
                token=self._wave.token,
                goals=self._goals,
                place=end.place,
            )
            self._wave.arrived(probes, self._inbox.times_ns(count, time.time_ns())[slots])


def fill(payload: U8, probes: I64, *, token: int) -> None:
    """Write one datagram per probe into the rows of `payload`."""
    rows = payload[: len(probes)].view(DATAGRAM)[:, 0]
    rows["token"] = token
    rows["probe"] = probes


def read(
    payload: U8,
    lengths: npt.NDArray[np.uint32],
    *,
    token: int,
    goals: I64,
    place: int,
) -> tuple[I64, I64]:
    """Slots and probes of the received datagrams that are of this wave and were sent to this place.

    `goals` is the place each probe is to arrive at.
    """
    rows = payload[: len(lengths)].view(DATAGRAM)[:, 0]
    mine = (rows["token"] == token) & (lengths == DATAGRAM.itemsize)
    mine &= rows["probe"] < len(goals)
    slots = np.flatnonzero(mine)
    probes = rows["probe"][slots].astype(np.int64)
    right = goals[probes] == place
    return slots[right], probes[right]
