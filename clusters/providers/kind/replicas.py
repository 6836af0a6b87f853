"""DNS replicas that are muted or closed, by signal and by a rule in the pod's own namespace."""

from __future__ import annotations

from typing import Final

from clusters.errors import ClusterGoneError, SetupError, UsageError
from clusters.providers.base import Cluster, Completed
from clusters.providers.kind import processes
from clusters.providers.kind.agents import freeze, thaw

_COREDNS: Final = "coredns"
_MODES: Final = ("serving", "mute", "stopped")
_MARK: Final = "graymesh-stopped"
# What a host answers for a port that nobody listens on (RFC 1122 4.1.3.1, RFC 9293 3.10.7.1).
_CLOSED: Final = {"udp": "icmp-port-unreachable", "tcp": "tcp-reset"}


def mode_of(cluster: Cluster, replica: str) -> str:
    """As `ReplicaControl.replica_mode`: "mute" where the process is stopped, "stopped" where the port is closed."""
    process = processes.find(_COREDNS).get(replica)
    if process is None:
        raise ClusterGoneError(f"replica {replica} does not run")
    if processes.stopped(process):
        return "mute"
    return "stopped" if all(_is_closed(cluster, replica, kind) for kind in _CLOSED) else "serving"


def set_mode(cluster: Cluster, replica: str, mode: str) -> None:
    """As `ReplicaControl.set_replica_mode`.

    A mute replica fails its readiness probe: after 30 s its endpoint is no longer ready, as in any cluster. A
    stopped one goes on being ready: only its DNS port is closed.
    """
    if mode not in _MODES:
        raise UsageError(f"mode: expected one of {', '.join(_MODES)}, got {mode!r}")
    for transport in _CLOSED:
        if (mode == "stopped") != _is_closed(cluster, replica, transport):
            flag = "-I" if mode == "stopped" else "-D"
            done = _iptables(cluster, replica, flag, transport)
            if done.status:
                raise SetupError(f"cannot make {replica} {mode}: {done.stderr.strip()}")
    act = freeze if mode == "mute" else thaw
    act(replica, _COREDNS)


def _is_closed(cluster: Cluster, replica: str, transport: str) -> bool:
    return _iptables(cluster, replica, "-C", transport).status == 0


def _iptables(cluster: Cluster, replica: str, flag: str, transport: str) -> Completed:
    rule = [
        *("-p", transport, "--dport", "53", "-m", "comment", "--comment", _MARK),
        *("-j", "REJECT", "--reject-with", _CLOSED[transport]),
    ]
    return cluster.run(replica, ["iptables", "-w", flag, "INPUT", *rule])
