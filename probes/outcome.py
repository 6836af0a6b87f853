"""What became of one probe."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final


class Outcome(IntEnum):
    """One byte per probe. VOID was no measurement (the prober's own trouble); it is never counted as sent."""

    PENDING = 0
    OK = 1
    VOID = 2
    TIMEOUT = 3
    REFUSED = 4
    UNREACHABLE_HOST = 5
    UNREACHABLE_NET = 6
    PROHIBITED = 7
    TTL_EXCEEDED = 8
    RESET = 9
    TOO_BIG = 10
    SERVFAIL = 11
    NXDOMAIN = 12
    RCODE = 13
    WRONG_ANSWER = 14
    TRUNCATED = 15
    MALFORMED = 16

    @property
    def kind(self) -> str:
        """The name in `PairResult.errors`: "unreachable-host"."""
        return self.name.lower().replace("_", "-")


BY_ERRNO: Final = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE_HOST,
    errno.EHOSTDOWN: Outcome.UNREACHABLE_HOST,
    errno.ENETUNREACH: Outcome.UNREACHABLE_NET,
    errno.ENETDOWN: Outcome.UNREACHABLE_NET,
    errno.EINVAL: Outcome.UNREACHABLE_NET,  # a blackhole route in the pod (fib_semantics.c)
    errno.EACCES: Outcome.PROHIBITED,  # a prohibit route, or a reject rule
    errno.EPERM: Outcome.PROHIBITED,  # a drop rule on the pod's own way out
    errno.ECONNRESET: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.EMSGSIZE: Outcome.TOO_BIG,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}
"""What an errno says about the network, on a socket that was opened without trouble.

EPERM and EACCES from a *send* are netfilter's or the routing table's verdict on the packet (any client in that
pod meets them); from opening a socket they are the prober's trouble and never come here.
"""


def by_errno(code: int | None) -> Outcome:
    """What the errno says; VOID where it is the prober's own trouble (no buffers, no descriptors, …)."""
    return BY_ERRNO.get(code or 0, Outcome.VOID)


def by_unreachable(code: int) -> Outcome:
    """What an ICMP destination unreachable of this code says (RFC 792, RFC 1812 5.2.7.1)."""
    return _UNREACHABLE.get(code, Outcome.UNREACHABLE_HOST)


_UNREACHABLE: Final = {
    0: Outcome.UNREACHABLE_NET,
    1: Outcome.UNREACHABLE_HOST,
    2: Outcome.REFUSED,
    3: Outcome.REFUSED,
    4: Outcome.TOO_BIG,
    6: Outcome.UNREACHABLE_NET,
    9: Outcome.PROHIBITED,
    10: Outcome.PROHIBITED,
    11: Outcome.UNREACHABLE_NET,
    13: Outcome.PROHIBITED,
}
