"""Whether a kind cluster is ready, measured: tables, rules and answers, not conditions alone."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from clusters.dns_names import identity_name
from clusters.errors import GraymeshError
from clusters.netns import Vantage, inside
from clusters.providers.base import Cluster
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.inventory import addresses_of
from clusters.state import ClusterState, Lease, NodeState
from clusters.state_reader import read_node, read_state
from clusters.topology import Inventory, Node, Pod
from clusters.waiting import Deadline, poll_until

_DNS_PORT: Final = 53
_ANSWER_S: Final = 0.5
_EVERY_S: Final = 0.25


class Publishing(Cluster, Protocol):
    """A cluster that tells what its API server says from what is so."""

    def published(self) -> Inventory:
        """The inventory with the addresses that the API server says."""


def await_node(cluster: Publishing, node: str, *, deadline: Deadline) -> None:
    """Return when a node is back: its places run, and it has published and written what its own agents write.

    What the other nodes know about it is not waited for: their agents may be frozen.
    Raises DeadlineExceededError with what was missing last.
    """
    poll_until(
        lambda: _first(_lacks_node(cluster, node)),
        until=lambda lacking: not lacking,
        awaited=f"node {node} to be back",
        deadline=deadline,
        every_s=_EVERY_S,
    )


def await_agent(cluster: Cluster, node: str, *, deadline: Deadline) -> None:
    """Return when the node's flanneld has published its device and knows every other lease.

    Raises DeadlineExceededError with what was missing last.
    """
    poll_until(
        lambda: _first(_lacks_agent(cluster, node)),
        until=lambda lacking: not lacking,
        awaited=f"flanneld of {node} to have written its tables",
        deadline=deadline,
        every_s=_EVERY_S,
    )


def await_rules(cluster: Cluster, node: str, *, deadline: Deadline) -> None:
    """Return when the node's rules map the VIP to exactly the ready replicas. Raises DeadlineExceededError."""

    def lacking() -> Iterator[str]:
        state = read_node(cluster, node, vip=True, counters=False)
        yield from _lacks_rules_of(state, cluster.inventory())

    poll_until(
        lambda: _first(lacking()),
        until=lambda found: not found,
        awaited=f"kube-proxy of {node} to have written its rules",
        deadline=deadline,
        every_s=_EVERY_S,
    )


def await_ready(cluster: Publishing, identity: Identity, *, deadline: Deadline) -> None:
    """Return when nothing is missing any more. Raises DeadlineExceededError with what was missing last."""
    poll_until(
        lambda: missing(cluster, identity),
        until=lambda lacking: not lacking,
        awaited=f"kind cluster {identity.name} to be ready",
        deadline=deadline,
        every_s=_EVERY_S,
    )


def missing(cluster: Publishing, identity: Identity) -> str:
    """The first thing that a cluster lacks to be ready, "" where it lacks nothing."""
    return _first(_lacks(cluster, identity))


def _first(lacking: Iterator[str]) -> str:
    try:
        return next(lacking, "")
    except (GraymeshError, OSError) as exc:
        return str(exc)


def _lacks_node(cluster: Publishing, node: str) -> Iterator[str]:
    yield from _lacks_agent(cluster, node)
    inventory = cluster.published()
    pods = [pod for pod in (*inventory.pods, *inventory.replicas) if pod.node == node]
    yield from _lacks_addresses(cluster, pods)


def _lacks_addresses(cluster: Cluster, pods: Iterable[Pod]) -> Iterator[str]:
    """What the API server says of a pod that has just been restarted may be what it had before."""
    for pod in pods:
        if not pod.ips or pod.ips[0] not in _own(cluster.vantage(pod.name)):
            yield f"{pod.name} does not have the address {pod.ips} that the API server says"


def _own(vantage: Vantage) -> tuple[str, ...]:
    return tuple(cidr.partition("/")[0] for _device, cidr in addresses_of(vantage))


def _lacks_agent(cluster: Cluster, node: str) -> Iterator[str]:
    inventory = cluster.inventory()
    leases = {lease.node: lease for lease in cluster.leases()}
    yield from _lacks_lease(inventory.node(node), leases.get(node))
    mine = read_node(cluster, node, counters=False)
    others = (lease for name, lease in leases.items() if name != node)
    yield from (
        f"it has no entries for {lease.node}" for lease in others if not _knows(mine, lease)
    )


def _lacks_lease(node: Node, lease: Lease | None) -> Iterator[str]:
    if lease is None or lease.mac != node.vtep.mac or lease.underlay not in node.underlay:
        yield f"node {node.name} has not published its {node.vtep.device}"


def _lacks(cluster: Publishing, identity: Identity) -> Iterator[str]:
    inventory = cluster.inventory()
    yield from _lacks_pods(inventory)
    yield from _lacks_replicas(inventory, identity)
    published = cluster.published()
    yield from _lacks_addresses(cluster, (*published.pods, *published.replicas))
    state = read_state(cluster, vip=True, counters=False)
    yield from (f"{node}: {reason}" for node, reason in state.unreadable.items())
    yield from _lacks_leases(state)
    yield from _lacks_rules(state)
    yield from _lacks_answers(cluster, inventory)


def _lacks_pods(inventory: Inventory) -> Iterator[str]:
    yield from (f"node {n.name} has no podCIDR" for n in inventory.nodes if not n.pod_cidrs)
    yield from (f"pod {pod.name} has no address" for pod in inventory.pods if not pod.ips)


def _lacks_replicas(inventory: Inventory, identity: Identity) -> Iterator[str]:
    ready = [replica.name for replica in inventory.replicas if replica.ready]
    if len(ready) != identity.replicas or len(ready) != len(inventory.replicas):
        yield f"{len(ready)} of {identity.replicas} DNS replicas are ready"


def _lacks_leases(state: ClusterState) -> Iterator[str]:
    """Every node's lease has to be in every other node's tables, and true of the node itself."""
    leases = {lease.node: lease for lease in state.leases}
    for node in state.inventory.nodes:
        lease = leases.get(node.name)
        yield from _lacks_lease(node, lease)
        yield from (
            f"node {peer.node} has no entries for {node.name} yet"
            for peer in state.nodes.values()
            if lease is not None and peer.node != node.name and not _knows(peer, lease)
        )


def _knows(peer: NodeState, lease: Lease) -> bool:
    overlay = lease.pod_cidr.partition("/")[0]
    return (
        any(n.ip == overlay and n.mac == lease.mac for n in peer.neighbours)
        and any(f.mac == lease.mac and f.dst == lease.underlay for f in peer.fdb)
        and any(r.dst == lease.pod_cidr and r.via == overlay for r in peer.routes)
    )


def _lacks_rules(state: ClusterState) -> Iterator[str]:
    for node in state.nodes.values():
        yield from _lacks_rules_of(node, state.inventory)


def _lacks_rules_of(node: NodeState, inventory: Inventory) -> Iterator[str]:
    wanted = {ip for replica in inventory.replicas if replica.ready for ip in replica.ips[:1]}
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
