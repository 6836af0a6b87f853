"""What each fault leaves in the tables, on a cluster in memory."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.fake import FakeCluster
from chaos.fake_bench import Bench
from chaos.model import Kind
from chaos.registry import FAULTS
from chaos.tables import fdb, neigh, route
from clusters.errors import SetupError, UsageError
from clusters.ledger import Ledger
from clusters.topology import Inventory

FOUNDING = {"victim": "n0", "peers": "n2,n3"}
ENTRY = {"observer": "n1", "owner": "n2"}
GATEWAY = neigh("flannel.1", "10.244.0.0")


def on(tmp_path: Path, *, nodes: int = 4, dialect: str = "static") -> Bench:
    """A bench with a cluster of that kind."""
    return Bench(FakeCluster(nodes, dialect=dialect), Ledger(tmp_path / "ledger.jsonl"))


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_says_what_it_is(name: str) -> None:
    """`list faults` and `describe` are made from it."""
    fault = FAULTS[name]
    text = inspect.getdoc(type(fault)) or ""

    assert fault.name == name
    assert fault.summary
    assert {"Story:", "Signature:", "Source:"} <= set(text.split())
    assert set(fault.providers) == {"twin", "kind"}
    assert (fault.kind is Kind.HEALING) == name.startswith("node-re")


def test_the_founding_state_is_that_of_the_incident(bench: Bench) -> None:
    """Stale peers: PERMANENT neighbour with the old MAC, both MACs in the FDB; on fresh ones everything is new."""
    old = bench.cluster.inventory().node("n0").vtep.mac or ""
    bench.engine().inject("founding", FOUNDING)
    new = bench.cluster.inventory().node("n0").vtep.mac or ""
    held = bench.cluster.held

    assert old != new
    for stale in ("n2", "n3"):
        assert held(stale)[GATEWAY] == f"{old} permanent"
        assert held(stale)[fdb("flannel.1", old)] == "172.18.0.2 permanent"
        assert held(stale)[fdb("flannel.1", new)] == "172.18.0.2 permanent"
    assert held("n1")[GATEWAY] == f"{new} permanent"
    assert held("n1")[fdb("flannel.1", new)] == "172.18.0.2 permanent"


def test_after_vtep_recreate_the_stale_peers_know_nothing_of_the_new_mac(bench: Bench) -> None:
    """Variant 1a: the neighbour alone does not repair it."""
    bench.engine().inject("vtep-recreate", FOUNDING)
    new = bench.cluster.inventory().node("n0").vtep.mac or ""

    assert fdb("flannel.1", new) not in bench.cluster.held("n2")
    assert fdb("flannel.1", new) in bench.cluster.held("n1")


def test_where_agents_answer_misses_the_founding_staleness_is_in_memory(tmp_path: Path) -> None:
    """S-G2a: FDB with the old MAC alone; caches of it on fresh peers go, those on stale ones stay."""
    bench = on(tmp_path, dialect="l3miss")
    old = bench.cluster.inventory().node("n0").vtep.mac or ""
    cached = neigh("flannel.1", "10.244.0.2")
    for node in ("n1", "n2"):
        bench.cluster.put(node, cached, f"{old} reachable")

    engine = bench.engine()
    injection = engine.inject("founding", FOUNDING)
    new = bench.cluster.inventory().node("n0").vtep.mac or ""
    stale, fresh = bench.cluster.held("n2"), bench.cluster.held("n1")
    bench.cluster.put("n1", cached, f"{new} reachable")  # as the agent answers now
    engine.undo(injection.id)

    assert stale[cached] == f"{old} reachable"
    assert (fdb("flannel.1", old) in stale, fdb("flannel.1", new) in stale) == (True, False)
    assert cached not in fresh
    assert fdb("flannel.1", new) in fresh
    assert cached not in bench.cluster.held("n1")


def test_two_injections_draw_different_macs(bench: Bench) -> None:
    """Local, unicast, and nobody's."""
    engine = bench.engine()
    macs = []
    for _ in range(2):
        injection = engine.inject("founding", FOUNDING)
        macs.append(bench.cluster.inventory().node("n0").vtep.mac or "")
        engine.undo(injection.id)

    assert len(set(macs)) == 2
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


