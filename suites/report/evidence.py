"""Tables and measurements as documents, for the run folder."""

from __future__ import annotations

from clusters.state import ClusterState, NodeState
from probes.model import Observation
from suites.report.json import pair_row


def state_document(state: ClusterState) -> dict[str, object]:
    """Every node's tables, settings and counters as they were read."""
    return {
        "schema": "graymesh/tables/1",
        "nodes": {name: _node(node) for name, node in state.nodes.items()},
        "leases": [lease._asdict() for lease in state.leases],
        "unreadable": dict(state.unreadable),
    }


def pairs_document(observation: Observation) -> dict[str, object]:
    """Every pair with its counts, those that pass too."""
    return {
        "schema": "graymesh/pairs/1",
        "timeout_s": observation.timeout_s,
        "duration_s": observation.duration_s,
        "trouble": list(observation.trouble),
        "pairs": [pair_row(one) for one in observation.pairs],
    }


def _node(node: NodeState) -> dict[str, object]:
    vip = {transport: list(to) for transport, to in node.vip.targets.items()} if node.vip else None
    return {
        "links": [link._asdict() for link in node.links.values()],
        "addresses": [one._asdict() for one in node.addresses],
        "neighbours": [one._asdict() for one in node.neighbours],
        "fdb": [one._asdict() for one in node.fdb],
        "routes": [one._asdict() for one in node.routes],
        "settings": dict(node.settings),
        "counters": dict(node.counters),
        "vip": vip,
    }
