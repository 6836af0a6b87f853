"""Entries at fault, put together into causes: one cause, one owner or observer, one group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from probes.defects import Defect
from probes.predict import Leg

_STALE: Final = frozenset(
    {
        "vtep-mac-stale",
        "vtep-mac-stale-in-memory-l3miss",
        "vtep-neigh-hand-pinned",
        "vtep-neigh-stale-until-aged",
    }
)
_MISSING: Final = frozenset({"neigh-entry-missing", "fdb-entry-missing", "overlay-route-missing"})
_TAKES_ENTRIES_ALONG: Final = frozenset(
    {
        "vxlan-device-missing",
        "vxlan-device-down",
        "vxlan-port-or-vni-mismatch",
        "vtep-mac-rewritten",
        "node-address-missing",
        "underlay-device-down",
    }
)
"""What empties tables of its node: the entries that are missing there belong to it (catalogue D.3 to D.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Defects of one cause. `centre` is the node that they have in common: as `role` says, owner or observer."""

    kind: str
    centre: str
    defects: tuple[Defect, ...]
    role: str = "observer"


def grouped(legs: Iterable[Leg]) -> tuple[Group, ...]:
    """The causes behind these legs. Every defect is in exactly one group."""
    defects = list(dict.fromkeys(defect for leg in legs for defect in leg.defects))
    groups = list(_of_nodes(defects))
    taken = {defect for group in groups for defect in group.defects}
    rest = [defect for defect in defects if defect not in taken]
    groups += _of_peers(_classed(rest))
    return tuple(groups)


def _of_nodes(defects: list[Defect]) -> Iterator[Group]:
    """What is wrong with a node itself, with the entries that it took along."""
    own = [one for one in defects if one.entry.table in {"link", "setting", "address"}]
    emptied: set[str] = set()
    for defect in own:
        node, along = defect.entry.observer, list[Defect]()
        if defect.kind in _TAKES_ENTRIES_ALONG and node not in emptied:
            emptied.add(node)
            along = [one for one in defects if one.kind in _MISSING and one.entry.observer == node]
        yield Group(kind=defect.kind, centre=node, defects=(defect, *along))


def _classed(defects: list[Defect]) -> Mapping[str, list[Defect]]:
    """The remaining defects by cause; what an observer lacks about an owner is seen together."""
    about: dict[tuple[str, str], list[Defect]] = defaultdict(list)
    for defect in defects:
        about[defect.entry.observer, defect.entry.owner].append(defect)
    classes: dict[str, list[Defect]] = defaultdict(list)
    for together in about.values():
        for defect in together:
            classes[_class(defect, {one.kind for one in together})].append(defect)
    return classes


def _class(defect: Defect, together: set[str]) -> str:
    """The cause of one defect among those that one node has about another.

    Without an entry for the new MAC a stale neighbour is one missed event; two entries missing are one as well.
    """
    stale = sorted(together & _STALE)
    if defect.kind == "fdb-entry-missing" and stale:
        return stale[-1]
    missing = together & _MISSING
    if defect.kind in missing and len(missing) > 1 and not stale:
        return "peer-entries-missing"
    return defect.kind


def _of_peers(classes: Mapping[str, list[Defect]]) -> Iterator[Group]:
    for kind, defects in classes.items():
        if kind in _STALE:
            yield from _by_owner(kind, defects)
        else:
            yield from _stars(kind, defects)


def _by_owner(kind: str, defects: list[Defect]) -> Iterator[Group]:
    owners: dict[str, list[Defect]] = defaultdict(list)
    for defect in defects:
        owners[defect.entry.owner].append(defect)
    for owner, ours in owners.items():
        yield Group(kind=kind, centre=owner, defects=tuple(ours), role="owner")


def _stars(kind: str, defects: list[Defect]) -> Iterator[Group]:
    """Groups around the observer or owner that most of the remaining defects have in common."""
    left = list(defects)
    while left:
        observers = Counter((one.entry.observer, "observer") for one in left)
        owners = Counter((one.entry.owner, "owner") for one in left)
        votes = observers + owners
        centre, role = max(votes, key=lambda one: (votes[one], one[1] == "observer", one[0]))
        ours = [one for one in left if getattr(one.entry, role) == centre]
        left = [one for one in left if one not in ours]
        yield Group(kind=kind, centre=centre, defects=tuple(ours), role=role)
