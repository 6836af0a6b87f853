"""Verdict, confidence, what is believed where tables and measurement disagree, and the VIP's own causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clusters.state import ClusterState, NodeState, Route
from probes import testing as made
from probes.judge import judge
from probes.model import VIP, Judgement, Observation, Pair, PairResult, State
from probes.testing import Shape, changed, healthy_state
from tests.judging.world import Weather, World, counted

OLD = "02:de:ad:00:00:01"
FOUR = Shape(nodes=4, replicas=3, replica_nodes=(1, 2, 3))


def stale(observer: str = "n2") -> ClusterState:
    """One peer keeps an old MAC of n0."""
    state = changed(healthy_state(FOUR), observer, made.set_neigh(made.gateway(0), OLD))
    return changed(state, observer, made.set_fdb(OLD, made.underlay(0)))


def patched(observation: Observation, change: Callable[[PairResult], PairResult]) -> Observation:
    """The observation with its results changed."""
    return replace(observation, pairs=tuple(map(change, observation.pairs)))


def ids(judgement: Judgement) -> list[str]:
    """The findings' ids."""
    return [one.id for one in judgement.findings]


def test_a_healthy_cluster_passes_without_finding_or_note() -> None:
    """Nothing is made up."""
    state = healthy_state(FOUR)

    judgement = judge(World(state).observe(), state)

    assert judgement.verdict is State.PASS
    assert (judgement.findings, judgement.notes, judgement.reasons) == ((), (), ())
    assert judgement.patterns == ("healthy",)


def test_nothing_measured_is_unknown() -> None:
    """A run without a single decided pair says so, whatever the tables hold."""
    state = healthy_state(FOUR)
    nothing = Observation(pairs=(), timeout_s=1.0, duration_s=0.0)

    judgement = judge(nothing, state)

    assert judgement.verdict is State.UNKNOWN
    assert judgement.reasons == ("nothing was measured",)


def test_neither_measurement_nor_tables_is_unknown() -> None:
    """There is nothing to judge."""
    assert judge(None, None).verdict is State.UNKNOWN


def test_unknown_pairs_make_the_verdict_unknown_and_say_why() -> None:
    """A starved prober is no pass; with a failure beside it the verdict is fail all the same."""
    state = healthy_state(FOUR)

    def starved(one: PairResult) -> PairResult:
        own = one.pair.src == "n1-p0"
        return replace(one, state=State.UNKNOWN, unknown="prober starved") if own else one

    unknown = judge(patched(World(state).observe(), starved), state)
    failing = judge(patched(World(stale()).observe(), starved), stale())

    assert unknown.verdict is State.UNKNOWN
    assert "prober starved" in unknown.reasons[0]
    assert "measuring side broken" in unknown.patterns
    assert failing.verdict is State.FAIL


def test_the_audit_alone_finds_without_explaining_a_pair() -> None:
    """No packet was sent: 0 of 0, less sure, and the verdict follows the tables."""
    judgement = judge(None, stale())

    assert judgement.verdict is State.FAIL
    (finding,) = judgement.findings
    assert finding.edges == (("n2", "n0"),)
    assert (finding.explained, finding.of) == ((), 0)
    assert finding.confidence < 0.99
    assert judge(None, healthy_state(FOUR)).verdict is State.PASS


def test_the_audit_of_an_on_miss_cluster_says_what_no_table_shows() -> None:
    """Without traffic there is no neighbour: the agents would answer, rightly as far as anybody sees."""
    state = healthy_state(replace(FOUR, dialect="l3miss"))
    for node in state.nodes:
        state = changed(
            state,
            node,
            lambda own: replace(
                own, neighbours=tuple(n for n in own.neighbours if n.device != "flannel.1")
            ),
        )

    judgement = judge(None, state)

    assert judgement.verdict is State.PASS
    assert "what agents remember" in judgement.reasons[0]


