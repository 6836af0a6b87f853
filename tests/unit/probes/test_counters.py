"""The kernel's ICMP counters."""

from __future__ import annotations

from probes.counters import EchoCounters, parse

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 2 64
Icmp: InMsgs InErrors InEchos InEchoReps OutMsgs OutEchos OutEchoReps
Icmp: 30 0 10 20 35 25 10
IcmpMsg: InType0 InType8
IcmpMsg: 20 10
"""


def test_counters_are_found_by_name() -> None:
    """Columns differ between kernels."""
    assert parse(SNMP) == EchoCounters(out_echos=25, in_echo_replies=20)
