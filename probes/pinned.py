"""VIP queries that all leave by one socket per pod, so that conntrack pins them to one replica."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from probes.loop import Loop
from probes.outcome import Outcome
from probes.queries import ANSWER_BYTES, Asked, received_ns
from probes.wave import Wave


@dataclass(slots=True, kw_only=True)
class Pin:
    """One pod's socket, kept for the whole sweep. Ids count up, so that no late answer is taken for another."""

    sock: socket.SocketType
    address: tuple[str, int]
    next_ident: int
    connected: bool = False
    asked: dict[int, Asked] = field(default_factory=dict)


class Pinned:
    """The driver of a wave's pinned-port queries."""

    def __init__(
        self, wave: Wave, work: Mapping[str, list[Asked]], loop: Loop, pins: Mapping[str, Pin]
    ) -> None:
        self._wave = wave
        self._loop = loop
        self._work = {place: list(asked) for place, asked in work.items()}
        self._pins = {place: pins[place] for place in work}
        self._last_ns = 0
        for pin in self._pins.values():
            pin.asked.clear()
            loop.watch(pin.sock.fileno(), partial(self._ready, pin))

    def launch(self, now_ns: int) -> bool:  # noqa: ARG002
        """All queries of the next pod: they are few, and there is one pod's worth at a time."""
        if not self._work:
            return False
        place, asked = self._work.popitem()
        for one in asked:
            self._ask(self._pins[place], one)
        return bool(self._work)

    def expire(self, now_ns: int) -> None:
        """Give up on all when the last query has had its time."""
        if now_ns > self._last_ns + self._wave.timeout_ns and not self._work:
            for pin in self._pins.values():
                pin.asked.clear()

    def due_ns(self) -> int | None:
        """When the last query expires."""
        if any(pin.asked for pin in self._pins.values()):
            return self._last_ns + self._wave.timeout_ns + 1
        return None

    def close(self) -> None:
        """Stop watching; the sockets belong to the sweep."""
        for pin in self._pins.values():
            self._loop.forget(pin.sock.fileno())

    def _ask(self, pin: Pin, asked: Asked) -> None:
        ident = pin.next_ident
        pin.next_ident = (ident + 1) & 0xFFFF
        sent_ns = time.time_ns()
        self._wave.sent_ns[asked.probe] = sent_ns
        pin.asked[ident] = asked
        self._last_ns = max(self._last_ns, sent_ns)
        try:
            if not pin.connected:
                pin.sock.connect(pin.address)
                pin.connected = True
            pin.sock.send(asked.question.wire(ident.to_bytes(2, "big")))
        except OSError as exc:
            self._failed(pin, ident, exc)

    def _ready(self, pin: Pin, _events: int) -> None:
        while True:
            try:
                answer, control, _flags, _address = pin.sock.recvmsg(ANSWER_BYTES, 64)
            except BlockingIOError:
                return
            except OSError as exc:
                if not pin.asked:
                    return
                self._failed(
                    pin, min(pin.asked), exc
                )  # an error names no query: it is the oldest's
                continue
            self._answered(pin, answer, received_ns(control))

    def _answered(self, pin: Pin, answer: bytes, done_ns: int) -> None:
        ident = int.from_bytes(answer[:2], "big")
        asked = pin.asked.get(ident)
        if asked is None:
            return
        outcome, label = asked.question.read(answer, answer[:2])
        if outcome is Outcome.PENDING:
            return
        del pin.asked[ident]
        if done_ns - int(self._wave.sent_ns[asked.probe]) > self._wave.timeout_ns:
            outcome = Outcome.TIMEOUT
        self._wave.done_ns[asked.probe] = done_ns
        self._wave.outcome[asked.probe] = outcome
        if outcome is Outcome.OK and label:
            self._wave.answered.append((int(self._wave.target[asked.probe]), label))

    def _failed(self, pin: Pin, ident: int, exc: OSError) -> None:
        asked = pin.asked.pop(ident)
        self._wave.refused(asked.probe, time.time_ns(), exc.errno)