def test_a_forwarding_entry_missing_behind_an_agents_answer_is_found() -> None:
    """Whatever the agent answers, frames of that MAC have nowhere to go."""
    state = healthy_state(replace(FOUR, dialect="l3miss"))
    state = changed(state, "n2", made.del_neigh(made.pod_ip(0, 0)))
    state = changed(state, "n2", made.del_fdb(made.mac(0)))

    (finding,) = judge(None, state).findings

    assert finding.id == "fdb-entry-missing"
    assert finding.edges == (("n2", "n0"),)


def test_tables_that_leave_something_open_make_the_audit_unknown() -> None:
    """A route with two hops of which one is dead: which flow takes which, no table tells."""
    state = healthy_state(FOUR)
    hops = ((made.gateway(0), "flannel.1"), ("10.244.77.0", "flannel.1"))
    state = changed(state, "n2", made.set_route(Route(made.cidr(0), nexthops=hops)))

    judgement = judge(None, state)

    assert judgement.verdict is State.UNKNOWN
    assert "multipath" in judgement.reasons[-1]


def test_an_unreadable_node_is_a_reason_and_no_pass_by_tables_alone() -> None:
    """Its tables are not there to be right; a full measurement that passes is a pass nevertheless."""
    whole = healthy_state(FOUR)
    nodes = {name: node for name, node in whole.nodes.items() if name != "n3"}
    state = replace(whole, nodes=nodes, unreadable={"n3": "namespace gone"})

    audited = judge(None, state)
    measured = judge(World(whole).observe(), state)

    assert audited.verdict is State.UNKNOWN
    assert audited.reasons[0] == "the tables of n3 could not be read: namespace gone"
    assert measured.verdict is State.PASS
    assert measured.reasons == audited.reasons[:1]


def test_a_dark_node_that_could_not_be_read_says_why() -> None:
    """Its vantages are gone, its peers' probes fail: the node is the culprit, with the reader's reason."""
    whole = healthy_state(FOUR)
    nodes = {name: node for name, node in whole.nodes.items() if name != "n3"}
    state = replace(whole, nodes=nodes, unreadable={"n3": "namespace gone"})
    home = {p.name: p.node for p in (*whole.inventory.pods, *whole.inventory.replicas)}
    gone = Weather(drops=lambda src, dst, _: "n3" in {home[src], home[dst]} and src != dst)

    def vanished(one: PairResult) -> PairResult:
        own = home.get(one.pair.src) == "n3"
        return replace(one, state=State.UNKNOWN, unknown="vantage gone") if own else one

    judgement = judge(patched(World(whole, gone).observe(), vanished), state)

    (finding,) = judgement.findings
    assert (finding.id, finding.nodes) == ("node-dark", ("n3",))
    assert "n3 could not be read: namespace gone" in finding.evidence


def test_a_predicted_loss_that_passes_is_no_finding() -> None:
    """The measurement is right about whether, the tables about why: noted as not confirmed."""
    judgement = judge(World(healthy_state(FOUR)).observe(), stale())

    assert (judgement.verdict, judgement.findings) == (State.PASS, ())
    assert "prediction-not-confirmed" in {one.id for one in judgement.notes}
    assert judgement.unfulfilled
    assert not judge(World(stale()).observe(), stale()).unfulfilled


def test_a_predicted_loss_that_nothing_crossed_is_noted_as_unmeasured() -> None:
    """Only pairs between other nodes were probed."""
    state = stale()
    observation = World(state).observe()
    home = {p.name: p.node for p in (*state.inventory.pods, *state.inventory.replicas)}
    kept = tuple(
        one
        for one in observation.pairs
        if one.pair.dst != VIP and home[one.pair.src] != "n0" and home[one.pair.dst] != "n0"
    )

    judgement = judge(replace(observation, pairs=kept), state)

    assert judgement.verdict is State.PASS
    assert "prediction-not-measured" in {one.id for one in judgement.notes}


