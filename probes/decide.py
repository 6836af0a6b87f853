"""Pass or fail of a pair from k of m, by a stated test.

Every probe may be lost with probability `AMBIENT` without anything being wrong. A pair

- fails as soon as so many losses would be seen with probability below `ALPHA` on an ambient path;
- passes when nothing of the first burst was lost, or when a path that loses `GREY` or more would show so few
  losses with probability below `BETA`;
- otherwise gets more probes, up to `BOUND`, and then passes unless the first test fails it.

Error rates, exactly computed (tests/unit/test_decide.py) for a first burst of 5: a path that loses nothing
never fails, one that loses 2 % fails with probability 0.0006, 10 % 0.35, 20 % 0.67, half 0.97, and one that loses
everything always, without a further probe. What is missed is missed by the burst: 5 of 5 come through a path that
loses 20 % with probability 0.33; with a `count` of 20 it fails with probability 0.98.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from probes.model import State

AMBIENT: Final = 0.02
GREY: Final = 0.2
ALPHA: Final = 1e-3
BETA: Final = 1e-2
SECOND: Final = 32  # a single loss among so many passes
BOUND: Final = 100


def verdict(sent: int, lost: int) -> State | None:
    """PASS or FAIL of a pair that was probed `sent` times; None where more probes are needed.

    UNKNOWN where nothing was measured. Raises ValueError where more were lost than sent.
    """
    if not 0 <= lost <= sent:
        raise ValueError(f"{lost} lost of {sent}")
    if sent == 0:
        return State.UNKNOWN
    return _verdict(sent, lost)


def more(sent: int, lost: int) -> int:
    """How many further probes an undecided pair gets: up to `SECOND`, then up to `BOUND`; 0 when decided."""
    if verdict(sent, lost) is not None:
        return 0
    return (SECOND if sent < SECOND else BOUND) - sent


@lru_cache(maxsize=4096)
def fails_at(sent: int) -> int:
    """The fewest losses among so many probes that fail a pair whatever else happens; more than `sent` where none do."""
    return next((n for n in range(1, sent + 1) if at_least(n, sent, AMBIENT) < ALPHA), sent + 1)


@lru_cache(maxsize=4096)
def _verdict(sent: int, lost: int) -> State | None:
    if lost == 0:
        return State.PASS
    if at_least(lost, sent, AMBIENT) < ALPHA:
        return State.FAIL
    if sent >= BOUND or at_most(lost, sent, GREY) < BETA:
        return State.PASS
    return None


def at_least(lost: int, sent: int, loss: float) -> float:
    """P(X ≥ lost) of X ~ Binomial(sent, loss)."""
    return math.fsum(_pmf(k, sent, loss) for k in range(lost, sent + 1))


def at_most(lost: int, sent: int, loss: float) -> float:
    """P(X ≤ lost) of X ~ Binomial(sent, loss)."""
    return math.fsum(_pmf(k, sent, loss) for k in range(lost + 1))


def _pmf(k: int, n: int, p: float) -> float:
    if p in {0.0, 1.0}:
        return float(k == n * p)
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))
