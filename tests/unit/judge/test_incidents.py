"""Known incidents and the ones they are mistaken for: what the judgement says about each."""

from __future__ import annotations

from dataclasses import replace

from clusters.state import Address, ClusterState, Lease, NodeState, Route
from probes import testing as made
from probes.judge import judge
from probes.model import Entry, Finding, State
from probes.testing import Shape, changed, healthy_state
from tests.judging.world import World

OLD = "02:de:ad:00:00:01"
FOUR = Shape(nodes=4, replicas=3, replica_nodes=(1, 2, 3))


def only(state: ClusterState) -> Finding:
    """The one finding about a full look at the cluster."""
    (finding,) = judge(World(state).observe(), state).findings
    return finding


def stale(state: ClusterState, *observers: str, forgotten: bool = False) -> ClusterState:
    """Those nodes keep an old MAC of n0; `forgotten`: and have no forwarding entry for the new one."""
    for observer in observers:
        state = changed(state, observer, made.set_neigh(made.gateway(0), OLD))
        state = changed(state, observer, made.set_fdb(OLD, made.underlay(0)))
        if forgotten:
            state = changed(state, observer, made.del_fdb(made.mac(0)))
    return state


def neigh(observer: str, have: str | None = OLD) -> Entry:
    """What is wrong with an observer's neighbour entry of n0."""
    return Entry(observer, "n0", "neigh", made.gateway(0), have, made.mac(0))


def fdb(observer: str) -> Entry:
    """The missing forwarding entry of n0's new MAC."""
    return Entry(observer, "n0", "fdb", made.mac(0), None, made.underlay(0))


def test_the_founding_incident_names_two_directions_and_two_entries() -> None:
    """Round trips show n0 and n2 as mutually dead; only the frames towards n0 are lost, for one entry on each peer."""
    finding = only(stale(healthy_state(FOUR), "n2", "n3"))

    assert finding.id == "vtep-mac-stale-on-some-peers"
    assert finding.edges == (("n2", "n0"), ("n3", "n0"))
    assert finding.entries == (neigh("n2"), neigh("n3"))
    assert finding.summary == (
        f"n2 and n3 keep the old MAC {OLD} of n0's overlay device (now {made.mac(0)}):"
        " frames n2→n0 and n3→n0 are dropped at n0."
    )
    assert [one.argv for one in finding.repair] == [
        tuple(
            f"ip neigh replace 10.244.0.0 lladdr {made.mac(0)} dev flannel.1 nud permanent".split()
        )
    ] * 2


def test_the_old_forwarding_entry_is_residue_and_not_a_cause() -> None:
    """It loses nothing: a note, on each peer that has it."""
    state = stale(healthy_state(FOUR), "n2", "n3")

    (note,) = judge(World(state).observe(), state).notes

    assert note.id == "fdb-residue"
    assert note.entries == tuple(
        Entry(peer, "n0", "fdb", OLD, made.underlay(0), None) for peer in ("n2", "n3")
    )


def test_the_vip_row_is_explained_by_the_replicas_behind_it() -> None:
    """Two of three replicas are out of reach of n0's pods: a fresh query fails with 2/3, by the same finding."""
    finding = only(stale(healthy_state(FOUR), "n2", "n3"))

    (line,) = (line for line in finding.evidence if line.startswith("VIP"))
    assert line.startswith("VIP from n0-p0: expected 2/3 lost, measured ")
    assert len(finding.explained) == finding.of


def test_a_frozen_peer_lacks_the_new_forwarding_entry_as_well() -> None:
    """1a against 1b: an agent that missed the event has two wrong entries, and both commands are printed."""
    finding = only(stale(healthy_state(FOUR), "n2", "n3", forgotten=True))

    assert finding.id == "vtep-mac-stale-on-some-peers"
    assert set(finding.entries) == {neigh("n2"), fdb("n2"), neigh("n3"), fdb("n3")}
    assert {one.argv[0] for one in finding.repair} == {"ip", "bridge"}