def test_round_trips_alone_confirm_a_prediction_with_less_confidence() -> None:
    """Without one-way probes the tables name the direction."""
    full = judge(World(stale()).observe(), stale()).findings[0]
    echo = judge(World(stale()).observe(("icmp",)), stale()).findings[0]

    assert full.edges == echo.edges == (("n2", "n0"),)
    assert full.confidence > echo.confidence


def test_round_trips_without_a_cause_name_no_direction() -> None:
    """Neither one-way probes nor tables: both directions are candidates, and the finding says so."""
    state = healthy_state(FOUR)
    home = {p.name: p.node for p in (*state.inventory.pods, *state.inventory.replicas)}
    lossy = Weather(drops=lambda a, b, _: (home[a], home[b]) == ("n2", "n0"))

    (finding,) = judge(World(state, lossy).observe(("icmp", "dns-udp")), state).findings

    assert finding.id == "path-loss"
    assert finding.edges == (("n0", "n2"), ("n2", "n0"))
    assert finding.confidence <= 0.5
    assert "not measured" in finding.summary


def test_an_entry_that_changed_during_the_sweep_is_taken_where_nothing_else_explains() -> None:
    """Some pairs passed before it was broken, the later ones failed: a finding, but a doubtful one."""
    state = stale()
    early = World(healthy_state(FOUR)).observe(("icmp", "dns-udp"))
    late = {one.pair: one for one in World(state).observe(("icmp", "dns-udp")).pairs}

    def mixed(one: PairResult) -> PairResult:
        return late[one.pair] if one.pair.src == "n0-p0" and one.pair.dst == "n2-p0" else one

    judgement = judge(patched(early, mixed), state)

    (finding,) = judgement.findings
    assert finding.id == "vtep-mac-stale-on-some-peers"
    assert finding.confidence <= 0.6
    assert any("may have changed meanwhile" in line for line in finding.evidence)


def test_the_otherhost_counter_of_the_victim_is_evidence() -> None:
    """Frames for an old MAC are counted where they are dropped."""
    before, after = stale(), stale()
    link = after.nodes["n0"].links["flannel.1"]
    after = changed(after, "n0", made.set_link(link._replace(rx_otherhost=52)))

    (finding,) = judge(World(after).observe(), after, before=before).findings

    assert any("took 52 frames for another MAC (otherhost)" in line for line in finding.evidence)


@pytest.mark.parametrize(
    ("change", "counter", "words"),
    [
        (made.del_fdb(made.mac(0)), "tx_dropped", "n2's flannel.1 dropped 7 frames"),
        (made.del_neigh(made.gateway(0)), "tx_dropped", "n2's flannel.1 dropped 7 frames"),
    ],
)
def test_drops_at_the_sender_are_evidence(
    change: Callable[[NodeState], NodeState], counter: str, words: str
) -> None:
    """Without a forwarding or neighbour entry the sender's device counts what it drops."""
    before = changed(healthy_state(FOUR), "n2", change)
    link = before.nodes["n2"].links["flannel.1"]
    after = changed(before, "n2", made.set_link(link._replace(**{counter: 7})))

    (finding,) = judge(World(after).observe(), after, before=before).findings

    assert any(line.startswith(words) for line in finding.evidence)


@pytest.mark.parametrize(
    ("change", "name", "node"),
    [
        (made.del_route(made.cidr(0)), "TcpExtIPReversePathFilter", "n2"),
        (made.set_setting("ip_forward", 0), "IpInAddrErrors", "n2"),
        (made.del_link("flannel.1"), "UdpNoPorts", "n2"),
    ],
)
def test_kernel_counters_of_the_receiver_are_evidence(
    change: Callable[[NodeState], NodeState], name: str, node: str
) -> None:
    """The reverse path filter, refused forwarding and a closed VXLAN port are each counted."""
    before = changed(healthy_state(FOUR), "n2", change)
    after = changed(before, node, lambda own: replace(own, counters={name: 9}))

    (finding,) = judge(World(after).observe(), after, before=before).findings

    assert any(" 9 " in line and "during the sweep" in line for line in finding.evidence)


