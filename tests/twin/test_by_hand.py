"""Kernel state changed by hand: `diagnose` names what was changed and nothing else, and its repairs mend it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from clusters.providers.base import Cluster
from clusters.providers.registry import open_cluster

pytestmark = pytest.mark.twin

QUICK = ("--timeout", "0.5")
NOBODY = "0e:00:00:00:00:77"
ROUTE = "via {n2.gw} dev flannel.1 onlink"
BOTH = frozenset({("n1", "n2"), ("n2", "n1")})
ALL_OF_N1 = frozenset((a, b) for a in ("n0", "n1", "n2", "n3") for b in ("n1",) if a != b)
ALL_OF_N1 |= {(b, a) for a, b in ALL_OF_N1}


class Change(NamedTuple):
    """What is done on `place`, what is lost by it, and what takes it back (nothing: the printed repair does)."""

    do: str
    entries: frozenset[tuple[str, str]] = frozenset()  # table, key; the observer is n1
    edges: frozenset[tuple[str, str]] = frozenset({("n1", "n2")})
    undo: str = ""
    place: str = "n1"
    found: str = ""  # the id of the finding where no table shows it
    culprit: str = ""  # its pod, replica or node


def entry(table: str, key: str) -> frozenset[tuple[str, str]]:
    """The one entry that is named."""
    return frozenset({(table, key)})


TABLES = {
    "neigh-wrong": Change(
        f"ip neigh replace {{n2.gw}} lladdr {NOBODY} dev flannel.1 nud permanent",
        entry("neigh", "{n2.gw}"),
    ),
    "neigh-deleted": Change("ip neigh del {n2.gw} dev flannel.1", entry("neigh", "{n2.gw}")),
    "underlay-neigh": Change(
        f"ip neigh replace {{n2.ip}} lladdr {NOBODY} dev eth0 nud permanent",
        entry("neigh", "{n2.ip}"),
    ),
    "fdb-of-another-node": Change(
        "bridge fdb replace {n2.mac} dev flannel.1 dst {n3.ip} self permanent",
        entry("fdb", "{n2.mac}"),
    ),
    "fdb-deleted": Change(
        "bridge fdb del {n2.mac} dev flannel.1 dst {n2.ip} self", entry("fdb", "{n2.mac}")
    ),
    "route-deleted": Change("ip route del {n2.cidr}", entry("route", "{n2.cidr}"), BOTH),
    "route-to-nobody": Change(
        "ip route replace {n2.cidr} via 10.244.99.0 dev flannel.1 onlink",
        entry("route", "{n2.cidr}"),
    ),
    "pod-blackholed": Change(
        "ip route add blackhole {n2.pod}/32", entry("route", "{n2.pod}/32"), BOTH
    ),
    "ip-forward": Change(
        "sysctl -w net.ipv4.ip_forward=0", entry("setting", "net.ipv4.ip_forward"), ALL_OF_N1
    ),
    "own-pods-route": Change(
        "ip route del {n1.cidr} dev cni0", entry("route", "{n1.cidr}"), ALL_OF_N1
    ),
}
NOTHING: frozenset[tuple[str, str]] = frozenset()


def filtered(place: str, rule: str, **named: Any) -> Change:
    """An iptables rule, which no table shows."""
    where, _, rest = rule.rpartition("CHAIN ")
    flags = f"iptables {where}".strip()
    return Change(f"{flags} -I {rest}", undo=f"{flags} -D {rest}", place=place, **named)


UNSEEN = {
    "underlay-in": filtered(
        "n1",
        "-t raw CHAIN PREROUTING -s {n2.ip} -p udp --dport 8472 -j DROP",
        edges=frozenset({("n2", "n1")}),
        found="one-way-drop",
    ),
    "forward-to-peer": filtered("n1", "CHAIN FORWARD -d {n2.cidr} -j DROP", found="one-way-drop"),
    "forward-policy": Change(
        "iptables -P FORWARD DROP",
        edges=NOTHING,
        undo="iptables -P FORWARD ACCEPT",
        found="node-dark",
        culprit="n1",
    ),
    "pod-without-icmp": filtered(
        "n0-p0",
        "CHAIN INPUT -p icmp -j DROP",
        edges=NOTHING,
        found="protocol-drop",
        culprit="n0-p0",
    ),
    "pod-without-dns": filtered(
        "n0-p1",
        "CHAIN OUTPUT -p udp --dport 53 -j DROP",
        edges=NOTHING,
        found="protocol-drop",
        culprit="n0-p1",
    ),
    "replica-without-tcp": filtered(
        "dns-1",
        "CHAIN INPUT -p tcp --dport 53 -j DROP",
        edges=NOTHING,
        found="dns-tcp-fallback-broken",
        culprit="dns-1",
    ),
}

HARMLESS = {
    "old-mac-in-fdb": (
        f"bridge fdb append {NOBODY} dev flannel.1 dst {{n2.ip}} self permanent",
        f"bridge fdb del {NOBODY} dev flannel.1 dst {{n2.ip}} self",
    ),
    "neigh-reachable": (
        "ip neigh replace {n2.gw} lladdr {n2.mac} dev flannel.1 nud reachable",
        "ip neigh replace {n2.gw} lladdr {n2.mac} dev flannel.1 nud permanent",
    ),
    "detour": (
        "ip neigh replace {n2.gw} lladdr {n3.mac} dev flannel.1 nud permanent",
        "ip neigh replace {n2.gw} lladdr {n2.mac} dev flannel.1 nud permanent",
    ),
    "route-protocol": (
        f"ip route replace {{n2.cidr}} {ROUTE} proto 17",
        f"ip route replace {{n2.cidr}} {ROUTE}",
    ),
    "narrower-the-same-way": (
        f"ip route add {{n2.gw}}/25 {ROUTE}",
        f"ip route del {{n2.gw}}/25 {ROUTE}",
    ),
}


class _Words(NamedTuple):
    """What a node is called in commands."""

    gw: str
    cidr: str
    ip: str
    mac: str
    pod: str


class Bench:
    """The module's twin, with commands in which nodes are named by what they are."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        inventory = cluster.inventory()
        pods = {pod.node: pod.ips[0] for pod in reversed(inventory.pods)}
        self.words = {
            one.name: _Words(
                gw=one.pod_cidrs[0].partition("/")[0],
                cidr=one.pod_cidrs[0],
                ip=one.underlay[0],
                mac=one.vtep.mac or "",
                pod=pods[one.name],
            )
            for one in inventory.nodes
        }

    def said(self, text: str) -> str:
        """With the values of this twin."""
        return text.format(**self.words)

    def run(self, place: str, argv: Sequence[str]) -> None:
        """It has to succeed."""
        done = self.cluster.run(place, argv)
        assert done.status == 0, (argv, done.stderr)

    def by_hand(self, place: str, text: str) -> None:
        """One command line."""
        self.run(place, self.said(text).split())

    def graymesh(self, verb: str, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and document of the command."""
        argv = [sys.executable, "-P", "-m", "suites", verb, "--name", self.cluster.name]
        done = subprocess.run(
            [*argv, *words, "--json", "-"], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, json.loads(done.stdout)

    def repair(self, document: dict[str, Any]) -> None:
        """Every printed command as it stands."""
        for one in (one for found in document["findings"] for one in found["repair"]):
            self.run(one["node"], one["argv"])


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Four nodes with two pods each, three replicas, rp_filter as kind has it."""
    name = f"hand{os.getpid()}"
    command = [sys.executable, "-P", "-m", "suites"]
    shape = ["--pods-per-node", "2", "--dns-replicas", "3", "--owner-pid", str(os.getpid())]
    subprocess.run([*command, "up", "--name", name, *shape], check=True, capture_output=True)
    try:
        with contextlib.closing(open_cluster(name)) as cluster:
            yield Bench(cluster)
    finally:
        subprocess.run([*command, "down", "--name", name], check=False, capture_output=True)


def named(document: dict[str, Any], field: str) -> set[tuple[str, str]]:
    """Edges, or entries by table and key, of all findings."""
    items = itertools.chain.from_iterable(found[field] for found in document["findings"])
    if field == "entries":
        return {(one["table"], one["key"]) for one in items if one["observer"] == "n1"}
    return {(one[0], one[1]) for one in items}


@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES.keys())
def test_a_changed_entry_is_named_and_its_repair_mends_it(bench: Bench, change: Change) -> None:
    """By tables alone and by probing; nothing else is named."""
    wanted = {(table, bench.said(key)) for table, key in change.entries}
    bench.by_hand(change.place, change.do)

    audit_code, audit = bench.graymesh("audit")
    code, document = bench.graymesh("diagnose", *QUICK)
    bench.repair(document)
    healed, _ = bench.graymesh("probe", *QUICK)

    assert (code, document["verdict"], audit_code) == (1, "fail", 1)
    assert named(document, "edges") == set(change.edges)
    assert named(document, "entries") == named(audit, "entries") == wanted
    assert {one["observer"] for f in document["findings"] for one in f["entries"]} == {"n1"}
    assert healed == 0


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN.keys())
def test_a_loss_that_no_table_shows_is_localised(bench: Bench, change: Change) -> None:
    """One finding, of the right place, without entries."""
    bench.by_hand(change.place, change.do)
    try:
        code, document = bench.graymesh("diagnose", *QUICK)
    finally:
        bench.by_hand(change.place, change.undo)

    assert (code, document["verdict"]) == (1, "fail")
    (finding,) = document["findings"]
    assert finding["id"] == change.found
    assert named(document, "edges") == set(change.edges)
    culprits = {*finding["pods"], *finding["replicas"], *finding["nodes"]}
    assert culprits == ({change.culprit} if change.culprit else set())
    assert finding["entries"] == finding["repair"] == []


@pytest.mark.parametrize(("do", "undo"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_loses_nothing_is_a_note_at_most(bench: Bench, do: str, undo: str) -> None:
    """The verdict stays pass."""
    bench.by_hand("n1", do)
    try:
        code, document = bench.graymesh("diagnose", *QUICK)
    finally:
        bench.by_hand("n1", undo)

    assert (code, document["verdict"], document["findings"]) == (0, "pass", [])
    assert document["notes"] != []
