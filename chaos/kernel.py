"""The tables of a cluster's nodes: read back through clusters.state_reader, written through netlink."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from chaos.tables import UNRESOLVED, Write, in_words
from clusters.errors import KernelRefusedError
from clusters.netlink import Netlink, requests
from clusters.providers.base import Cluster
from clusters.state import ClusterState, NodeState
from clusters.state_reader import read_node, read_state

# Addresses before entries: the last address takes routes and neighbours of the device with it.
_ORDER: Final = ("link", "addr", "fdb", "neigh", "route")
# What a deletion is answered where there is nothing to delete (any more).
_GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})


class Tables(Protocol):
    """Reading and writing nodes' tables: the seam at which tests put a cluster in memory."""

    def read(self, node: str) -> NodeState:
        """One node's tables, as of now. Raises ClusterGoneError."""

    def read_all(self) -> ClusterState:
        """All nodes' tables, as of now. Raises ClusterGoneError."""

    def write(self, node: str, writes: Sequence[Write]) -> None:
        """Change these slots. Raises ClusterGoneError, or KernelRefusedError after all that could be done was."""


class KernelTables:
    """The real ones."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, node: str) -> NodeState:
        """One node's tables, as of now."""
        return read_node(self._cluster, node, counters=False)

    def read_all(self) -> ClusterState:
        """All nodes' tables, as of now."""
        return read_state(self._cluster, counters=False)

    def write(self, node: str, writes: Sequence[Write]) -> None:
        """Change these slots in one batch."""
        if not writes:
            return
        # Within a table new ones first, so that a device never loses its last address on the way.
        ordered = sorted(writes, key=lambda w: (_ORDER.index(w.slot.table), w.value is None))
        single = [write for write in ordered if "nexthop" not in (write.value or "")]
        indexes = {name: link.ifindex for name, link in self.read(node).links.items()}
        messages = [request(write, indexes) for write in single]
        with Netlink.open(self._cluster.vantage(node).fd) as netlink:
            codes = netlink.batch(messages)
        for write, code in zip(single, codes, strict=True):
            if code and not (write.value is None and code in _GONE):
                raise _refused(node, write, os.strerror(code), code)
        for write in ordered:
            if write not in single:
                self._write_multipath(node, write)

    def _write_multipath(self, node: str, write: Write) -> None:
        """A route with several next hops, which only somebody else can have made, in the words of `ip route`.

        Whether its gateways were given as on-link is not in the words: it is tried without, then with.
        """
        hops, _, protocol = (write.value or "").partition(" proto ")
        for text in (hops, hops.replace(" nexthop", " onlink nexthop") + " onlink"):
            words = f"{write.slot.key} proto {protocol} {text}".split()
            done = self._cluster.run(node, ["ip", "route", "replace", *words])
            if not done.status:
                return
        raise _refused(node, write, done.stderr.strip(), errno.EINVAL)


def request(write: Write, indexes: Mapping[str, int]) -> bytes:
    """The netlink message for one write; `indexes` are the node's devices. Raises KernelRefusedError for a missing one."""
    slot = write.slot
    if slot.table == "route":
        return _route(write, indexes)
    ifindex = _index(slot.device, indexes)
    match slot.table:
        case "neigh":
            return _neigh(ifindex, write)
        case "fdb":
            return _fdb(ifindex, write)
        case "addr":
            change = requests.del_address if write.value is None else requests.add_address
            return change(ifindex, slot.key)
        case "link":
            return _link(ifindex, write)


def _link(ifindex: int, write: Write) -> bytes:
    if write.value is None:
        return requests.del_link(ifindex)
    _, mtu, up_or_down = write.value.split()
    return requests.set_link(ifindex, mtu_bytes=int(mtu), up=up_or_down == "up")


def _neigh(ifindex: int, write: Write) -> bytes:
    if write.value is None or write.value == UNRESOLVED:
        return requests.del_neigh(ifindex, write.slot.key)
    mac, state = write.value.split()
    return requests.set_neigh(ifindex, write.slot.key, mac, state=state)


def _fdb(ifindex: int, write: Write) -> bytes:
    mac, _, one_of_several = write.slot.key.partition("@")
    if write.value is None:
        return requests.del_fdb(ifindex, mac, write.now.split()[0] if write.now else None)
    dst, state = write.value.split()
    put = requests.append_fdb if one_of_several else requests.set_fdb
    return put(ifindex, mac, dst, permanent=state == "permanent")


def _route(write: Write, indexes: Mapping[str, int]) -> bytes:
    cidr, _, metric = write.slot.key.partition(" metric ")
    words = (write.value or write.now or "").split()
    options = {} if "nexthop" in words else dict(itertools.pairwise(words))
    ifindex = _index(options["dev"], indexes) if "dev" in options else 0
    via, level = options.get("via"), int(metric or 0)
    if write.value is None:
        return requests.del_route(cidr, ifindex=ifindex, via=via, metric=level)
    return requests.set_route(
        cidr,
        ifindex=ifindex,
        via=via,
        onlink="onlink" in words,
        kind=words[0] if words[0] in _KINDS else "unicast",
        protocol=int(options["proto"]),
        metric=level,
    )


_KINDS: Final = frozenset({"blackhole", "unreachable", "prohibit", "throw", "local", "broadcast"})


def _index(device: str, indexes: Mapping[str, int]) -> int:
    if device not in indexes:
        raise KernelRefusedError(f"device {device} is absent", code=errno.ENODEV)
    return indexes[device]


def _refused(node: str, write: Write, why: str, code: int) -> KernelRefusedError:
    wanted = in_words(write.slot, write.value)
    return KernelRefusedError(f"node {node}: the kernel refused `{wanted}`: {why}", code=code)
