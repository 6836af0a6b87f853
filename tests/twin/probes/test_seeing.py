"""What the engine sees of a cluster, healthy and broken, on the running kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from clusters.errors import ClusterGoneError
from clusters.providers.twin.client import TwinCluster
from clusters.waiting import Deadline, poll_until
from probes.counters import echo_counters
from probes.engine import Tuning, sweep
from probes.model import PROTOCOLS, Observation, PairResult, State
from probes.plan import make_plan

pytestmark = pytest.mark.twin

Look = Callable[..., Observation]
Rule = Callable[..., contextlib.AbstractContextManager[None]]

PODS = ("n0-p0", "n1-p0", "n2-p0", "n3-p0")
REPLICAS = ("dns-0", "dns-1", "dns-2")


def failed(observation: Observation) -> set[tuple[str, str]]:
    """The (source, destination) of all pairs that fail; none may be unknown."""
    assert not [result for result in observation.pairs if result.state is State.UNKNOWN]
    return {(r.pair.src, r.pair.dst) for r in observation.pairs if r.state is State.FAIL}


def result(observation: Observation, src: str, dst: str) -> PairResult:
    """The one result of that pair."""
    (found,) = [r for r in observation.pairs if (r.pair.src, r.pair.dst) == (src, dst)]
    return found


def test_a_healthy_cluster_passes_by_every_protocol(look: Look) -> None:
    """Every planned pair has a result with all probes answered, and latencies from the kernel's clock."""
    seen = look(*PROTOCOLS)

    assert failed(seen) == set()
    assert {r.pair.protocol for r in seen.pairs} == set(PROTOCOLS)
    assert all(r.sent == r.ok >= 5 for r in seen.pairs)
    assert all(
        r.latency and 0 <= r.latency.min_us <= r.latency.median_us <= r.latency.p99_us < 1e6
        for r in seen.pairs
    )
    assert seen.trouble == ()


def test_fresh_ports_spread_over_the_replicas_and_a_pinned_port_does_not(look: Look) -> None:
    """Conntrack gives every answer of one flow to one replica."""
    seen = look("vip", "vip-pinned")

    fresh = [r for r in seen.pairs if r.pair.protocol == "vip"]
    pinned = [r for r in seen.pairs if r.pair.protocol == "vip-pinned"]
    assert {name for r in fresh for name in r.answered_by} == set(REPLICAS)
    assert all(sum(r.answered_by.values()) == r.ok for r in (*fresh, *pinned))
    assert all(len(r.answered_by) == 1 for r in pinned)


def test_a_pod_that_drops_what_comes_in_fails_both_ways_and_others_pass(
    look: Look, rule: Rule
) -> None:
    """A round trip cannot tell the direction; the pairs of other pods are untouched."""
    with rule("n1-p0", "INPUT", "-p", "icmp", "-j", "DROP"):
        seen = look("icmp")

    others = set(PODS) - {"n1-p0"}
    assert failed(seen) == {
        *((pod, "n1-p0") for pod in others),
        *(("n1-p0", place) for place in (*others, *REPLICAS)),
    }
    assert result(seen, "n0-p0", "n1-p0").errors == {"timeout": 5}
    assert failed(look("icmp")) == set()


def test_a_pod_whose_own_rules_forbid_sending_fails_at_once(look: Look, rule: Rule) -> None:
    """The refusal of a send is what any client in that pod meets, so it is data, with its own kind."""
    with rule("n1-p0", "OUTPUT", "-d", "10.244.2.0/24", "-j", "DROP"):
        seen = look("icmp", "oneway")
    with rule("n1-p0", "OUTPUT", "-p", "udp", "--dport", "53", "-j", "DROP"):
        dns = look("dns-udp", "vip", "vip-pinned")

    assert ("n1-p0", "n2-p0") in failed(seen)
    assert [r.errors for r in seen.pairs if (r.pair.src, r.pair.dst) == ("n1-p0", "n2-p0")] == [
        {"prohibited": 5},
        {"prohibited": 5},
    ]
    assert ("n1-p0", "n0-p0") not in failed(seen)
    assert failed(dns) == {("n1-p0", name) for name in (*REPLICAS, "vip")}
    assert all(r.errors == {"prohibited": r.sent} for r in dns.pairs if r.pair.src == "n1-p0")


