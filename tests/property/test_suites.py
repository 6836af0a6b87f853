"""What suites decide and print, for any cluster and any text."""

from __future__ import annotations

from random import Random
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from clusters.errors import GraymeshError, UsageError
from clusters.providers.base import ClusterSpec
from clusters.topology import Inventory, Node, Pod, Replica
from suites.choosing import carriers, off_one_node, spread, stale_peers
from suites.cli.dispatch import find
from suites.cli.options import spec_of
from suites.cli.parsing import key_values, verb_parser
from suites.record import Record, RunRequest
from suites.report.junit import junit
from suites.report.run_document import run_document
from suites.report.terminal import render
from suites.scenario import Assertion
from suites.scenarios import SCENARIOS

SEEDS = st.integers(0, 2**63 - 1)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Three to twelve nodes, replicas anywhere."""
    nodes = draw(st.integers(3, 12))
    places = draw(st.lists(st.integers(0, nodes - 1), min_size=1, max_size=6))
    return Inventory(
        provider="twin",
        name="t",
        vips=("10.96.0.10",),
        nodes=tuple(
            Node(name=f"n{i}", underlay=(f"172.18.0.{i + 2}",), pod_cidrs=(f"10.244.{i}.0/24",))
            for i in range(nodes)
        ),
        pods=tuple(
            Pod(name=f"n{i}-p0", node=f"n{i}", ips=(f"10.244.{i}.2",)) for i in range(nodes)
        ),
        replicas=tuple(
            Replica(name=f"dns-{k}", node=f"n{i}", ips=(f"10.244.{i}.{k + 3}",))
            for k, i in enumerate(places)
        ),
    )


@given(inventories(), SEEDS, st.data())
def test_some_peers_are_stale_never_all(
    inventory: Inventory, seed: int, data: st.DataObject
) -> None:
    """Whatever the placement: a stale peer with a replica, and a fresh one where two peers have any."""
    victim = data.draw(st.sampled_from([node.name for node in inventory.nodes]))
    carrying = set(carriers(inventory)) - {victim}

    stale = set(stale_peers(inventory, victim, Random(seed)))

    fresh = {node.name for node in inventory.nodes} - stale - {victim}
    assert stale
    assert fresh
    assert victim not in stale
    assert bool(stale & carrying) is bool(carrying)
    assert len(carrying) < 2 or fresh & carrying


@given(st.integers(1, 30), st.integers(1, 12), SEEDS)
def test_placement_is_even(nodes: int, replicas: int, seed: int) -> None:
    """No node carries two replicas while another that may carry one has none."""
    spec = ClusterSpec(nodes=nodes, dns_replicas=replicas)
    for place, usable in ((spread, nodes), (off_one_node, max(nodes - 1, 1))):
        places = place(spec, Random(seed))

        assert len(places) == replicas
        assert len(set(places)) == min(usable, replicas)
        assert all(0 <= one < nodes for one in places)


@given(st.text(), st.text())
def test_any_text_becomes_well_formed_reports(message: str, name: str) -> None:
    """Messages come from tools and kernels, names from users."""
    record = Record(
        request=RunRequest(
            scenario=SCENARIOS["healthy"],
            run_id=name,
            seed=1,
            spec=ClusterSpec(name="t"),
            words=("run", name),
        )
    )
    record.assertions.append(Assertion(name="clean", outcome="fail", message=message))
    record.fail(GraymeshError(message))
    document = run_document(record)

    assert ET.fromstring(junit([document])).tag == "testsuites"  # noqa: S314  # our own output
    assert render(document).endswith("\n")


@given(st.lists(st.text()))
def test_parameters_are_parsed_or_refused(words: list[str]) -> None:
    """Nothing but a UsageError, of one line when printed."""
    try:
        values = key_values("inject", words)
    except UsageError:
        return
    assert [f"{key}={value}" for key, value in values.items()] == words


@given(
    st.lists(
        st.sampled_from(["--nodes", "--name", "--dialect", "--cni", "4", "-1", "", "\x00", "é"])
    )
)
def test_options_are_parsed_or_refused(words: list[str]) -> None:
    """Whatever is typed: a spec or a UsageError."""
    name, verb = find(["up"])
    parser = verb_parser(name, "x")
    verb.arguments(parser)
    args: Any = None
    try:
        args = parser.parse_intermixed_args(words)
        spec_of(args, name="x")
    except UsageError:
        return
    assert args.nodes is None or args.nodes >= 1
