"""Commands that bring one entry to what it should be, or back to what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clusters.state import ClusterState
from probes.corrections import device_for
from probes.model import Entry, Repair
from probes.tables import USABLE, family_of
from probes.truth import Owner, Truth, establish

_MTU_OVERHEAD_BYTES: Final = 50  # outer IPv4, UDP, VXLAN and inner Ethernet headers
_MTU_OVERHEAD6_BYTES: Final = 70

_Argv = tuple[str, ...]


def repair_argv(entry: Entry, state: ClusterState) -> tuple[Repair, ...]:
    """What brings the entry from `have` to `want`, in this order; each is idempotent where the tool allows it.

    Empty where no command on the node can do it (service rules: the proxy has to write them). `state` is the cluster
    in which the entry was found.
    """
    return _changes(entry, establish(state), forth=True)


def break_argv(entry: Entry, state: ClusterState) -> tuple[Repair, ...]:
    """What brings the entry back from `want` to `have`: the reverse of `repair_argv` in the same `state`."""
    return _changes(entry, establish(state), forth=False)


def repairs(entries: Iterable[Entry], truth: Truth) -> tuple[Repair, ...]:
    """All repairs of one finding, each command once.

    First goes what should not be there (it may vanish with a device), then a node's own devices and addresses, then
    its entries about peers.
    """
    ordered = sorted(entries, key=lambda one: (one.want is not None, _ORDER.index(one.table)))
    found = (one for entry in ordered for one in _changes(entry, truth, forth=True))
    return tuple(dict.fromkeys(found))


_ORDER: Final = ("setting", "link", "address", "route", "neigh", "fdb", "vip")


def _changes(entry: Entry, truth: Truth, *, forth: bool) -> tuple[Repair, ...]:
    made = _MAKERS[entry.table](entry, truth)
    argvs = made[0] if forth else made[1]
    return tuple(Repair(entry.observer, argv) for argv in argvs)


_Both = tuple[tuple[_Argv, ...], tuple[_Argv, ...]]  # repair, break


def _neigh(entry: Entry, truth: Truth) -> _Both:
    device = device_for(truth, entry)
    row = truth.tables[entry.observer].neigh.get((device, entry.key))
    nud = row.state if row is not None and row.state in _WRITABLE else "permanent"

    def put(mac: str | None, state: str) -> tuple[_Argv, ...]:
        if mac is None:
            return (("ip", "neigh", "del", entry.key, "dev", device),)
        words = ("lladdr", mac, "dev", device, "nud", state)
        return (("ip", "neigh", "replace", entry.key, *words),)

    return put(entry.want, "permanent"), put(entry.have, nud)


_WRITABLE: Final = USABLE & {"permanent", "reachable", "stale", "noarp"}


def _fdb(entry: Entry, truth: Truth) -> _Both:
    device = device_for(truth, entry)
    have, want = (entry.have or "").split(), (entry.want or "").split()
    return _fdb_change(entry.key, device, have, want), _fdb_change(entry.key, device, want, have)


def _fdb_change(mac: str, device: str, before: list[str], after: list[str]) -> tuple[_Argv, ...]:
    """One destination for another is replaced in place; otherwise the old ones go and the new ones are appended."""

    def command(verb: str, dst: str, *last: str) -> _Argv:
        return ("bridge", "fdb", verb, mac, "dev", device, "dst", dst, "self", *last)

    if len(before) <= 1 and len(after) == 1:
        return (command("replace", after[0], "permanent"),)
    return (
        *(command("del", dst) for dst in before if dst not in after),
        *(command("append", dst, "permanent") for dst in after if dst not in before),
    )


def _route(entry: Entry, truth: Truth) -> _Both:
    devices = {own.device for own in truth.owners.values()}
    have, want = (_route_words(text, devices) for text in (entry.have, entry.want))
    return _route_change(entry.key, have, want), _route_change(entry.key, want, have)


def _route_words(text: str | None, overlays: set[str]) -> _Argv | None:
    """The words of a route, its hops by the overlay marked as on link (their gateways lie in no network)."""
    if text is None:
        return None
    words: list[str] = []
    for part in text.split("nexthop")[1:] or [text]:
        hop = part.split()
        several = "nexthop" in text
        if several and overlays.intersection(hop) and "onlink" not in hop:
            hop.append("onlink")
        words += ["nexthop", *hop] if several else hop
    return tuple(words)


def _route_change(key: str, before: _Argv | None, after: _Argv | None) -> tuple[_Argv, ...]:
    """`replace` where the kernel keeps both under one key (prefix and metric); otherwise the old one is deleted."""
    kind = after[:1] if after and after[0] in _KINDS else ()
    put = after and ("ip", "route", "replace", *kind, key, *after[len(kind) :])
    kind = before[:1] if before and before[0] in _KINDS else ()
    drop = before and ("ip", "route", "del", *kind, key, *before[len(kind) :])
    if put and drop and _metric(before) == _metric(after):
        return (put,)
    if put:
        return (drop, put) if drop else (put,)
    return (drop,) if drop else ()


_KINDS: Final = frozenset({"blackhole", "unreachable", "prohibit", "throw", "local"})


def _metric(words: _Argv | None) -> str:
    found = words or ()
    return found[found.index("metric") + 1] if "metric" in found else "0"


def _setting(entry: Entry, _: Truth) -> _Both:
    def put(value: str | None) -> tuple[_Argv, ...]:
        return (("sysctl", "-w", f"{entry.key}={value}"),)

    return put(entry.want), put(entry.have)


def _address(entry: Entry, truth: Truth) -> _Both:
    own = _owner(truth, entry)

    def put(place: str | None, other: str | None) -> tuple[_Argv, ...]:
        verb, words = ("replace", place) if place is not None else ("del", other)
        return (("ip", "address", verb, entry.key, *(words or "").split()),)

    gateway = own is not None and entry.key.partition("/")[0] == own.gateway
    routes = _overlay_route(truth, own) if gateway and own is not None else ()
    return (*put(entry.want, entry.have), *routes), put(entry.have, entry.want)


def _overlay_route(truth: Truth, own: Owner) -> tuple[_Argv, ...]:
    """The one route of the generation that has no route per peer."""
    if not truth.per_pod:
        return ()
    cidr, text = truth.route(own, own)
    return (("ip", "route", "replace", cidr, *text.split()),)


def _link(entry: Entry, truth: Truth) -> _Both:
    own = _owner(truth, entry)
    if own is None or entry.key != own.device:
        up = ("ip", "link", "set", "dev", entry.key, "up")
        down = ("ip", "link", "set", "dev", entry.key, "down")
        return ((up,), (down,)) if entry.have is not None else ((), ())
    return _overlay_change(truth, own, entry.have, entry.want), _overlay_change(
        truth, own, entry.want, entry.have
    )


def _overlay_change(
    truth: Truth, own: Owner, before: str | None, after: str | None
) -> tuple[_Argv, ...]:
    """From one description of the overlay device to another, by the gentlest way that the kernel has."""
    gone = ("ip", "link", "del", "dev", own.device)
    if after is None:
        return (gone,)
    if before is None:
        return (*_made(truth, own, after), *_peers(truth, own))
    old, new = before.split(), after.split()
    if old[2:-1] != new[2:-1]:  # VNI, port and local address are fixed when the device is made
        return (gone, *_made(truth, own, after), *_peers(truth, own))
    if old[1] != new[1]:
        mac = ("ip", "link", "set", "dev", own.device, "address", new[1])
        return (mac, *_state(own, new[-1]), *_peers(truth, own))
    return (*_state(own, new[-1]), *(_peers(truth, own) if new[-1] == "up" else ()))


def _state(own: Owner, state: str) -> tuple[_Argv, ...]:
    return (("ip", "link", "set", "dev", own.device, state),)


def _made(truth: Truth, own: Owner, text: str) -> tuple[_Argv, ...]:
    """A new device as flanneld makes it, from "address M id I dstport P local U up"."""
    said = text.split()
    given = dict(zip(said[:-1:2], said[1:-1:2], strict=True))
    six = ":" in given["local"]
    overhead = _MTU_OVERHEAD6_BYTES if six else _MTU_OVERHEAD_BYTES
    below = truth.tables[own.node].links.get(own.underlay_device)
    mtu = (below.mtu_bytes if below else 1500) - overhead
    device = ("ip", "link", "add", own.device, "address", given["address"], "mtu", str(mtu))
    kind = ("type", "vxlan", "id", given["id"], "local", given["local"])
    rest = ("dev", own.underlay_device, "dstport", given["dstport"], "nolearning")
    host = f"{own.gateway}/{'128' if ':' in own.gateway else '32'}"
    return (
        (*device, *kind, *rest),
        ("ip", "address", "replace", host, "dev", own.device),
        *_state(own, said[-1]),
        *_overlay_route(truth, own),
    )


def _peers(truth: Truth, own: Owner) -> tuple[_Argv, ...]:
    """Every peer's entries: making a device anew, its MAC, or down and up, empties (part of) its tables."""
    entries: list[Entry] = []
    for peer in truth.nodes(family_of(own.cidr)):
        if peer.node != own.node and peer.mac is not None:
            entries += _wanted(truth, own, peer)
    return tuple(one.argv for entry in entries for one in _changes(entry, truth, forth=True))