def test_counters_that_shrank_are_no_evidence() -> None:
    """A device that was made anew counts from zero."""
    after = stale()
    link = after.nodes["n0"].links["flannel.1"]
    before = changed(after, "n0", made.set_link(link._replace(rx_otherhost=900)))

    (finding,) = judge(World(after).observe(), after, before=before).findings

    assert not any("otherhost" in line for line in finding.evidence)


def test_rules_that_lead_nowhere_are_the_nodes_fault() -> None:
    """The VIP fails from one node alone while every replica answers there."""
    state = changed(healthy_state(FOUR), "n2", made.set_vip(()))

    judgement = judge(World(state).observe(), state)

    (finding,) = judgement.findings
    assert (finding.id, finding.nodes, finding.edges) == ("vip-rules-missing", ("n2",), ())
    (entry,) = finding.entries
    assert (entry.table, entry.key, entry.have) == ("vip", "udp", None)
    assert finding.repair == ()
    assert "VIP only" in judgement.patterns


def test_rules_with_a_dead_target_are_stale() -> None:
    """42: a frozen proxy keeps the address of a replica that moved."""
    ready = [replica.ips[0] for replica in healthy_state(FOUR).inventory.replicas]
    state = changed(healthy_state(FOUR), "n2", made.set_vip([*ready[:2], "10.244.9.9"]))

    (finding,) = judge(World(state).observe(), state).findings

    assert (finding.id, finding.nodes) == ("vip-rules-stale", ("n2",))
    assert any("expected 1/3 lost" in line for line in finding.evidence)


def test_rules_with_fewer_but_good_targets_lose_nothing() -> None:
    """A node that uses two of three replicas is no failure."""
    ready = [replica.ips[0] for replica in healthy_state(FOUR).inventory.replicas]
    state = changed(healthy_state(FOUR), "n2", made.set_vip(ready[:2]))

    assert judge(World(state).observe(), state).findings == ()


def _with_vip(state: ClusterState, result: PairResult) -> Observation:
    observation = World(state).observe(("icmp", "dns-udp", "dns-tcp", "vip", "vip-pinned"))
    return patched(observation, lambda one: result if one.pair == result.pair else one)


def test_a_pinned_flow_that_fails_alone_is_a_stale_connection() -> None:
    """40: fresh ports work, the kept one does not."""
    state = healthy_state(FOUR)
    dead = counted(Pair("n1-p0", VIP, "vip-pinned"), 5, 0)

    (finding,) = judge(_with_vip(state, dead), state).findings

    assert (finding.id, finding.nodes) == ("conntrack-stale-udp-endpoint", ("n1",))


def test_a_vip_that_fails_beyond_its_replicas_is_a_cause_of_its_own() -> None:
    """Every replica answers, the rules are right, yet no query through the VIP does."""
    state = healthy_state(FOUR)

    (finding,) = judge(_with_vip(state, counted(Pair("n1-p0", VIP, "vip"), 20, 0)), state).findings

    assert (finding.id, finding.nodes) == ("vip-broken", ("n1",))


def test_a_vip_that_fails_for_one_pod_of_several_names_the_pod() -> None:
    """Its node-mates get through."""
    state = healthy_state(replace(FOUR, pods=2))

    (finding,) = judge(_with_vip(state, counted(Pair("n1-p1", VIP, "vip"), 20, 0)), state).findings

    assert (finding.id, finding.pods, finding.nodes) == ("vip-broken", ("n1-p1",), ())