@pytest.mark.parametrize(
    ("params", "slot", "value"),
    [
        ({"table": "neigh", "value": "0a:de:ad:00:00:01"}, "neigh", "0a:de:ad:00:00:01 permanent"),
        ({"table": "neigh", "mode": "missing"}, "neigh", None),
        ({"table": "fdb"}, "fdb", "172.18.0.2 permanent"),
        ({"table": "fdb", "value": "172.18.0.5"}, "fdb", "172.18.0.5 permanent"),
        ({"table": "fdb", "mode": "missing"}, "fdb", None),
        ({"table": "route"}, "route", "via 10.244.255.0 dev flannel.1 onlink proto 3"),
        ({"table": "route", "mode": "missing"}, "route", None),
        (
            {"table": "route", "value": "10.244.3.0"},
            "route",
            "via 10.244.3.0 dev flannel.1 onlink proto 3",
        ),
    ],
)
def test_one_entry_is_changed_and_no_other(
    bench: Bench, params: dict[str, str], slot: str, value: str | None
) -> None:
    """Any other change would blur what the audit must find."""
    mac = bench.cluster.inventory().node("n2").vtep.mac or ""
    slots = {
        "neigh": neigh("flannel.1", "10.244.2.0"),
        "fdb": fdb("flannel.1", mac),
        "route": route("10.244.2.0/24"),
    }
    before = bench.cluster.held("n1")

    bench.engine().inject("peer-entry", {**ENTRY, **params})
    after = bench.cluster.held("n1")

    assert after.get(slots[slot]) == value
    assert {s for s in before | after if before.get(s) != after.get(s)} == {slots[slot]}


@pytest.mark.parametrize("table", ["neigh", "fdb", "route"])
def test_a_duplicate_stands_beside_the_right_entry(bench: Bench, table: str) -> None:
    """It loses nothing: a note, never a finding."""
    before = bench.cluster.held("n1")

    bench.engine().inject("peer-entry", {**ENTRY, "table": table, "mode": "duplicate"})
    after = bench.cluster.held("n1")

    assert before.items() < after.items()
    assert [slot.table for slot in after.keys() - before.keys()] == [table]


def test_undo_of_a_wrong_route_forgets_the_question_for_its_gateway(bench: Bench) -> None:
    """The kernel asked for an address that nobody has; the failed entry would stay for minutes."""
    before = bench.portrait()
    engine = bench.engine()
    injection = engine.inject("peer-entry", {**ENTRY, "table": "route"})
    asked = neigh("flannel.1", "10.244.255.0")
    bench.cluster.put("n1", asked, "unresolved")

    engine.undo(injection.id)

    assert asked not in bench.cluster.held("n1")
    assert bench.portrait() == before


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"owner": "n1", "table": "fdb"}, "owner=n1: a node keeps no entry about itself"),
        ({"table": "fdb", "mode": "missing", "value": "x"}, "value=x: a missing entry has none"),
        ({"table": "neigh", "value": "x"}, "value=x: expected a MAC"),
        ({"table": "fdb", "value": "x"}, "value=x: expected an IPv4 address"),
        ({"table": "fdb", "value": "172.18.0.4"}, "is 172.18.0.4 permanent already"),
        ({"table": "route", "value": "10.244.2.0"}, "is via 10.244.2.0 .* already"),
    ],
)
def test_a_value_that_cannot_be_is_refused(bench: Bench, params: dict[str, str], text: str) -> None:
    """Exit 2, nothing is done; an injection without effect would prove nothing."""
    before = bench.portrait()

    with pytest.raises(UsageError, match=text):
        bench.engine().inject("peer-entry", {**ENTRY, **params})

    assert bench.portrait() == before


def test_an_entry_that_is_not_there_cannot_go_missing(bench: Bench) -> None:
    """Somebody deleted it before."""
    bench.cluster.put("n1", neigh("flannel.1", "10.244.2.0"), None)

    with pytest.raises(UsageError, match=r"neigh 10\.244\.2\.0 of n1 is absent already"):
        bench.engine().inject("peer-entry", {**ENTRY, "table": "neigh", "mode": "missing"})


def test_two_nodes_have_no_third_to_send_to(tmp_path: Path) -> None:
    """Traffic must not go to an address outside the cluster by default."""
    bench = on(tmp_path, nodes=2)

    with pytest.raises(UsageError, match="value= is missing: with two nodes"):
        bench.engine().inject("peer-entry", {"observer": "n0", "owner": "n1", "table": "fdb"})