def _wanted(truth: Truth, own: Owner, peer: Owner) -> Iterable[Entry]:
    """What the node should keep about a peer, as entries that are absent."""
    yield Entry(own.node, peer.node, "fdb", peer.mac or "", None, peer.underlay)
    if truth.per_pod:  # the agent answers no miss on a device that it did not make
        for end in truth.ends:
            if end.node == peer.node and family_of(end.ip) == family_of(peer.cidr):
                yield Entry(own.node, peer.node, "neigh", end.ip, None, peer.mac)
    else:
        yield Entry(own.node, peer.node, "neigh", peer.gateway, None, peer.mac)
        cidr, text = truth.route(own, peer)
        yield Entry(own.node, peer.node, "route", cidr, None, text)


def _vip(_: Entry, __: Truth) -> _Both:
    return (), ()


def _owner(truth: Truth, entry: Entry) -> Owner | None:
    """The observer in the family that a link or address entry is about."""
    owners = [own for own in truth.owners.values() if own.node == entry.observer]
    for own in owners:
        if entry.key == own.device or entry.key.partition("/")[0] == own.gateway:
            return own
    return None


_MAKERS: Final[Mapping[str, Callable[[Entry, Truth], _Both]]] = {
    "neigh": _neigh,
    "fdb": _fdb,
    "route": _route,
    "setting": _setting,
    "address": _address,
    "link": _link,
    "vip": _vip,
}
