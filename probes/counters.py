"""The kernel's own ICMP counters of a namespace, to be held against what the prober counted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from clusters.netns import Vantage, inside


class EchoCounters(NamedTuple):
    """Echo requests sent and echo replies received since the namespace was made."""

    out_echos: int
    in_echo_replies: int


def echo_counters(vantage: Vantage) -> EchoCounters:
    """Icmp OutEchos and InEchoReps of /proc/net/snmp, read inside the namespace. Raises OSError."""
    with inside(vantage):
        text = Path("/proc/thread-self/net/snmp").read_text("utf-8")
    return parse(text)


def parse(text: str) -> EchoCounters:
    """The two counters in the text of /proc/net/snmp (proc(5)): a line of names, then one of values."""
    names, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
    found = dict(zip(names, values, strict=True))
    return EchoCounters(int(found["OutEchos"]), int(found["InEchoReps"]))
