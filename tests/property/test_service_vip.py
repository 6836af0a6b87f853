"""The VIP's rules for any set of endpoints."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from clusters.service_vip import parse, render

VIP = "10.96.0.10"
TARGETS = st.lists(
    st.integers(0x0AF40002, 0x0AF4FFFE).map(lambda n: str(ipaddress.ip_address(n))),
    max_size=8,
    unique=True,
)
WORDS = st.sampled_from(
    [
        "-A",
        "PREROUTING",
        "-j",
        "DNAT",
        "!",
        "-d",
        VIP,
        "-p",
        "udp",
        "A",
        "B",
        '"',
        "*nat",
        "\n",
        "-X",
    ]
)


@given(targets=TARGETS)
def test_the_targets_written_are_the_targets_read(targets: list[str]) -> None:
    """Parsing and rendering are each other's inverse, the order included."""
    saved = render(VIP, targets).replace("-I ", "-A ")

    assert parse(saved, VIP).targets == {"udp": tuple(targets), "tcp": tuple(targets)}


@given(before=TARGETS, after=TARGETS)
def test_a_sync_declares_or_deletes_every_chain_it_names(
    before: list[str], after: list[str]
) -> None:
    """A rule into a chain that is not there would fail the whole restore; a chain left over is a leak."""
    saved = render(VIP, before).replace("-I ", "-A ")
    text = render(VIP, after, saved=saved)
    words = [line.split() for line in text.splitlines()]

    declared = {w[0][1:] for w in words if w[0].startswith(":")}
    deleted = {w[1] for w in words if w[0] == "-X"}
    used = {w[1] for w in words if w[0] == "-A"} | {w[-1] for w in words if "KUBE-S" in w[-1]}

    assert {w for w in used if w.startswith("KUBE-")} <= declared | deleted
    assert not deleted & {w[-1] for w in words if w[0] == "-A"}
    kept = {c for c in declared - deleted if c.startswith("KUBE-SEP-")}
    assert len(kept) == 2 * len(after)


@given(text=st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map(" ".join)))
def test_parse_never_raises(text: str) -> None:
    """It reads what another program printed, of any version."""
    found = parse(text, VIP)

    assert found.targets.keys() == {"udp", "tcp"}
