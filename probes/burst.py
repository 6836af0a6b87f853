"""Sending a burst of one wave's packets from one socket, with their send times."""

from __future__ import annotations

import errno
import time
from typing import Final

import numpy as np

from clusters.waiting import pause
from probes.mmsg import I64, Outbox
from probes.wave import Wave

BURST: Final = 128
SPAN: Final = 32  # packets per system call
_RETRIES: Final = 50
_STEPS: Final = np.arange(SPAN, dtype=np.int64)


def send_burst(wave: Wave, fd: int, outbox: Outbox, probes: I64) -> int:
    """Send the first slots of `outbox`, one per probe; return CLOCK_REALTIME in ns afterwards.

    The clock is read once per system call; send times of its (at most 32) packets are interpolated, which is exact
    to some ten microseconds where the kernel carries each packet at the same speed.
    """
    sent_ns, count = wave.sent_ns, len(probes)
    at = tries = 0
    now_ns = time.time_ns()
    while at < count:
        try:
            sent = outbox.send(fd, at, min(at + SPAN, count))
        except OSError as exc:
            tries += 1
            if exc.errno == errno.EAGAIN and tries < _RETRIES:  # the socket's send buffer is full
                pause(0.001)
            else:
                wave.refused(int(probes[at]), now_ns, exc.errno)
                at, tries = at + 1, 0
            now_ns = time.time_ns()
            continue
        before_ns, now_ns = now_ns, time.time_ns()
        sent_ns[probes[at : at + sent]] = before_ns + (now_ns - before_ns) // sent * _STEPS[:sent]
        at += sent
    return now_ns