def test_a_cluster_without_a_free_pod_cidr_has_no_gateway_that_nobody_owns(tmp_path: Path) -> None:
    """A wrong gateway must be asked for then."""
    bench = Bench(_Full(), Ledger(tmp_path / "ledger.jsonl"))

    with pytest.raises(
        UsageError, match="value= is missing: every podCIDR of the cluster is in use"
    ):
        bench.engine().inject("peer-entry", {**ENTRY, "table": "route"})


def test_a_node_that_never_published_cannot_be_broken(bench: Bench) -> None:
    """There is nothing that peers could keep about it."""
    bench.cluster.withdraw("n0")

    with pytest.raises(UsageError, match="node n0 has published no lease"):
        bench.engine().inject("founding", FOUNDING)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"table": "route"}, "l3miss keeps one route for all peers"),
        ({"table": "neigh", "mode": "missing"}, "writes it again at once"),
    ],
)
def test_what_an_on_miss_agent_does_not_keep_cannot_be_broken(
    tmp_path: Path, params: dict[str, str], text: str
) -> None:
    """It would heal before it could be read back, or was never there."""
    with pytest.raises(UsageError, match=text):
        on(tmp_path, dialect="l3miss").engine().inject("peer-entry", {**ENTRY, **params})


def test_a_wrong_neighbour_of_an_on_miss_agent_is_pinned_for_every_pod(tmp_path: Path) -> None:
    """The agent does not answer for an address that the kernel knows; undo gives the right answer back."""
    bench = on(tmp_path, dialect="l3miss")
    mac = bench.cluster.inventory().node("n2").vtep.mac
    engine = bench.engine()
    wrong = "0a:de:ad:00:00:01"

    injection = engine.inject("peer-entry", {**ENTRY, "table": "neigh", "value": wrong})
    pinned = {slot.key: text for slot, text in bench.cluster.held("n1").items() if wrong in text}
    engine.undo(injection.id)

    assert pinned == dict.fromkeys(("10.244.2.2", "10.244.2.3"), f"{wrong} permanent")
    assert bench.cluster.held("n1")[neigh("flannel.1", "10.244.2.2")] == f"{mac} reachable"


def test_a_deleted_device_stays_away_or_comes_back_empty(tmp_path: Path) -> None:
    """As the generation does; either way undo brings back every entry."""
    for dialect, back in (("static", False), ("persistent", True)):
        bench = on(tmp_path, dialect=dialect)
        before = bench.portrait()
        engine = bench.engine()

        injection = engine.inject("vtep-delete", {"victim": "n0"})
        node = bench.cluster.read("n0")
        engine.undo(injection.id)

        assert ("flannel.1" in node.links) is back
        assert (node.neighbours, node.fdb, node.routes) == ((), (), ())
        assert bench.portrait() == before


def test_a_device_that_somebody_made_anew_is_left(bench: Bench) -> None:
    """Undo would take their MAC away."""
    engine = bench.engine()
    injection = engine.inject("vtep-delete", {"victim": "n0"})
    bench.cluster.renew_vtep("n0", "0e:00:00:00:00:77")

    report = engine.undo(injection.id)

    assert "n0: flannel.1 has 0e:00:00:00:00:77" in report.foreign
    assert bench.cluster.inventory().node("n0").vtep.mac == "0e:00:00:00:00:77"


def test_a_node_without_device_has_none_to_break(bench: Bench) -> None:
    """It says so instead of failing half-way."""
    bench.engine().inject("vtep-delete", {"victim": "n0"})
    bench.ledger.remove()

    with pytest.raises(UsageError, match=r"node n0 has no flannel\.1 now"):
        bench.engine().inject("founding", FOUNDING)


@pytest.mark.parametrize(
    ("direction", "rules"),
    [
        ("in", {"n0": ["172.18.0.3", "172.18.0.4"]}),
        ("out", {"n1": ["172.18.0.2"], "n2": ["172.18.0.2"]}),
        ("both", {"n0": ["172.18.0.3", "172.18.0.4"], "n1": ["172.18.0.2"], "n2": ["172.18.0.2"]}),
    ],
)
def test_packets_are_dropped_where_they_arrive(
    bench: Bench, direction: str, rules: dict[str, list[str]]
) -> None:
    """At the receiver's raw table, with the injection's id; what was there before is not touched."""
    injection = bench.engine().inject(
        "underlay-drop", {"victim": "n0", "peers": "n1,n2", "direction": direction}
    )

    found: dict[str, list[str]] = {}
    for node in ("n0", "n1", "n2", "n3"):
        for line in bench.cluster.run(node, ["iptables-save"]).stdout.splitlines():
            if "DROP" in line:
                assert f'--comment "graymesh {injection.id}" -j DROP' in line
                assert "-p udp -m udp --dport 8472" in line
                found.setdefault(node, []).append(line.split()[3].removesuffix("/32"))

    assert {node: sorted(sources) for node, sources in found.items()} == rules


