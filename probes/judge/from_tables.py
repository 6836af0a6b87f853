"""Causes that the tables show, as findings."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from probes.defects import Defect
from probes.judge import counters, words
from probes.judge.causes import Cause, Standing
from probes.judge.grouping import Group
from probes.judge.repair import repairs
from probes.judge.scene import Scene
from probes.model import Entry, Finding
from probes.predict import Leg, between_nodes
from probes.truth import Truth

_IDS: Final = {
    "vxlan-device-missing": "vxlan-device-deleted",
    "vxlan-device-emptied": "vxlan-device-deleted",
}
_ENTRIES_EACH: Final = 3  # neighbour, FDB, route of one peer


def finding(scene: Scene, truth: Truth, cause: Cause) -> Finding:
    """One cause with everything that is known about it."""
    along = _address_along(truth, cause.group)
    kind = "vtep-address-missing" if along else _kind(truth, cause.group)
    defects = (*cause.group.defects, *along)
    entries = tuple(sorted({one.entry for one in defects}, key=_order))
    edges = between_nodes(cause.legs)
    lost = words.arrows(edges)
    role = cause.group.role
    summary = (
        words.of_tables(kind, cause.group.centre, role, entries, lost)
        if entries
        else f"packets {lost} are lost on their way ({cause.legs[0].reason}), by the tables."
    )
    return Finding(
        id=_IDS.get(kind, _stale_id(truth, kind, entries)),
        summary=summary,
        confidence=cause.confidence,
        edges=edges,
        pods=_pods(scene, cause.legs),
        entries=entries,
        explained=cause.explained,
        of=scene.of,
        evidence=_evidence(scene, truth, cause, entries),
        repair=repairs(entries, truth),
    )


def _kind(truth: Truth, group: Group) -> str:
    """The kind, after a look at how much of a node's tables it takes."""
    if group.kind != "peer-entries-missing" or group.role != "observer":
        return group.kind
    about = {one.entry.owner for one in group.defects}
    others = {node for node in truth.tables if node != group.centre}
    if len(others) < 2 or about != others:
        return group.kind
    tables = {one.entry.table for one in group.defects}
    if "fdb" in tables and len(group.defects) == _ENTRIES_EACH * len(about):
        return "vxlan-device-emptied"
    return "vxlan-device-flapped" if tables == {"neigh", "route"} else group.kind


def _stale_id(truth: Truth, kind: str, entries: Iterable[Entry]) -> str:
    if kind != "vtep-mac-stale":
        return kind
    observers = {one.observer for one in entries}
    others = {node for own in truth.owners.values() if (node := own.node)}
    everybody = len(observers) > 1 and len(observers) == len(others) - 1
    return f"vtep-mac-stale-on-{'all' if everybody else 'some'}-peers"


def _address_along(truth: Truth, group: Group) -> list[Defect]:
    """A node whose overlay device lost its address lost its routes and neighbours with it (catalogue D.5)."""
    tables = truth.tables.get(group.centre)
    if tables is None or group.kind != "peer-entries-missing" or group.role != "observer":
        return []
    return [
        Defect(group.kind, Entry(own.node, own.node, "address", key, None, f"dev {own.device}"))
        for own in truth.owners.values()
        if own.node == group.centre
        and own.device in tables.links
        and own.gateway not in tables.local
        for key in [f"{own.gateway}/{'128' if ':' in own.gateway else '32'}"]
    ]


def _order(entry: Entry) -> tuple[bool, tuple[str, ...]]:
    return entry.observer != entry.owner, tuple(field or "" for field in entry)


def _pods(scene: Scene, legs: Collection[Leg]) -> tuple[str, ...]:
    """The places that are concerned, where on one of the nodes only some are."""
    assert scene.prediction is not None
    homes: dict[str, set[str]] = {}
    for place, key in (*scene.prediction.targets.items(), *scene.prediction.sources.items()):
        homes.setdefault(key[0], set()).add(place[0])
    narrow: set[str] = set()
    for edge in {leg.edge for leg in legs}:
        ours = [leg for leg in legs if leg.edge == edge]
        for node, hit in (
            (edge[0], {place for leg in ours for place in leg.sources}),
            (edge[1], {place for leg in ours for place in leg.targets}),
        ):
            narrow |= hit if hit < homes.get(node, set()) else set()
    return tuple(sorted(narrow))


def _evidence(
    scene: Scene, truth: Truth, cause: Cause, entries: tuple[Entry, ...]
) -> tuple[str, ...]:
    lines = [words.entry_text(entry) for entry in entries[:_LINES]]
    if len(entries) > _LINES:
        lines.append(f"and {len(entries) - _LINES} more entries")
    lines += counters.evidence(scene, cause.legs)
    lines += _oneway_lines(scene, cause)
    lines += _filters(truth, cause.legs)
    if cause.standing is Standing.DISPUTED:
        lines.append("some pairs that cross these entries passed: it may have changed meanwhile")
    if cause.group.kind == "vtep-mac-stale-in-memory-l3miss":
        lines.append("it lasts only if flanneld on the observers restarts: its memory is old")
    if cause.group.kind == "vtep-neigh-stale-until-aged":
        lines.append("these entries age: without repair it heals within about a minute of traffic")
    return tuple(lines)


_LINES: Final = 6


def _oneway_lines(scene: Scene, cause: Cause) -> Iterable[str]:
    """What was counted at the receivers, for both directions of each edge."""
    edges = {leg.edge for leg in cause.legs}
    counts: dict[tuple[str, str], list[int]] = {}
    for one in scene.oneways:
        edge = (scene.node(one.pair.src), scene.node(one.pair.dst))
        if edge in edges or edge[::-1] in edges:
            seen = counts.setdefault(edge, [0, 0])
            seen[0] += one.ok
            seen[1] += one.sent
    listed = sorted(counts)[: 2 * _LINES]
    if not listed:
        return []
    text = ", ".join(f"{a}→{b} {counts[a, b][0]}/{counts[a, b][1]}" for a, b in listed)
    more = f" and {len(counts) - len(listed)} more" if len(counts) > len(listed) else ""
    return [f"one-way packets that arrived: {text}{more}"]


def _filters(truth: Truth, legs: Iterable[Leg]) -> list[str]:
    """Strict reverse path filters that turn a missing route into loss in both directions."""
    nodes = dict.fromkeys(leg.path[-1] for leg in legs if leg.reason == "rp-filter")
    return [
        f"{node} filters by reverse path (rp_filter {truth.tables[node].settings.get('rp_filter/all', 0)})"
        for node in nodes
    ]
