"""The VIP's rules, written and walked by a real kernel."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence

import pytest

from clusters.commands import run_argv
from clusters.service_vip import parse, render

pytestmark = pytest.mark.twin

VIP = "10.96.0.10"
TARGETS = ("10.244.1.2", "10.244.2.2", "10.244.3.2")


def run(*argv: str, stdin: str = "") -> str:
    """Run a command that must succeed."""
    done = run_argv(argv, timeout_s=5, stdin=stdin)
    assert done.status == 0, done.stderr
    return done.stdout


def sync(targets: Sequence[str]) -> str:
    """Write the rules as an agent would; what iptables-save shows then."""
    run("iptables-restore", "--noflush", stdin=render(VIP, targets, saved=run("iptables-save")))
    return run("iptables-save")


def rules(saved: str) -> list[str]:
    """Chains and rules, without the comments that carry the time."""
    return [line for line in saved.splitlines() if not line.startswith("#")]


def test_what_is_written_is_read_back() -> None:
    """iptables-save prints in its own order and spelling."""
    assert parse(sync(TARGETS), VIP).targets == {"udp": TARGETS, "tcp": TARGETS}


def test_writing_twice_changes_nothing() -> None:
    """A sync is idempotent: no jump is doubled."""
    first = rules(sync(TARGETS))

    assert rules(sync(TARGETS)) == first
    assert sum(line.startswith("-A PREROUTING") for line in first) == 1


def test_changed_targets_leave_no_chain_of_the_old_ones() -> None:
    """The state is as if the new targets had been the first; what others wrote stays."""
    run("iptables", "-t", "nat", "-A", "PREROUTING", "-d", "192.0.2.1", "-j", "ACCEPT")
    before = sync(TARGETS)
    changed = sync((TARGETS[1], "10.244.7.7"))
    again = sync(TARGETS)

    assert parse(changed, VIP).targets["udp"] == (TARGETS[1], "10.244.7.7")
    assert changed.count(":KUBE-SEP-") == 4
    assert rules(again) == rules(before)
    assert "192.0.2.1" in again


def test_deleted_rules_come_back_with_a_sync() -> None:
    """Whatever is there now: this is how a fault on the rules is undone."""
    whole = rules(sync(TARGETS))
    run("iptables", "-t", "nat", "-F")
    assert parse(run("iptables-save"), VIP).targets["udp"] == ()

    assert rules(sync(TARGETS)) == whole


def test_ipv6_rules_are_read_back() -> None:
    """The same shape by ip6tables."""
    run(
        "ip6tables-restore",
        "--noflush",
        stdin=render("fd00::a", ["fd00::2"], cluster_cidr="fd00::/64"),
    )

    assert parse(run("ip6tables-save"), "fd00::a").targets["tcp"] == ("fd00::2",)


def reachable() -> None:
    """Let this namespace own the targets and route the VIP."""
    for address in (*TARGETS, "10.244.0.2"):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    run("ip", "route", "add", VIP, "dev", "lo")


def servers() -> dict[str, socket.socket]:
    """A listener on each target."""
    found = {}
    for target in TARGETS:
        found[target] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found[target].bind((target, 53))
        found[target].settimeout(0)
    return found


def ask(port: int = 0) -> socket.socket:
    """One datagram from a pod's address to the VIP, from a fresh port or the one given."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind(("10.244.0.2", port))
    client.connect((VIP, 53))
    client.settimeout(1)
    client.send(b"query")
    return client


def count(listeners: dict[str, socket.socket]) -> Counter[str]:
    """How many datagrams each got."""
    got: Counter[str] = Counter()
    for target, listener in listeners.items():
        while True:
            try:
                listener.recv(64)
            except BlockingIOError:
                break
            got[target] += 1
    return got


def test_fresh_ports_reach_every_target_and_a_pinned_port_only_one() -> None:
    """One choice per flow, kept by conntrack: this is what makes a pinned probe a class of its own."""
    reachable()
    sync(TARGETS)
    listeners = servers()

    for _ in range(90):
        ask().close()
    fresh = count(listeners)
    for _ in range(30):
        ask(40_000).close()
    pinned = count(listeners)

    assert set(fresh) == set(TARGETS)
    assert sum(fresh.values()) == 90
    assert min(fresh.values()) >= 10  # 30 expected; less happens once in some 10^6 runs
    assert list(pinned.values()) == [30]


def test_without_targets_the_client_is_refused_at_once() -> None:
    """REJECT, as kube-proxy has it; with a target the same query is not refused."""
    reachable()
    listeners = servers()
    sync(TARGETS[:1])
    with ask() as client:
        query, peer = listeners[TARGETS[0]].recvfrom(64)
        listeners[TARGETS[0]].sendto(query, peer)
        assert client.recv(64) == b"query"
    sync([])

    with pytest.raises((ConnectionRefusedError, PermissionError)), ask() as client:
        client.recv(64)