def test_two_drops_at_one_node_leave_no_table_in_either_order(bench: Bench) -> None:
    """The raw table came with the first rule; it goes with the last."""
    for first in (0, 1):
        before = bench.portrait()
        engine = bench.engine()
        drops = [
            engine.inject("underlay-drop", {"victim": "n0", "peers": peer}) for peer in ("n1", "n2")
        ]
        engine.undo(drops[first].id)
        engine.undo(drops[1 - first].id)

        assert bench.portrait() == before


def test_a_table_that_was_there_before_stays(bench: Bench) -> None:
    """Somebody's own rule in the raw table."""
    text = "*raw\n-I PREROUTING 1 -s 192.0.2.1/32 -j DROP\nCOMMIT\n"
    bench.cluster.run("n0", ["iptables-restore", "--noflush"], stdin=text)
    before = bench.portrait()
    engine = bench.engine()

    engine.undo(engine.inject("underlay-drop", {"victim": "n0", "peers": "n1"}).id)

    assert bench.portrait() == before


def test_only_the_jumps_to_the_dns_service_go_missing(bench: Bench) -> None:
    """Other services' rules stay, and the order of all is the same after undo."""
    before = bench.cluster.run("n3", ["iptables-save"]).stdout
    engine = bench.engine()

    injection = engine.inject("vip-rules-missing", {"victim": "n3"})
    during = bench.cluster.run("n3", ["iptables-save"]).stdout
    engine.undo(injection.id)

    assert set(before.splitlines()) - set(during.splitlines()) == {
        "-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-DNS",
        "-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j KUBE-SVC-TCP",
    }
    assert bench.cluster.run("n3", ["iptables-save"]).stdout == before


def test_a_node_without_rules_has_none_to_lose(bench: Bench) -> None:
    """It was broken before."""
    bench.cluster.run("n3", ["nft", "delete", "table", "ip", "nat"])

    with pytest.raises(UsageError, match=r"node n3 has no rules for 10\.96\.0\.10 to lose"):
        bench.engine().inject("vip-rules-missing", {"victim": "n3"})


@pytest.mark.parametrize(("fault", "mode"), [("replica-stop", "stopped"), ("replica-mute", "mute")])
def test_a_replica_gets_its_mode_back(bench: Bench, fault: str, mode: str) -> None:
    """And a fault that changes nothing is refused."""
    engine = bench.engine()
    injection = engine.inject(fault, {"replica": "dns-1"})
    during = bench.cluster.replica_mode("dns-1")
    engine.undo(injection.id)
    after = bench.cluster.replica_mode("dns-1")
    bench.cluster.set_replica_mode("dns-1", mode)

    assert (during, after) == (mode, "serving")
    with pytest.raises(UsageError, match=f"replica dns-1 is {mode}"):
        bench.engine().inject(fault, {"replica": "dns-1"})


def test_a_provider_without_the_power_says_so(bench: Bench) -> None:
    """A snapshot has no agents to freeze: one clear line, not an attribute error."""
    powerless = _Powerless(bench.cluster)
    engine = Bench(powerless, bench.ledger).engine()  # type: ignore[arg-type]  # fewer powers on purpose

    with pytest.raises(
        SetupError, match=r"cluster 'fake' .twin.: its DNS replicas cannot be steered"
    ):
        engine.inject("replica-stop", {"replica": "dns-1"})
    with pytest.raises(SetupError, match="its CNI agents cannot be steered"):
        engine.inject("founding", FOUNDING)
    with pytest.raises(SetupError, match="its nodes cannot be restarted"):
        engine.inject("node-restart", {"victim": "n3"})


class _Powerless:
    """A cluster that can only be read."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.provider, self.name = cluster.provider, cluster.name
        self.inventory, self.leases = cluster.inventory, cluster.leases
        self.run, self.vantage, self.close = cluster.run, cluster.vantage, cluster.close
        self.read, self.read_all, self.write = cluster.read, cluster.read_all, cluster.write


class _Full(FakeCluster):
    """Four nodes in a network of four podCIDRs."""

    def inventory(self) -> Inventory:
        """As ever, in a smaller network."""
        return replace(super().inventory(), cluster_cidrs=("10.244.0.0/22",))
