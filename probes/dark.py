"""How long each directed node pair was dark, from regular one-way samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]


class DarkTime(NamedTuple):
    """One directed node pair over a watch.

    `dark_s` is the time in which what was sent did not arrive; `intervals` are (first loss, next arrival) in
    seconds since the watch began, the last one open to the end of the watch where `recovered` is False.
    """

    src: str
    dst: str
    dark_s: float
    recovered: bool
    intervals: tuple[tuple[float, float], ...]


def dark_times(
    pairs: Sequence[tuple[str, str]],
    times_s: Times,
    arrived: Flags,
    measured: Flags,
    *,
    period_s: float,
) -> tuple[DarkTime, ...]:
    """The dark time of each pair.

    `times_s` is when each sample was sent; `arrived` and `measured` are samples by pairs. A sample that was not measured
    (the prober's own trouble) neither lengthens a dark time nor ends it, and so does the time in which the
    prober sent nothing: no sample stands for more than two periods.
    """
    lengths_s = np.minimum(np.diff(times_s, append=times_s[-1:] + period_s), 2 * period_s)
    lossy: Flags = np.asarray((measured & ~arrived).any(axis=0))
    return tuple(
        _dark(pair, times_s, lengths_s, arrived[:, column], measured[:, column])
        if lossy[column]
        else DarkTime(*pair, 0.0, recovered=True, intervals=())
        for column, pair in enumerate(pairs)
    )


def _dark(
    pair: tuple[str, str], times_s: Times, lengths_s: Times, arrived: Flags, measured: Flags
) -> DarkTime:
    seen = np.flatnonzero(measured)
    lost = ~arrived[seen]
    edges = np.diff(np.concatenate(([False], lost, [False])).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    end_s = float(times_s[-1] + lengths_s[-1])
    intervals = tuple(
        (float(times_s[seen[start]]), float(times_s[seen[stop]]) if stop < len(seen) else end_s)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    )
    return DarkTime(
        *pair,
        dark_s=float(lengths_s[seen[lost]].sum()),
        recovered=not lost[-1],
        intervals=intervals,
    )
