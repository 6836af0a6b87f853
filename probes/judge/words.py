"""Findings in one readable sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from probes.model import Entry

_LISTED: Final = 4


def enumerated(items: Iterable[str]) -> str:
    """Names in order: "n1", "n1 and n2", "n1, n2 and n3", "n1, n2, n3, n4 and 5 more"."""
    words = sorted(dict.fromkeys(items), key=_natural)
    if len(words) > _LISTED + 1:
        words = [*words[:_LISTED], f"{len(words) - _LISTED} more"]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def arrows(edges: Iterable[tuple[str, str]]) -> str:
    """Directed node pairs: "n2→n0 and n3→n0"."""
    return enumerated(f"{a}→{b}" for a, b in edges)


def entry_text(entry: Entry) -> str:
    """One entry with what it is and what it should be."""
    have = "absent" if entry.have is None else entry.have
    want = "none" if entry.want is None else entry.want
    return f"{entry.observer}: {entry.table} {entry.key} is {have}, should be {want}"


def of_tables(kind: str, centre: str, role: str, entries: tuple[Entry, ...], lost: str) -> str:
    """What a cause in the tables is, and what it loses."""
    observers = enumerated(entry.observer for entry in entries)
    owners = enumerated(entry.owner for entry in entries)
    first = entries[0]
    many = len({entry.observer for entry in entries}) > 1
    template = _SENTENCES.get(kind, "{first} ({kind}): frames {lost} are lost.")
    return template.format(
        kind=kind,
        centre=centre,
        role=role,
        observers=observers,
        owners=owners,
        keep="keep" if many else "keeps",
        lack="lack" if many else "lacks",
        send="send" if many else "sends",
        have=first.have,
        want=first.want,
        key=first.key,
        first=entry_text(first),
        lost=lost,
    )


_SENTENCES: Final[Mapping[str, str]] = {
    "vtep-mac-stale": (
        "{observers} {keep} the old MAC {have} of {owners}'s overlay device (now {want}):"
        " frames {lost} are dropped at {owners}."
    ),
    "vtep-mac-stale-in-memory-l3miss": (
        "the agents on {observers} answer with the old MAC {have} of {owners}'s overlay device (now"
        " {want}): frames {lost} are dropped at {owners}."
    ),
    "vtep-neigh-hand-pinned": (
        "{observers} {keep} a pinned neighbour {key} with the old MAC {have} of {owners}'s overlay"
        " device (now {want}): frames {lost} are dropped at {owners}."
    ),
    "vtep-neigh-stale-until-aged": (
        "{observers} still {keep} neighbours with the old MAC {have} of {owners}'s overlay device (now"
        " {want}), though the agent knows the new one: frames {lost} are dropped at {owners}."
    ),
    "neigh-entry-missing": (
        "{observers} {lack} the neighbour entry of {owners}: frames {lost} cannot be addressed."
    ),
    "fdb-entry-missing": (
        "{observers} {lack} the forwarding entry of {owners}'s MAC: frames {lost} are dropped where"
        " they are sent."
    ),
    "fdb-dst-wrong": (
        "{observers} {send} what is for {owners} to the underlay address {have} instead of {want}:"
        " frames {lost} are lost."
    ),
    "overlay-route-missing": (
        "{observers} {lack} the route to {owners}'s pods: packets {lost} are lost (they leave another"
        " way, or fail the reverse path filter)."
    ),
    "overlay-route-wrong": (
        "{observers} {send} what is for {key} the wrong way (`{have}`): packets {lost} are lost."
    ),
    "peer-entries-missing": (
        "{observers} {lack} entries about {owners} (route, neighbour or forwarding): packets {lost}"
        " are lost."
    ),
    "underlay-neigh-wrong": (
        "{observers} {keep} the wrong MAC {have} of {owners}'s underlay address {key} (it is {want}):"
        " frames {lost} go astray."
    ),
    "underlay-route-wrong": (
        "{observers} {send} outer packets for {key} the wrong way (`{have}`): frames {lost} are lost."
    ),
    "underlay-route-missing": (
        "{observers} {lack} the route to the underlay network {key}: frames {lost} are lost."
    ),
    "vxlan-device-missing": ("{centre} has no overlay device {key}: packets {lost} are lost."),
    "vxlan-device-down": "{centre}'s overlay device {key} is down: packets {lost} are lost.",
    "vxlan-device-emptied": (
        "{centre}'s overlay device is there but without entries of its peers, as one that was deleted"
        " and made anew: packets {lost} are lost."
    ),
    "vxlan-device-flapped": (
        "{centre} lost its routes and neighbours but not its forwarding entries, as after its overlay"
        " device went down and up: packets {lost} are lost."
    ),
    "vtep-address-missing": (
        "{centre}'s overlay device lost its address {key}, its routes and its neighbours: packets"
        " {lost} are lost."
    ),
    "vxlan-port-or-vni-mismatch": (
        "{centre}'s overlay device has another port or VNI than the others ({have}): frames {lost}"
        " are lost."
    ),
    "vtep-mac-rewritten": (
        "{centre}'s overlay device has another MAC than the published one that every peer keeps"
        " ({have}): frames {lost} are lost."
    ),
    "vxlan-local-wrong": (
        "{centre}'s overlay device sends from an address that the node does not have ({have}): frames"
        " {lost} are lost."
    ),
    "ip-forward-disabled": "{centre} does not forward ({key} = 0): packets {lost} are lost.",
    "pod-bridge-down": "{centre}'s pod bridge {key} is down or absent: packets {lost} are lost.",
    "underlay-device-down": "{centre}'s underlay device {key} is down: frames {lost} are lost.",
    "node-address-missing": ("{centre} lost its underlay address {key}: frames {lost} are lost."),
    "pod-gateway-missing": (
        "{centre}'s pod bridge lost its address {key}, and the route to the node's pods with it:"
        " packets {lost} are lost."
    ),
    "foreign-address": (
        "{observers} has the address {key} of a pod on {owners} as its own: packets {lost} are lost."
    ),
    "pod-route-wrong": (
        "{observers} {send} what is for its own pods ({key}) the wrong way (`{have}`): packets {lost}"
        " are lost."
    ),
    "pod-route-missing": "{observers} {lack} the route to its own pods: packets {lost} are lost.",
    "pod-neigh-wrong": (
        "{observers} {keep} the wrong MAC {have} of its own pod {key} (it is {want}): packets {lost}"
        " are lost."
    ),
}


def _natural(word: str) -> tuple[tuple[int, int | str], ...]:
    """So that n10 follows n9."""
    parts: list[tuple[int, int | str]] = []
    digits = ""
    for char in f"{word}\0":
        if char.isdigit():
            digits += char
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, char))
    return tuple(parts)
