"""What remains different after a healing fault: node facts, and what other nodes' tables say. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from chaos.model import Change, Facts
from chaos.tables import dump
from clusters.state import ClusterState


def changed(before: Mapping[str, Facts], after: Mapping[str, Facts]) -> tuple[Change, ...]:
    """The nodes that are not what they were."""
    return tuple(
        Change(node, before[node], after[node])
        for node in before
        if node in after and before[node] != after[node]
    )


def about(
    state: ClusterState, facts: Iterable[Facts], *, but: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """What every node's tables say that mentions one of these MACs or podCIDRs; not those of the nodes `but`."""
    marks = tuple(mark for each in facts for mark in _marks(each))
    return {
        node: tuple(sorted(line for line in lines if any(mark in line for mark in marks)))
        for node, lines in dump(state).items()
        if node not in but
    }


def in_words(
    changes: Iterable[Change],
    before: Mapping[str, tuple[str, ...]],
    after: Mapping[str, tuple[str, ...]],
) -> tuple[str, ...]:
    """The differences: of the nodes themselves, then of what the others hold, each with all nodes that hold it."""
    gone, new = _by_line(before, after), _by_line(after, before)
    return (
        *(line for change in changes for line in _change_lines(change)),
        *(f"on {', '.join(nodes)} gone: {line}" for line, nodes in gone.items()),
        *(f"on {', '.join(nodes)} new: {line}" for line, nodes in new.items()),
    )


def _by_line(
    these: Mapping[str, tuple[str, ...]], without: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    nodes: dict[str, list[str]] = {}
    for node, lines in these.items():
        for line in lines:
            if line not in without.get(node, ()):
                nodes.setdefault(line, []).append(node)
    return nodes


def _marks(facts: Facts) -> Iterator[str]:
    if facts.mac:
        yield facts.mac
    yield facts.pod_cidr
    yield facts.pod_cidr.partition("/")[0] + " "


def _change_lines(change: Change) -> Iterator[str]:
    for name, was, now in (
        ("VTEP MAC", change.before.mac, change.after.mac),
        ("underlay address", change.before.underlay, change.after.underlay),
        ("podCIDR", change.before.pod_cidr, change.after.pod_cidr),
    ):
        if was != now:
            yield f"{change.node}: {name} was {was}, is {now}"
    if change.rebooted:
        yield f"{change.node}: rebooted"
