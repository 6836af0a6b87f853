"""What is wrong or left over in the tables but loses nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from probes.audit import Audit, Deviation
from probes.defects import Defect
from probes.forwarding import Outcome
from probes.judge.causes import Standing
from probes.judge.words import arrows
from probes.model import Entry, Note
from probes.predict import Leg, Prediction

_SUMMARIES: Final = {
    "fdb-residue": "forwarding entries of MACs that no node has any more",
    "neigh-residue": "neighbour entries of single pods, beside the one of their node",
    "route-residue": "routes beside the wanted one",
    "entry-for-unknown-node": "entries about subnets or addresses of no node",
    "entry-differs": "entries that differ from what they should be, and lose nothing",
    "neigh-not-permanent": "right neighbour entries that are not permanent",
    "neigh-pinned": "right neighbour entries that were made permanent by hand",
    "route-foreign-protocol": "right routes of another protocol number than flannel writes",
    "lease-differs": "nodes that publish something else than their device is",
    "vtep-address-missing": "overlay devices without their address",
    "detour": "packets that arrive by way of another node",
    "prediction-not-confirmed": "entries that should lose packets, by which packets passed",
    "prediction-not-measured": "entries that should lose packets, by which none was sent",
}


def notes(
    audit: Audit,
    prediction: Prediction,
    named: Collection[Entry],
    unconfirmed: Iterable[tuple[Standing, Defect]],
) -> tuple[Note, ...]:
    """One note per id, with all its entries; entries that a finding names are not noted as well."""
    doubted = {
        defect.entry: "prediction-not-measured"
        if standing is Standing.UNMEASURED
        else "prediction-not-confirmed"
        for standing, defect in unconfirmed
    }
    detours = [leg for leg in prediction.legs.values() if leg.outcome is Outcome.ARRIVES]
    by_id: dict[str, list[Entry]] = defaultdict(list)
    for deviation in audit.deviations:
        if deviation.entry not in named:
            by_id[_id(deviation, detours, doubted)].append(deviation.entry)
    return tuple(_note(name, by_id[name], detours) for name in sorted(by_id))


def _id(deviation: Deviation, detours: list[Leg], doubted: dict[Entry, str]) -> str:
    if deviation.kind not in {"entry-differs", "route-residue", "neigh-residue"}:
        return deviation.kind
    entry = deviation.entry
    if entry in doubted:
        return doubted[entry]
    edge = (entry.observer, entry.owner)
    return "detour" if any(leg.edge == edge for leg in detours) else deviation.kind


def _note(name: str, entries: list[Entry], detours: Iterable[Leg]) -> Note:
    summary = _SUMMARIES[name]
    if name == "detour":
        summary = f"{summary}: {arrows(leg.edge for leg in detours)}"
    distinct = sorted(set(entries), key=_order)
    return Note(id=name, summary=summary, entries=tuple(distinct))


def _order(entry: Entry) -> tuple[str, ...]:
    return tuple(field or "" for field in entry)


def lines(unreadable: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Nodes whose tables nobody saw, as reasons."""
    return (f"the tables of {node} could not be read: {reason}" for node, reason in unreadable)
