"""Whether the prober itself kept up: moments in which it did not run while answers were due."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.wave import Wave


class Gap(NamedTuple):
    """A time in which the prober stood still, in CLOCK_REALTIME nanoseconds."""

    start_ns: int
    end_ns: int

    @property
    def length_s(self) -> float:
        """How long it stood still."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(slots=True, kw_only=True)
class Pulse:
    """Beaten by a loop at every turn; two beats further apart than `limit_s` leave a gap.

    A step of the wall clock against the monotonic one counts as a gap as well: the kernel's receive times cannot
    be compared with the send times across it.
    """

    limit_s: float
    gaps: list[Gap] = field(default_factory=list)
    _mono_ns: int = field(default_factory=time.monotonic_ns)
    _real_ns: int = field(default_factory=time.time_ns)

    def beat(self, asleep_s: float = 0.0) -> int:
        """The loop runs; it meant to sleep `asleep_s` since the last beat. Returns CLOCK_REALTIME in ns."""
        mono_ns, real_ns = time.monotonic_ns(), time.time_ns()
        passed_ns, shown_ns = mono_ns - self._mono_ns, real_ns - self._real_ns
        late_ns = passed_ns - int(asleep_s * 1e9)
        if max(late_ns, abs(shown_ns - passed_ns)) > self.limit_s * 1e9:
            self.gaps.append(Gap(min(self._real_ns, real_ns), max(self._real_ns, real_ns)))
        self._mono_ns, self._real_ns = mono_ns, real_ns
        return real_ns


def overlapping(wave: Wave, gaps: list[Gap]) -> npt.NDArray[np.bool_]:
    """Which probes were under way during a gap."""
    hit = np.zeros(len(wave.sent_ns), np.bool_)
    for gap in gaps:
        hit |= (wave.sent_ns <= gap.end_ns) & (wave.sent_ns + wave.timeout_ns >= gap.start_ns)
    return hit


def waited_for_cpu_s() -> float:
    """How long the calling thread has been runnable without running (proc(5), schedstat); 0 where not told."""
    try:
        fields = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text("utf-8")
    except OSError:
        return 0.0
    return int(fields.split()[1]) / 1e9


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector out of the block; it is as it was afterwards."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