def test_a_vip_that_loses_more_than_its_dead_replica_has_a_second_cause() -> None:
    """One of three replicas is down: a third is explained, everything is not."""
    state = healthy_state(FOUR)
    down = Weather(refused=frozenset({"dns-0"}))
    observation = World(state, down).observe()
    all_lost = counted(Pair("n2-p0", VIP, "vip"), 20, 0)

    judgement = judge(
        patched(observation, lambda one: all_lost if one.pair == all_lost.pair else one), state
    )

    assert ids(judgement) == ["replica-down", "vip-broken"]
    assert ids(judge(observation, state)) == ["replica-down"]


def test_a_vip_asked_alone_is_explained_by_the_tables() -> None:
    """No replica was asked directly: the ways to them by the tables account for it."""
    state = stale()

    judgement = judge(World(state).observe(("vip",)), state)

    assert ids(judgement) == ["vtep-mac-stale-on-some-peers"]
    assert judgement.findings[0].explained == (Pair("n0-p0", VIP, "vip"),)


def test_without_tables_the_matrix_alone_is_judged() -> None:
    """`probe` reads none: causes are localised, and nothing is said about entries."""
    state = healthy_state(FOUR)
    mute = Weather(mute=frozenset({"dns-1"}))

    judgement = judge(World(state, mute).observe(), None, inventory=state.inventory)

    assert ids(judgement) == ["replica-mute"]
    assert (judgement.notes, judgement.predicted, judgement.unpredicted) == ((), (), ())


def test_a_port_that_is_down_explains_its_pod() -> None:
    """The one port of the bridge that is down is the pod's that nobody reaches: named, with the command."""
    state = healthy_state(replace(FOUR, pods=2))
    link = state.nodes["n0"].links["eth0"]._replace(name="veth1", master="cni0", up=False)
    state = changed(state, "n0", made.set_link(link))
    cut = Weather(drops=lambda src, dst, _: "n0-p1" in {src, dst})

    (finding,) = judge(World(state, cut).observe(), state).findings

    assert (finding.id, finding.pods) == ("pod-unreachable", ("n0-p1",))
    assert finding.repair[0].argv == ("ip", "link", "set", "dev", "veth1", "up")


def _bridged(state: ClusterState, rx: int, tx: int) -> ClusterState:
    link = state.nodes["n0"].links["cni0"]
    return changed(state, "n0", made.set_link(link._replace(rx_packets=rx, tx_packets=tx)))


@pytest.mark.parametrize(
    ("towards", "rx", "tx", "inside"),
    [
        (True, 1000, 1000, True),
        (True, 1000, 0, False),
        (False, 0, 0, True),
        (False, 1000, 0, False),
    ],
)
def test_counters_tell_a_node_from_its_only_pod(
    towards: bool,  # noqa: FBT001
    rx: int,
    tx: int,
    inside: bool,  # noqa: FBT001
) -> None:
    """Packets that passed the bridge were lost in the pod; packets that never came to it, in front of it."""
    state = healthy_state(FOUR)
    lost = Weather(drops=lambda src, dst, _: (dst if towards else src) == "n0-p0")

    after = _bridged(state, rx, tx)
    (finding,) = judge(World(after, lost).observe(), after, before=state).findings

    assert finding.id == ("pod-unreachable" if inside else "one-way-drop")


def test_a_pods_own_filter_is_told_by_its_errors() -> None:
    """EPERM on sending: the packet never left the pod."""
    state = healthy_state(FOUR)
    filtered = Weather(drops=lambda src, _, __: src == "n0-p0", error="prohibited")

    (finding,) = judge(World(state, filtered).observe(), state).findings

    assert (finding.id, finding.pods) == ("pod-unreachable", ("n0-p0",))


def test_a_pod_that_reaches_only_its_own_node_is_named() -> None:
    """It lost its default route: the bridge still works."""
    state = healthy_state(replace(FOUR, pods=2))
    home = {p.name: p.node for p in (*state.inventory.pods, *state.inventory.replicas)}
    cut = Weather(drops=lambda src, dst, _: home[src] != home[dst] and "n0-p1" in {src, dst})

    (finding,) = judge(World(state, cut).observe(), state).findings

    assert (finding.id, finding.pods) == ("pod-unreachable", ("n0-p1",))
    assert "only within its own" in finding.summary