def test_all_peers_stale_is_another_id_than_some() -> None:
    """Every peer disagrees with the owner's live MAC, and the lease is the live one."""
    finding = only(stale(healthy_state(FOUR), "n1", "n2", "n3"))

    assert finding.id == "vtep-mac-stale-on-all-peers"
    assert {one.observer for one in finding.entries} == {"n1", "n2", "n3"}


def test_a_rewritten_mac_blames_the_owner_and_not_its_peers() -> None:
    """1 against 4: all peers agree with the lease, so the device is the odd one: one entry, not one per peer."""
    state = healthy_state(FOUR)
    link = state.nodes["n0"].links["flannel.1"]._replace(mac="02:99:00:00:00:01")

    finding = only(changed(state, "n0", made.set_link(link)))

    assert finding.id == "vtep-mac-rewritten"
    (entry,) = finding.entries
    assert (entry.observer, entry.owner, entry.table) == ("n0", "n0", "link")
    assert entry.want is not None
    assert made.mac(0) in entry.want


def test_a_mac_changed_on_every_node_is_a_note() -> None:
    """The lease alone is old: nothing is lost."""
    state = healthy_state(FOUR)
    link = state.nodes["n0"].links["flannel.1"]._replace(mac=OLD)
    state = changed(state, "n0", made.set_link(link))
    for peer in ("n1", "n2", "n3"):
        state = changed(state, peer, made.set_neigh(made.gateway(0), OLD))
        state = changed(state, peer, made.del_fdb(made.mac(0)))
        state = changed(state, peer, made.set_fdb(OLD, made.underlay(0)))

    judgement = judge(World(state).observe(), state)

    assert (judgement.verdict, judgement.findings) == (State.PASS, ())
    assert [one.id for one in judgement.notes] == ["lease-differs"]


def test_the_memory_of_an_on_miss_agent_is_another_id_than_programmed_entries() -> None:
    """1 against 2: one route for all, and aging neighbours per pod address."""
    state = healthy_state(replace(FOUR, dialect="l3miss"))
    ip = made.pod_ip(0, 0)
    for change in (
        made.set_neigh(ip, OLD, nud="stale"),
        made.set_fdb(OLD, made.underlay(0)),
        made.del_fdb(made.mac(0)),
    ):
        state = changed(state, "n2", change)

    finding = only(state)

    assert finding.id == "vtep-mac-stale-in-memory-l3miss"
    assert set(finding.entries) == {Entry("n2", "n0", "neigh", ip, OLD, made.mac(0)), fdb("n2")}


def test_an_entry_that_only_has_to_age_is_told_from_an_old_memory() -> None:
    """The agent has heard of the new MAC: its forwarding entry is there."""
    state = healthy_state(replace(FOUR, dialect="l3miss"))
    state = changed(state, "n2", made.set_neigh(made.pod_ip(0, 0), OLD, nud="stale"))
    state = changed(state, "n2", made.set_fdb(OLD, made.underlay(0)))

    finding = only(state)

    assert finding.id == "vtep-neigh-stale-until-aged"
    assert any("heals within about a minute" in line for line in finding.evidence)


def test_a_pinned_pod_entry_concerns_that_pod_alone() -> None:
    """3 in the on-miss layout: the only case in which two pods of one node differ."""
    state = healthy_state(replace(FOUR, dialect="l3miss", pods=2))
    state = changed(state, "n2", made.set_neigh(made.pod_ip(0, 1), OLD))
    state = changed(state, "n2", made.set_fdb(OLD, made.underlay(0)))

    finding = only(state)

    assert finding.id == "vtep-neigh-hand-pinned"
    assert (finding.edges, finding.pods) == ((("n2", "n0"),), ("n0-p1",))


