"""A cluster in memory at the engine's own seams, for tests that need no kernel: tables, agents, replicas, rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.model import Slot
from chaos.tables import UNRESOLVED, Write
from clusters.errors import ClusterGoneError, KernelRefusedError
from clusters.flannel.generations import GENERATIONS
from clusters.flannel.plan import Event, learned, live_events, missed_events, operations
from clusters.netns import Vantage
from clusters.providers.base import AgentStatus, Completed
from clusters.state import Address, ClusterState, Fdb, Lease, Link, Neigh, NodeState, Route
from clusters.topology import Inventory, Node, Pod, Replica, Vtep

_DEVICE = "flannel.1"


@dataclass(slots=True)
class _FakeNode:
    """One node's kernel and agent. Values are those of chaos.tables."""

    name: str
    cidr: str
    underlay: str
    births: int = 1
    frozen: bool = False
    known: dict[str, Lease] = field(default_factory=dict)
    held: dict[Slot, str] = field(default_factory=dict)
    mac: str | None = None
    rules: dict[str, list[str]] = field(default_factory=dict)  # "nat" → "CHAIN spec"


class FakeCluster:
    """Implements Cluster, CniAgents, NodeLifecycle, ReplicaControl, and the engine's Tables."""

    provider = "twin"

    def __init__(self, nodes: int = 4, *, dialect: str = "static", name: str = "fake") -> None:
        self.name = name
        self.dark: set[str] = set()  # nodes that cannot be read until they are restarted
        self.refuses = ""  # a replica mode that never comes
        self.ignores: Slot | None = None  # a slot that keeps its value
        self._generation = GENERATIONS[dialect]
        self._macs = 0
        self._nodes = {
            f"n{i}": _FakeNode(f"n{i}", f"10.244.{i}.0/24", f"172.18.0.{i + 2}")
            for i in range(nodes)
        }
        self._modes = {f"dns-{i}": "serving" for i in range(min(3, nodes))}
        self._leases: dict[str, Lease] = {}
        for node in self._nodes.values():
            node.rules["nat"] = [
                "PREROUTING -j KUBE-SERVICES",
                "KUBE-SERVICES -d 10.96.0.1/32 -p tcp -j KUBE-SVC-API",
                "KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-DNS",
                "KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j KUBE-SVC-TCP",
                "KUBE-SERVICES -j RETURN",
            ]
        for node in self._nodes.values():
            self._start(node, None)

    # Cluster

    def inventory(self) -> Inventory:
        """What should be there."""
        names = list(self._nodes)
        return Inventory(
            provider=self.provider,
            name=self.name,
            vips=("10.96.0.10",),
            dialect=self._generation.name,
            nodes=tuple(
                Node(name=n.name, underlay=(n.underlay,), pod_cidrs=(n.cidr,), vtep=Vtep(mac=n.mac))
                for n in self._nodes.values()
            ),
            pods=tuple(
                Pod(name=f"{n.name}-p0", node=n.name, ips=(_host(n.cidr, 2),))
                for n in self._nodes.values()
            ),
            replicas=tuple(
                Replica(name=r, node=names[i], ips=(_host(self._nodes[names[i]].cidr, 3),))
                for i, r in enumerate(self._modes)
            ),
        )

    def vantage(self, place: str) -> Vantage:
        """There are no namespaces here. Raises ClusterGoneError."""
        raise ClusterGoneError(f"{place} has no namespace: this cluster is in memory")

    def leases(self) -> tuple[Lease, ...]:
        """What every node has published."""
        return tuple(self._leases.values())

    def run(
        self,
        place: str,
        argv: Sequence[str],
        *,
        timeout_s: float = 10.0,  # noqa: ARG002  # nothing takes time here
        stdin: str = "",
    ) -> Completed:
        """The few commands that the engine and repairs use: iptables-save, iptables-restore, nft, ip neigh, bridge fdb."""
        node = self._nodes[place]
        match list(argv):
            case ["iptables-save"]:
                return _completed(argv, stdout=_saved(node))
            case ["iptables-restore", *_]:
                self._restore(node, stdin)
            case ["nft", "delete", "table", _, table]:
                node.rules.pop(table, None)
            case ["ip", "neigh", "replace", ip, "lladdr", mac, "dev", device, "nud", state]:
                node.held[Slot("neigh", device, ip)] = f"{mac} {state}"
            case ["ip", "neigh", "del", ip, "dev", device]:
                node.held.pop(Slot("neigh", device, ip), None)
            case _:
                return _completed(argv, status=2, stderr="unknown here")
        return _completed(argv)

    def close(self) -> None:
        """Nothing is held."""

    # Tables

    def read(self, node: str) -> NodeState:
        """One node's tables."""
        if node in self.dark:
            raise ClusterGoneError(f"node {node} is down")
        return _state_of(self._nodes[node])

    def read_all(self) -> ClusterState:
        """All nodes' tables."""
        return ClusterState(
            inventory=self.inventory(),
            nodes={name: self.read(name) for name in self._nodes if name not in self.dark},
            leases=self.leases(),
            unreadable=dict.fromkeys(self.dark, "it is down"),
        )

    def write(self, node: str, writes: Sequence[Write]) -> None:
        """Change these slots."""
        for write in writes:
            self.put(node, write.slot, write.value)

    def put(self, node: str, slot: Slot, value: str | None) -> None:
        """Write one slot, as somebody with a shell on the node would."""
        at = self._nodes[node]
        if slot == self.ignores:
            return
        if slot.table == "link":
            self._delete_device(at)
        elif value is None:
            at.held.pop(slot, None)
        elif at.mac is None:
            raise KernelRefusedError(f"{node}: {slot.device} is absent", code=19)
        else:
            at.held[slot] = value

    def withdraw(self, node: str) -> None:
        """Take a node's lease away, and tell nobody."""
        del self._leases[node]

    def held(self, node: str) -> dict[Slot, str]:
        """All entries of one node."""
        return dict(self._nodes[node].held)

    # CniAgents

    def agents(self) -> tuple[AgentStatus, ...]:
        """Which agents are frozen."""
        return tuple(AgentStatus(node=n.name, frozen=n.frozen) for n in self._nodes.values())

    def freeze_agent(self, node: str) -> None:
        """The agent misses every event."""
        self._nodes[node].frozen = True

    def thaw_agent(self, node: str) -> None:
        """The agent catches up as its generation does."""
        at = self._nodes[node]
        if at.frozen:
            at.frozen = False
            self._hear(at, missed_events(self._generation, at.known, self._peers(at)))

    def renew_vtep(self, node: str, mac: str | None = None) -> None:
        """A new device with that MAC, or another."""
        at = self._nodes[node]
        at.mac = None
        at.held.clear()
        self._start(at, mac)

    def restart_agent(self, node: str) -> None:
        """The agent starts anew; its device stays where there is one."""
        self._start(self._nodes[node], None)

    # NodeLifecycle

    def restart_node(self, node: str) -> None:
        """Everything of the node is made anew."""
        at = self._nodes[node]
        self.dark.discard(node)
        at.births += 1
        kept = self._leases[node].mac if self._generation.keeps_mac else None
        self.renew_vtep(node, kept)

    def recreate_node(self, node: str) -> None:
        """As restart, with another podCIDR and no lease before."""
        at = self._nodes[node]
        at.births += 1
        self._store(node, None)
        at.cidr = f"10.244.{100 + at.births}.0/24"
        self.renew_vtep(node)

    def boot_id(self, node: str) -> str:
        """How often the node was made."""
        return str(self._nodes[node].births)

    # ReplicaControl

    def replica_mode(self, replica: str) -> str:
        """The replica's mode."""
        return self._modes[replica]

    def set_replica_mode(self, replica: str, mode: str) -> None:
        """Bring the replica to that mode."""
        if mode != self.refuses:
            self._modes[replica] = mode

    # Agents at work

    def _start(self, node: _FakeNode, mac: str | None) -> None:
        if node.mac is None:
            self._macs += 1
            node.mac = mac or f"0a:00:00:00:00:{self._macs:02x}"
            node.held[Slot("addr", _DEVICE, f"{_host(node.cidr, 0)}/32")] = "present"
        node.frozen = False
        node.known = {}
        self._hear(node, [Event("added", lease) for lease in self._peers(node)])
        self._store(node.name, Lease(node.name, node.cidr, node.underlay, node.mac))

    def _store(self, name: str, after: Lease | None) -> None:
        before = self._leases.pop(name, None)
        if after is not None:
            self._leases[name] = after
        for node in self._nodes.values():
            if node.name != name and node.mac is not None and not node.frozen:
                self._hear(node, live_events(self._generation, before, after))

    def _hear(self, node: _FakeNode, events: Iterable[Event]) -> None:
        heard = [event for event in events if event.lease.node != node.name]
        node.known = learned(node.known, heard)
        for op in (op for event in heard for op in operations(self._generation, event)):
            slot = Slot(op.table, "" if op.table == "route" else _DEVICE, op.key)
            text = f"via {op.value} dev {_DEVICE} onlink proto 3"
            value = text if op.table == "route" else f"{op.value} permanent"
            if op.action == "del":
                node.held.pop(slot, None)
            else:
                node.held[slot] = value

    def _peers(self, node: _FakeNode) -> list[Lease]:
        return [lease for lease in self._leases.values() if lease.node != node.name]

    def _delete_device(self, node: _FakeNode) -> None:
        mac, node.mac = node.mac, None
        node.held.clear()
        if self._generation.watches_device and not node.frozen:
            node.mac = mac
            node.held[Slot("addr", _DEVICE, f"{_host(node.cidr, 0)}/32")] = "present"

    def _restore(self, node: _FakeNode, text: str) -> None:
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith("-I "):
                _, chain, position, spec = line.split(" ", 3)
                _insert(node.rules.setdefault(table, []), chain, int(position), spec)
            elif line.startswith("-D "):
                node.rules[table].remove(line[3:])