@pytest.mark.parametrize(
    ("sky", "wanted"),
    [
        (Weather(refused=frozenset({"dns-1"})), "replica-down"),
        (Weather(mute=frozenset({"dns-1"})), "replica-mute"),
        (Weather(sick=frozenset({"dns-1"})), "dns-replica-sick"),
        (Weather(drops=lambda _, d, p: d == "dns-1" and p == "dns-tcp"), "dns-tcp-fallback-broken"),
        (Weather(drops=lambda _, d, p: d == "dns-1" and p == "dns-udp"), "replica-mute"),
    ],
)
def test_a_replica_is_named_by_how_it_fails(sky: Weather, wanted: str) -> None:
    """1 against 48: a column, not a row; refused, silent, wrong, or silent on one transport."""
    state = healthy_state(FOUR)

    (finding,) = judge(World(state, sky).observe(), state).findings

    assert (finding.id, finding.replicas, finding.edges) == (wanted, ("dns-1",), ())
    assert finding.repair == ()


def test_one_protocol_lost_between_two_nodes_names_edge_and_protocol() -> None:
    """UDP 53 dropped, ICMP and TCP fine."""
    state = healthy_state(FOUR)
    dns = Weather(drops=lambda s, d, p: p == "dns-udp" and (s, d) == ("n0-p0", "dns-1"))

    judgement = judge(World(state, dns).observe(), state)

    (finding,) = judgement.findings
    assert (finding.id, finding.edges) == ("protocol-drop", (("n0", "n2"),))
    assert "dns-udp" in finding.summary
    assert "by protocol" in judgement.patterns


def test_two_pods_that_alone_do_not_reach_each_other_are_a_pair() -> None:
    """Other pods of both nodes do."""
    state = healthy_state(replace(FOUR, pods=2))
    pair = Weather(drops=lambda s, d, _: {s, d} == {"n0-p1", "n1-p1"})

    judgement = judge(World(state, pair).observe(), state)

    (finding,) = judgement.findings
    assert (finding.id, finding.pods) == ("pair-loss", ("n0-p1", "n1-p1"))


def test_many_single_pairs_without_a_shape_are_unexplained() -> None:
    """No cause is invented for a riddle; every failing pair is in the finding."""
    state = healthy_state(replace(FOUR, pods=3))
    lost = {("n0-p0", "n1-p1"), ("n0-p1", "n2-p2"), ("n0-p2", "n3-p0"), ("n1-p0", "n2-p1")} | {
        ("n1-p2", "n3-p1"),
        ("n2-p0", "n3-p2"),
        ("n1-p1", "n3-p0"),
        ("n2-p2", "n3-p1"),
    }
    odd = Weather(drops=lambda s, d, p: p == "icmp" and ((s, d) in lost or (d, s) in lost))

    judgement = judge(World(state, odd).observe(), state)

    assert "unexplained" in ids(judgement)
    explained = {pair for one in judgement.findings for pair in one.explained}
    assert len(explained) == judgement.findings[0].of


def test_a_loss_that_no_table_shows_says_so() -> None:
    """The edge, and that nothing in the tables is the cause."""
    state = healthy_state(FOUR)
    home = {p.name: p.node for p in (*state.inventory.pods, *state.inventory.replicas)}
    drop = Weather(drops=lambda a, b, _: (home[a], home[b]) == ("n2", "n0"))

    judgement = judge(World(state, drop).observe(), state, before=state)

    (finding,) = judgement.findings
    assert (finding.id, finding.edges, finding.entries) == ("one-way-drop", (("n2", "n0"),), ())
    assert "no cause in the tables: every entry about it is right" in finding.evidence
    assert any("took no frame for another MAC" in line for line in finding.evidence)
    assert set(judgement.unpredicted) == set(finding.explained)
