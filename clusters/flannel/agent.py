"""One node's flannel agent: turns leases into entries of its node's kernel, as its generation does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clusters.errors import KernelRefusedError
from clusters.flannel import device
from clusters.flannel.generations import Generation
from clusters.flannel.plan import (
    Event,
    Op,
    answer,
    learned,
    missed_events,
    operations,
    starting_fdb,
    undone,
)
from clusters.netlink import Netlink
from clusters.netlink import requests as rq
from clusters.state import Fdb, Lease, Link

_LOG_LINES = 1000


@dataclass(slots=True, kw_only=True)
class Agent:
    """Lives as long as its node is up; `link` is a netlink socket inside the node.

    A frozen agent hears no event. One of the on-miss generation still answers the kernel from memory: it is deaf
    to leases, not dead.
    """

    node: str
    generation: Generation
    underlay: str
    lower: int
    cluster_cidr: str
    link: Netlink
    frozen: bool = False
    ifindex: int = 0
    known: dict[str, Lease] = field(default_factory=dict)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))

    def prepare(self, pod_cidr: str, mac: str, found: Link | None, spare_ifindex: int) -> Lease:
        """Make the device, or go on with a compatible one; the lease to publish.

        `mac` is for a device made anew. Raises KernelRefusedError.
        """
        if found and device.compatible(found, self.underlay):
            self.ifindex, mac = found.ifindex, found.mac
            self.link.batch(self._configuration(pod_cidr))  # what is there already is refused
        else:
            if found:
                self.link.batch([rq.del_link(found.ifindex)])
            self.ifindex = spare_ifindex
            self._make(pod_cidr, mac)
        return Lease(node=self.node, pod_cidr=pod_cidr, underlay=self.underlay, mac=mac)

    def _make(self, pod_cidr: str, mac: str) -> None:
        creation = device.creation(self.ifindex, self.lower, self.underlay, mac)
        requests = [*creation, *self._configuration(pod_cidr)]
        self.link.apply(requests, doing=f"making {device.NAME} on {self.node}")

    def _configuration(self, pod_cidr: str) -> list[bytes]:
        return device.configuration(self.generation, self.ifindex, pod_cidr, self.cluster_cidr)

    def begin(self, store: Iterable[Lease], fdb: Sequence[Fdb] = ()) -> None:
        """Start with no memory: write the entries of every peer.

        Entries of nodes that are gone stay, except those of the on-miss generation, which looks at the `fdb` it finds.
        """
        peers = [lease for lease in store if lease.node != self.node]
        self.known = {lease.pod_cidr: lease for lease in peers}
        if self.generation.answers_misses:
            self._batch(starting_fdb(fdb, peers))
        else:
            self._perform([Event("added", lease) for lease in peers])

    def hear(self, events: Iterable[Event]) -> None:
        """React to lease events, unless frozen."""
        others = [event for event in events if event.lease.node != self.node]
        if others and not self.frozen:
            self.known = learned(self.known, others)
            self._perform(others)

    def thaw(self, store: Iterable[Lease]) -> None:
        """Run again and catch up with what was missed, as far as the generation sees it."""
        self.frozen = False
        peers = [lease for lease in store if lease.node != self.node]
        self.hear(missed_events(self.generation, self.known, peers))

    def recreate(self, own: Lease) -> None:
        """Bring a deleted device back with its MAC and address; nothing of the peers (v0.27.4 reCreateVxlan)."""
        try:
            self._make(own.pod_cidr, own.mac)
        except KernelRefusedError as exc:
            self.log.append(str(exc))
        else:
            self.log.append(f"VXLAN device {device.NAME} recreated successfully")

    def answer(self, address: str) -> None:
        """The kernel asks for the MAC of a pod address; answer from memory, or log that no lease covers it."""
        mac = answer(self.known, address)
        if mac is None:
            self.log.append(f"L3 miss but route for {address} not found")
        else:
            self.link.batch([rq.set_neigh(self.ifindex, address, mac, state="reachable")])

    def _perform(self, events: Sequence[Event]) -> None:
        """A failed step undoes the others of its event, as flanneld skips such a node."""
        groups = [operations(self.generation, event) for event in events]
        codes = iter(self._batch(op for group in groups for op in group))
        for event, group in zip(events, groups, strict=True):
            done = [op for op, code in zip(group, codes, strict=False) if not code]
            if event.kind == "added" and len(done) < len(group):
                self._batch(undone(done))

    def _batch(self, ops: Iterable[Op]) -> tuple[int, ...]:
        return self.link.batch([_request(self.ifindex, op) for op in ops])


def _request(ifindex: int, op: Op) -> bytes:
    match op.table, op.action:
        case "neigh", "set":
            return rq.set_neigh(ifindex, op.key, op.value)
        case "neigh", "del":
            return rq.del_neigh(ifindex, op.key)
        case "fdb", "set":
            return rq.set_fdb(ifindex, op.key, op.value, exclusive=op.exclusive)
        case "fdb", "del":
            return rq.del_fdb(ifindex, op.key, op.value)
        case "route", "set":
            return rq.set_route(op.key, ifindex=ifindex, via=op.value, onlink=True)
        case _:
            return rq.del_route(op.key, ifindex=ifindex, via=op.value)
