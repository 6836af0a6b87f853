"""Whether a kind cluster is ready, measured: tables, rules and answers, not conditions alone."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from clusters.dns_names import identity_name
from clusters.errors import ClusterGoneError, GraymeshError
from clusters.netns import Vantage, inside
from clusters.providers.base import Cluster
from clusters.providers.kind.identity import Identity
from clusters.state import ClusterState, Lease, NodeState
from clusters.state_reader import read_state
from clusters.topology import Inventory
from clusters.waiting import Deadline, poll_until

_DNS_PORT: Final = 53
_ANSWER_S: Final = 0.5
_EVERY_S: Final = 0.25


def await_ready(cluster: Cluster, identity: Identity, *, deadline: Deadline) -> None:
    """Return when nothing is missing any more. Raises DeadlineExceededError with what was missing last."""
    poll_until(
        lambda: missing(cluster, identity),
        until=lambda lacking: not lacking,
        awaited=f"kind cluster {identity.name} to be ready",
        deadline=deadline,
        every_s=_EVERY_S,
    )


def missing(cluster: Cluster, identity: Identity) -> str:
    """The first thing that a cluster lacks to be ready, "" where it lacks nothing."""
    try:
        return next(_lacks(cluster, identity), "")
    except GraymeshError as exc:
        return str(exc)


def _lacks(cluster: Cluster, identity: Identity) -> Iterator[str]:
    inventory = cluster.inventory()
    yield from _lacks_pods(inventory, identity)
    state = read_state(cluster, vip=True, counters=False)
    yield from (f"{node}: {reason}" for node, reason in state.unreadable.items())
    yield from _lacks_leases(state)
    yield from _lacks_rules(state)
    yield from _lacks_answers(cluster, inventory)


def _lacks_pods(inventory: Inventory, identity: Identity) -> Iterator[str]:
    yield from (f"node {n.name} has no podCIDR" for n in inventory.nodes if not n.pod_cidrs)
    yield from (f"pod {pod.name} has no address" for pod in inventory.pods if not pod.ips)
    ready = [replica.name for replica in inventory.replicas if replica.ready]
    if len(ready) != identity.replicas or len(ready) != len(inventory.replicas):
        yield f"{len(ready)} of {identity.replicas} DNS replicas are ready"


def _lacks_leases(state: ClusterState) -> Iterator[str]:
    """Every node's lease has to be in every other node's tables, and true of the node itself."""
    leases = {lease.node: lease for lease in state.leases}
    for node in state.inventory.nodes:
        lease = leases.get(node.name)
        if lease is None or lease.mac != node.vtep.mac or lease.underlay not in node.underlay:
            yield f"node {node.name} has not published its {node.vtep.device}"
        else:
            yield from (
                f"node {peer.node} has no entries for {node.name} yet"
                for peer in state.nodes.values()
                if peer.node != node.name and not _knows(peer, lease)
            )


def _knows(peer: NodeState, lease: Lease) -> bool:
    overlay = lease.pod_cidr.partition("/")[0]
    return (
        any(n.ip == overlay and n.mac == lease.mac for n in peer.neighbours)
        and any(f.mac == lease.mac and f.dst == lease.underlay for f in peer.fdb)
        and any(r.dst == lease.pod_cidr and r.via == overlay for r in peer.routes)
    )


def _lacks_rules(state: ClusterState) -> Iterator[str]:
    wanted = {ip for replica in state.inventory.replicas for ip in replica.ips[:1]}
    for node in state.nodes.values():
        targets = node.vip.targets if node.vip is not None else {}
        for transport in ("udp", "tcp"):
            if set(targets.get(transport, ())) != wanted:
                yield f"kube-proxy of {node.node} has not written the {transport} rules"


def _lacks_answers(cluster: Cluster, inventory: Inventory) -> Iterator[str]:
    targets = [ip for replica in inventory.replicas for ip in replica.ips[:1]]
    query = _query(identity_name(inventory.domain))
    for pod in inventory.pods:
        silent = _silent(cluster.vantage(pod.name), [*targets, inventory.vip], query)
        yield from (f"no DNS answer from {address} to {pod.name}" for address in silent)


def _silent(vantage: Vantage, addresses: Sequence[str], query: bytes) -> tuple[str, ...]:
    with contextlib.ExitStack() as stack:
        with inside(vantage):
            sockets = [
                (a, stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
                for a in addresses
            ]
        deadline = Deadline.after(_ANSWER_S)
        for address, sock in sockets:
            with contextlib.suppress(OSError):
                sock.connect((address, _DNS_PORT))
                sock.send(query)
        return tuple(a for a, sock in sockets if not _answered(sock, query, deadline))


def _answered(sock: socket.socket, query: bytes, deadline: Deadline) -> bool:
    """Whether an answer without error came: same id, response bit, RCODE 0 (RFC 1035 4.1.1)."""
    sock.settimeout(max(0.001, deadline.left_s()))
    try:
        answer = sock.recv(512)
    except OSError:
        return False
    return answer[:2] == query[:2] and answer[2] & 0x80 != 0 and answer[3] & 0x0F == 0


def _query(name: str) -> bytes:
    """A question for the A record of a name, recursion desired (RFC 1035 4.1)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    header = secrets.token_bytes(2) + b"\x01\x00" + b"\x00\x01" + bytes(6)
    return header + labels + b"\x00" + b"\x00\x01\x00\x01"


def await_node(cluster: Cluster, identity: Identity, node: str, *, deadline: Deadline) -> None:
    """As `await_ready`, for a node that comes back: its places are there again and everything is in the tables."""

    def lacking() -> str:
        try:
            for pod in cluster.inventory().pods:
                if pod.node == node:
                    cluster.vantage(pod.name)
        except ClusterGoneError as exc:
            return str(exc)
        return missing(cluster, identity)

    poll_until(
        lacking,
        until=lambda found: not found,
        awaited=f"node {node} to be back",
        deadline=deadline,
        every_s=_EVERY_S,
    )
