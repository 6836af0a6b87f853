"""The interface every provider offers: one small protocol, and the extra powers found with isinstance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clusters.netns import Vantage
from clusters.state import Lease
from clusters.topology import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a command in a node or pod did; a non-zero status is a result."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """One node's CNI agent (flanneld): frozen agents miss every event."""

    node: str
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What `up` was asked for. `replica_nodes` places replica i on node index replica_nodes[i].

    An ephemeral cluster (made by `run` without --name) goes away with the process `owner_pid`.
    """

    provider: str = "twin"
    name: str = "default"
    nodes: int = 4
    pods_per_node: int = 1
    dns_replicas: int = 3
    dialect: str = "static"
    family: str = "ipv4"
    replica_nodes: tuple[int, ...] | None = None
    rp_filter: int = 1
    owner_pid: int | None = None  # None: stays until `down`
    cni_version: str | None = (
        None  # kind: flannel's version, as "v0.28.10"; None: the newest there is
    )
    image: str | None = None  # kind: the node image; None: the one built here, or a published one
    proxy_mode: str = "iptables"  # kind: kube-proxy's mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSummary:
    """One line of `graymesh list clusters`."""

    provider: str
    name: str
    nodes: int
    replicas: int
    holder_pid: int | None = None


class Provider(Protocol):
    """Makes, finds and removes clusters."""

    def up(self, spec: ClusterSpec, *, progress: Callable[[str], None]) -> None:
        """Make the cluster and return when it is measured ready. Raises UsageError, SetupError; nothing is left then."""

    def open(self, name: str) -> Cluster:
        """A handle on a running cluster. Raises UsageError where no such cluster exists."""

    def down(self, name: str) -> None:
        """Remove the cluster, half-made ones too. Raises UsageError where no such cluster exists."""

    def list(self) -> tuple[ClusterSummary, ...]:
        """Clusters of this provider that the caller may use, rediscovered from the kernel or API."""


@runtime_checkable
class Cluster(Protocol):
    """A handle on a running cluster. `place` is a node, pod or replica name."""

    provider: str
    name: str

    def inventory(self) -> Inventory:
        """What should be there, with live VTEP MACs. Raises ClusterGoneError."""

    def vantage(self, place: str) -> Vantage:
        """The network namespace of a node or pod, as of now. Raises ClusterGoneError where it does not exist (now)."""

    def leases(self) -> tuple[Lease, ...]:
        """What every node has published about itself."""

    def run(
        self, place: str, argv: Sequence[str], *, timeout_s: float = 10.0, stdin: str = ""
    ) -> Completed:
        """Run a command in that network namespace (and the node's own /run). Raises ExecTransportError."""

    def close(self) -> None:
        """Let go of every descriptor; the cluster itself goes on."""


@runtime_checkable
class NodeLifecycle(Protocol):
    """Nodes that can be restarted and recreated."""

    def restart_node(self, node: str, *, down_s: float = 0.0) -> None:
        """Rebuild the node's namespace, devices, conntrack and /run; its pods come back. Waits until it is up.

        The node stays away for at least `down_s` seconds. Meanwhile its places raise ClusterGoneError.
        """

    def recreate_node(self, node: str, *, down_s: float = 0.0) -> None:
        """As restart, but the node object is new: new podCIDR, new pod addresses, new VTEP."""

    def boot_id(self, node: str) -> str:
        """Changes when, and only when, the node was restarted or recreated."""


@runtime_checkable
class CniAgents(Protocol):
    """The flannel agents of the nodes."""

    def agents(self) -> tuple[AgentStatus, ...]:
        """Which agents are frozen, read back from where they run."""

    def freeze_agent(self, node: str) -> None:
        """The agent misses every event from now on. Idempotent."""

    def thaw_agent(self, node: str) -> None:
        """The agent runs again and catches up, or not, as its generation does. Idempotent."""

    def renew_vtep(self, node: str, mac: str | None = None) -> None:
        """As after a silent reboot without a kept MAC: device deleted, agent restarted, new MAC (or `mac`) published."""

    def restart_agent(self, node: str) -> None:
        """The agent starts anew: makes its device if absent, publishes its lease, writes every peer's entries."""


@runtime_checkable
class AgentLogs(Protocol):
    """What the flannel agents say."""

    def agent_log(self, node: str) -> tuple[str, ...]:
        """The last lines that the node's agent logged, oldest first."""


@runtime_checkable
class ReplicaControl(Protocol):
    """DNS replicas that can be stopped, muted and started."""

    def replica_mode(self, replica: str) -> str:
        """One of "serving", "mute" (process up, no answers) or "stopped" (port closed), read back from the process."""

    def set_replica_mode(self, replica: str, mode: str) -> None:
        """Bring the replica to that mode; the endpoint stays published. Idempotent."""


@runtime_checkable
class ServiceProxies(Protocol):
    """The kube-proxy-like agents that write the VIP's rules on each node."""

    def sync_proxy(self, node: str) -> None:
        """Write the VIP rules of that node from the endpoints, whatever is there now. Idempotent."""


@runtime_checkable
class Executes(Protocol):
    """Commands that have the caller's own terminal and streams."""

    def exec_argv(self, place: str, argv: Sequence[str]) -> int:
        """Run a command at the place to its end; its exit status as a shell has it. Raises ExecTransportError."""