def test_oneway_names_the_direction_that_a_round_trip_cannot(look: Look, rule: Rule) -> None:
    """Frames from n2 to n0 are dropped; answers to n0's probes are such frames."""
    with rule("n0", "FORWARD", "-s", "10.244.2.0/24", "-d", "10.244.0.0/24", "-j", "DROP"):
        oneway = look("oneway")
        round_trip = look("icmp")

    assert failed(oneway) == {("n2-p0", "n0-p0")}
    assert {("n2-p0", "n0-p0"), ("n0-p0", "n2-p0")} <= failed(round_trip)


def test_a_stopped_replica_refuses_and_the_vip_shows_its_share(
    cluster: TwinCluster, look: Look
) -> None:
    """UDP and TCP are refused; the VIP fails in part and the others' answers are counted.

    The kernel limits how many refusals it sends (icmp_ratelimit), so some of the VIP's queries time out.
    """
    with replica_in_mode(cluster, "dns-1", "stopped"):
        seen = look("dns-udp", "dns-tcp", "vip")

    direct = [r for r in seen.pairs if r.pair.dst == "dns-1"]
    vip = [r for r in seen.pairs if r.pair.protocol == "vip"]
    assert [r.errors for r in direct] == [{"refused": 5}] * 8
    assert {dst for _src, dst in failed(seen)} == {"dns-1", "vip"}
    assert all(0 < r.ok < r.sent for r in vip)
    assert {name for r in vip for name in r.answered_by} == {"dns-0", "dns-2"}


def test_a_mute_replica_times_out_and_is_flagged_in_time(cluster: TwinCluster, look: Look) -> None:
    """A dead pair is known 1.5 s after the sweep began, with a timeout of 1 s."""
    with replica_in_mode(cluster, "dns-1", "mute"):
        seen = look("icmp", "dns-udp", "dns-tcp", "vip-pinned", "oneway")

    dead = [r for r in seen.pairs if r.pair.dst == "dns-1" and r.pair.protocol == "dns-udp"]
    assert [(r.sent, r.ok, r.errors) for r in dead] == [(5, 0, {"timeout": 5})] * 4
    assert seen.duration_s <= 1.5


def test_partial_loss_is_probed_further_and_decided(look: Look, rule: Rule) -> None:
    """Every second packet lost fails; one in two hundred does not, though the burst may meet it."""
    every = ("-p", "icmp", "-m", "statistic", "--mode", "nth", "--packet", "0", "--every")

    with rule("n1-p0", "INPUT", *every, "2", "-j", "DROP"):
        half = look("icmp")
    with rule("n1-p0", "INPUT", *every, "200", "-j", "DROP"):
        some = look("icmp", count=50)

    touched = [r for r in half.pairs if "n1-p0" in {r.pair.src, r.pair.dst}]
    assert {r.state for r in touched} == {State.FAIL}
    assert all(0 < r.ok < r.sent for r in touched)
    assert failed(some) == set()
    assert sum(r.sent - r.ok for r in some.pairs) > 0


def test_a_node_without_a_route_says_so(cluster: TwinCluster, look: Look) -> None:
    """An ICMP error is read from the answers' socket and named, and it ends the wait."""
    cluster.run("n3", ("ip", "route", "add", "unreachable", "10.244.1.0/24", "metric", "1"))
    cluster.run("n3", ("ip", "route", "del", "10.244.1.0/24", "dev", "flannel.1"))
    try:
        seen = look("icmp")
    finally:
        cluster.run("n3", ("ip", "route", "del", "unreachable", "10.244.1.0/24"))
        cluster.restart_agent("n3")

    errors = result(seen, "n3-p0", "n1-p0").errors
    assert sum(errors.values()) == 5
    assert "unreachable-host" in errors  # the kernel limits how many such errors it sends
    assert failed(look("icmp")) == set()