def _insert(rules: list[str], chain: str, position: int, spec: str) -> None:
    """Before the rule that has this position in its chain now."""
    places = [at for at, rule in enumerate(rules) if rule.startswith(f"{chain} ")]
    at = places[position - 1] if position <= len(places) else len(rules)
    rules.insert(at, f"{chain} {spec}")


def _saved(node: _FakeNode) -> str:
    lines = []
    for table, rules in node.rules.items():
        lines += [f"*{table}", ":PREROUTING ACCEPT [0:0]", *(f"-A {r}" for r in rules), "COMMIT"]
    return "\n".join(lines)


def _state_of(node: _FakeNode) -> NodeState:
    links = {"eth0": Link("eth0", 1, "02:42:00:00:00:01", 1500, up=True)}
    if node.mac is not None:
        links[_DEVICE] = Link(_DEVICE, 2, node.mac, 1450, up=True, kind="vxlan", vni=1)
    return NodeState(
        node=node.name,
        links=links,
        addresses=tuple(Address(s.device, s.key) for s in node.held if s.table == "addr"),
        neighbours=tuple(
            _neighbour(slot, text) for slot, text in node.held.items() if slot.table == "neigh"
        ),
        fdb=tuple(
            Fdb(slot.device, slot.key, text.split()[0], permanent=text.endswith("permanent"))
            for slot, text in node.held.items()
            if slot.table == "fdb"
        ),
        routes=tuple(_routes(node)),
    )


def _neighbour(slot: Slot, text: str) -> Neigh:
    if text == UNRESOLVED:
        return Neigh(slot.device, slot.key, None, "failed")
    mac, state = text.split()
    return Neigh(slot.device, slot.key, mac, state)


def _routes(node: _FakeNode) -> Iterator[Route]:
    for slot, text in node.held.items():
        if slot.table == "route":
            cidr, _, metric = slot.key.partition(" metric ")
            words = text.split()
            yield Route(
                cidr,
                device=words[words.index("dev") + 1],
                via=words[words.index("via") + 1],
                onlink="onlink" in words,
                protocol=int(words[-1]),
                metric=int(metric or 0),
            )


def _host(cidr: str, number: int) -> str:
    return f"{cidr.partition('/')[0].rpartition('.')[0]}.{number}"


def _completed(
    argv: Sequence[str], *, status: int = 0, stdout: str = "", stderr: str = ""
) -> Completed:
    return Completed(argv=tuple(argv), status=status, stdout=stdout, stderr=stderr)