def test_a_missing_route_loses_both_directions_only_where_the_filter_is_strict() -> None:
    """Answers would leave another way: strict rp_filter drops the requests too. One entry either way."""
    strict = only(changed(healthy_state(FOUR), "n2", made.del_route(made.cidr(0))))
    loose = only(
        changed(healthy_state(replace(FOUR, rp_filter=0)), "n2", made.del_route(made.cidr(0)))
    )

    assert strict.edges == (("n0", "n2"), ("n2", "n0"))
    assert loose.edges == (("n2", "n0"),)
    assert strict.entries == loose.entries
    assert any("reverse path" in line for line in strict.evidence)


def _emptied(node: NodeState) -> NodeState:
    return replace(made.flap_link("flannel.1")(node), fdb=())


def test_a_device_that_came_back_empty_is_the_same_cause_as_one_that_stayed_away() -> None:
    """19: static keeps the node without device, persistent makes it anew without entries."""
    gone = only(changed(healthy_state(FOUR), "n0", made.del_link("flannel.1")))
    empty = only(changed(healthy_state(FOUR), "n0", _emptied))

    assert gone.id == empty.id == "vxlan-device-deleted"
    assert gone.edges == empty.edges
    assert len(gone.edges) == 6
    assert {one.table for one in gone.entries} == {"link", "neigh", "fdb", "route"}
    assert {one.table for one in empty.entries} == {"neigh", "fdb", "route"}


def test_without_the_filter_an_empty_device_loses_only_what_the_node_sends() -> None:
    """rp_filter 0: requests reach n0's pods, their answers do not come back."""
    state = changed(healthy_state(replace(FOUR, rp_filter=0)), "n0", _emptied)

    assert only(state).edges == (("n0", "n1"), ("n0", "n2"), ("n0", "n3"))


def test_a_flapped_device_keeps_its_forwarding_entries() -> None:
    """20: down and up flushes routes and neighbours alone."""
    finding = only(changed(healthy_state(FOUR), "n0", made.flap_link("flannel.1")))

    assert finding.id == "vxlan-device-flapped"
    assert {one.table for one in finding.entries} == {"neigh", "route"}


def test_a_device_without_its_address_says_so() -> None:
    """Removing the last address takes routes and neighbours along: the address is mended first."""

    def bare(node: NodeState) -> NodeState:
        kept = tuple(row for row in node.addresses if row.device != "flannel.1")
        return replace(made.flap_link("flannel.1")(node), addresses=kept)

    finding = only(changed(healthy_state(FOUR), "n0", bare))

    assert finding.id == "vtep-address-missing"
    assert finding.repair[0].argv == (
        "ip",
        "address",
        "replace",
        "10.244.0.0/32",
        "dev",
        "flannel.1",
    )


def test_all_entries_about_one_peer_missing_is_one_cause() -> None:
    """14 and 15: one ordered pair lost its route, neighbour and forwarding entry."""
    state = healthy_state(FOUR)
    for change in (
        made.del_neigh(made.gateway(0)),
        made.del_fdb(made.mac(0)),
        made.del_route(made.cidr(0)),
    ):
        state = changed(state, "n2", change)

    finding = only(state)

    assert finding.id == "peer-entries-missing"
    assert {one.table for one in finding.entries} == {"neigh", "fdb", "route"}


def test_swapped_node_addresses_split_the_cluster_in_two_blocks() -> None:
    """9: two peers send to each of two nodes what is for the other; every wrong destination is named."""
    state = healthy_state(FOUR)
    for peer in ("n2", "n3"):
        state = changed(state, peer, made.set_fdb(made.mac(0), made.underlay(1)))
        state = changed(state, peer, made.set_fdb(made.mac(1), made.underlay(0)))

    findings = judge(World(state).observe(), state).findings

    assert {one.id for one in findings} == {"fdb-dst-wrong"}
    assert {edge for one in findings for edge in one.edges} == {
        (a, b) for a in ("n2", "n3") for b in ("n0", "n1")
    }
    assert sum(len(one.entries) for one in findings) == 4