def test_the_kernel_counts_as_many_echos_as_the_prober(cluster: TwinCluster) -> None:
    """Per pod, requests out and replies in, with two threads sending."""
    plan = make_plan(cluster.inventory(), ("icmp",), count=200)
    before = {pod: echo_counters(cluster.vantage(pod)) for pod in PODS}

    seen = sweep(cluster, plan, tuning=Tuning(lanes=2))

    assert seen.stats is not None
    assert seen.stats.icmp == 24 * 200
    for pod in PODS:
        after = echo_counters(cluster.vantage(pod))
        mine = [r for r in seen.pairs if r.pair.src == pod]
        assert after.out_echos - before[pod].out_echos == sum(r.sent for r in mine) == 1200
        assert after.in_echo_replies - before[pod].in_echo_replies == sum(r.ok for r in mine)
    assert failed(seen) == set()


def test_a_pod_that_does_not_exist_now_is_unknown_as_source_and_failed_as_destination(
    cluster: TwinCluster,
) -> None:
    """Nothing can be asked from it; asking it gets no answer."""
    inventory = cluster.inventory()
    plan = make_plan(inventory, ("icmp", "dns-udp", "oneway"))
    places = (*inventory.pods, *inventory.replicas)
    on_it = {place.name for place in places if place.node == "n3"}

    with node_away(cluster, "n3"):
        seen = sweep(cluster, plan)

    from_it = [r for r in seen.pairs if r.pair.src == "n3-p0"]
    to_it = [r for r in seen.pairs if r.pair.dst == "n3-p0"]
    assert {r.state for r in from_it} == {State.UNKNOWN}
    assert all(r.unknown and r.unknown.startswith("vantage gone") for r in from_it)
    assert {(r.pair.protocol, r.state) for r in to_it} == {
        ("icmp", State.FAIL),
        ("oneway", State.UNKNOWN),
    }
    assert any("n3-p0" in text for text in seen.trouble)
    others = [r for r in seen.pairs if r.pair.src != "n3-p0" and r.pair.dst not in on_it]
    assert {r.state for r in others} == {State.PASS}


def test_a_pod_whose_namespace_is_replaced_meanwhile_is_unknown(cluster: TwinCluster) -> None:
    """What the old namespace could not send says nothing; that others lost it is seen."""
    plan = make_plan(cluster.inventory(), ("icmp", "oneway"), count=2000)

    with ThreadPoolExecutor(1) as pool:
        restarts: list[Future[None]] = []

        def restart_once(_text: str) -> None:
            if not restarts:
                restarts.append(pool.submit(cluster.restart_node, "n3"))

        seen = sweep(cluster, plan, progress=restart_once)
        restarts[0].result()

    assert not [r for r in seen.pairs if r.pair.src == "n3-p0" and r.state is State.FAIL]
    assert [
        r.unknown for r in seen.pairs if r.pair.src == "n3-p0" and r.pair.protocol == "icmp"
    ] == ["vantage replaced while it was probed"] * 6
    assert result(look_again(cluster), "n3-p0", "n0-p0").state is State.PASS


def look_again(cluster: TwinCluster) -> Observation:
    """One plain sweep."""
    return sweep(cluster, make_plan(cluster.inventory(), ("icmp",)))


@contextlib.contextmanager
def replica_in_mode(cluster: TwinCluster, replica: str, mode: str) -> Iterator[None]:
    """The replica is in that mode inside the block."""
    cluster.set_replica_mode(replica, mode)
    try:
        yield
    finally:
        cluster.set_replica_mode(replica, "serving")


@contextlib.contextmanager
def node_away(cluster: TwinCluster, node: str) -> Iterator[None]:
    """The node is switched off inside the block and back after it."""

    def is_away() -> bool:
        try:
            cluster.vantage(node)
        except ClusterGoneError:
            return True
        return False

    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(cluster.restart_node, node, down_s=3.0)
        poll_until(is_away, awaited=f"{node} to go away", deadline=Deadline.after(5.0))
        yield
        restart.result()