def test_a_changed_node_address_is_the_peers_fault_once_it_is_published() -> None:
    """8: the lease has the new address and so has the device; the peers' forwarding entries are old."""
    state = healthy_state(FOUR)

    def moved(node: NodeState) -> NodeState:
        rows = tuple(
            Address("eth0", "172.18.0.77/16") if row.device == "eth0" else row
            for row in node.addresses
        )
        link = node.links["flannel.1"]._replace(vxlan_local="172.18.0.77")
        return replace(node, addresses=rows, links={**node.links, "flannel.1": link})

    lease = Lease("n0", made.cidr(0), "172.18.0.77", made.mac(0))
    state = replace(changed(state, "n0", moved), leases=(lease, *state.leases[1:]))

    finding = only(state)

    assert finding.id == "fdb-dst-wrong"
    assert finding.edges == (("n1", "n0"), ("n2", "n0"), ("n3", "n0"))
    assert {one.want for one in finding.entries} == {"172.18.0.77"}


def test_the_same_pods_claimed_by_two_nodes_is_blamed_on_the_route_where_flows_fail() -> None:
    """58: a route with two hops, each flow takes one; the tables leave open which, the failing pairs decide."""
    state = healthy_state(FOUR)
    hops = ((made.gateway(0), "flannel.1"), ("10.244.77.0", "flannel.1"))
    state = changed(state, "n2", made.set_route(Route(made.cidr(0), nexthops=hops)))
    observation = World(state).observe()
    broken = World(stale(state, "n2")).observe()

    assert judge(observation, state).findings == ()
    (finding,) = judge(broken, state).findings
    assert finding.id == "overlay-route-wrong"
    assert finding.edges == (("n2", "n0"),)
    assert finding.confidence < 0.9


def test_an_underlay_address_that_nobody_answers_for_is_the_senders_entry() -> None:
    """1 against 8: nothing arrives at n0 at all."""
    state = changed(healthy_state(FOUR), "n2", made.set_fdb(made.mac(0), "172.18.0.254"))

    finding = only(state)

    assert (finding.id, finding.edges) == ("fdb-dst-wrong", (("n2", "n0"),))


def test_several_wrong_observers_of_one_route_are_grouped_by_owner() -> None:
    """One cause and one owner: one finding; the owner is what they have in common."""
    state = healthy_state(replace(FOUR, rp_filter=0))
    for peer in ("n1", "n2", "n3"):
        state = changed(state, peer, made.del_route(made.cidr(0)))

    finding = only(state)

    assert (finding.id, len(finding.entries)) == ("overlay-route-missing", 3)


def test_entries_of_a_node_that_is_gone_are_notes() -> None:
    """A recreated node leaves its old podCIDR on its peers: neighbour, forwarding entry and route."""
    state = healthy_state(FOUR)
    for change in (
        made.set_neigh("10.244.99.0", OLD),
        made.set_fdb(OLD, made.underlay(0)),
        made.set_route(
            Route("10.244.99.0/24", "flannel.1", "10.244.99.0", onlink=True, protocol=3)
        ),
    ):
        state = changed(state, "n2", change)

    judgement = judge(World(state).observe(), state)

    assert judgement.verdict is State.PASS
    entries = {(n.id, e.owner, e.table) for n in judgement.notes for e in n.entries}
    assert entries == {
        ("entry-for-unknown-node", "n0", "neigh"),
        ("entry-for-unknown-node", "n0", "route"),
        ("fdb-residue", "n0", "fdb"),
    }


def test_only_one_family_of_a_dual_stack_cluster_is_judged_lost() -> None:
    """6: the IPv6 entries of one peer are old, IPv4 is fine; audited, for the prober speaks IPv4."""
    state = healthy_state(replace(FOUR, dual=True))
    state = changed(state, "n2", made.set_neigh(made.gateway(0, "ipv6"), OLD, "flannel-v6.1"))

    (finding,) = judge(None, state).findings

    assert finding.edges == (("n2", "n0"),)
    (entry,) = finding.entries
    assert (entry.key, entry.want) == (made.gateway(0, "ipv6"), made.mac(0, "ipv6"))
    assert "flannel-v6.1" in finding.repair[0].argv
