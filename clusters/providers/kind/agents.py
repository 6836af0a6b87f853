"""The agents of a kind node: flanneld and kube-proxy, ordinary processes of the host in ordinary pods."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Final

from clusters.errors import ClusterGoneError, SetupError
from clusters.kube import Kube, KubePod
from clusters.providers.base import AgentStatus, Cluster
from clusters.providers.kind import manifests, processes
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.inventory import VTEP, annotation
from clusters.providers.kind.processes import Process
from clusters.providers.kind.readiness import await_agent
from clusters.waiting import Deadline, poll_until

FLANNELD: Final = "flanneld"
KUBE_PROXY: Final = "kube-proxy"
_PROXY_SELECTOR: Final = "k8s-app=kube-proxy"
_STATE_S: Final = 2.0  # for a signal to show in /proc
_RESTART_S: Final = 60.0
_LOG_LINES: Final = 50
_VNI: Final = 1


def statuses(identity: Identity, command: str) -> tuple[AgentStatus, ...]:
    """Whether each node's agent is frozen; a node whose agent does not run has no status."""
    found = processes.find(command)
    return tuple(
        AgentStatus(node=node, frozen=processes.stopped(found[node]))
        for node in identity.node_names
        if node in found
    )


def freeze(node: str, command: str) -> None:
    """Stop the agent where it stands. Raises ClusterGoneError where it does not run, DeadlineExceededError."""
    process = _process(node, command)
    with _living(process):
        processes.stop(process)
    _await_state(process, frozen=True)


def thaw(node: str, command: str) -> None:
    """Let the agent go on. Raises as `freeze`."""
    process = _process(node, command)
    with _living(process):
        processes.go_on(process)
    _await_state(process, frozen=False)


def flannel_pod(kube: Kube, node: str) -> KubePod:
    """The pod of the node's flanneld. Raises ClusterGoneError."""
    return _pod(kube, manifests.FLANNEL_SELECTOR, manifests.FLANNEL_NAMESPACE, node)


def restart_flanneld(cluster: Cluster, kube: Kube, node: str) -> None:
    """Replace the node's flannel pod and return when the new one has written its tables.

    Raises ClusterGoneError, DeadlineExceededError; the DaemonSet goes on trying then.
    """
    deadline = Deadline.after(_RESTART_S)
    _replace(kube, flannel_pod(kube, node), FLANNELD, deadline)
    await_agent(cluster, node, deadline=deadline)


def renew_vtep(cluster: Cluster, kube: Kube, node: str, mac: str | None) -> None:
    """Device deleted, what was published about it forgotten (or another MAC published), flanneld made anew.

    The old flanneld is stopped first: a live one makes the device again, with the old MAC, and the new one keeps it.
    Raises as `restart_flanneld`, and SetupError.
    """
    freeze(node, FLANNELD)
    data = None if mac is None else _backend_data(mac)
    kube.annotate_node(node, {annotation("backend-data"): data})
    done = cluster.run(node, ["ip", "link", "del", VTEP])
    if done.status and "Cannot find device" not in done.stderr:
        raise SetupError(f"cannot delete {VTEP} on {node}: {done.stderr.strip()}")
    restart_flanneld(cluster, kube, node)


def _backend_data(mac: str) -> str:
    """As flanneld writes it. It reads it by cutting at `:"`, so there may be no space (pkg/subnet/kube)."""
    return json.dumps({"VNI": _VNI, "VtepMAC": mac}, separators=(",", ":"))


def restart_proxy(kube: Kube, node: str, *, deadline: Deadline) -> None:
    """Replace the node's kube-proxy pod; it writes all rules when it starts. Raises as `restart_flanneld`."""
    pod = _pod(kube, _PROXY_SELECTOR, manifests.DNS_NAMESPACE, node)
    _replace(kube, pod, KUBE_PROXY, deadline)


def log(kube: Kube, node: str) -> tuple[str, ...]:
    """The last lines of the node's flanneld."""
    pod = flannel_pod(kube, node)
    return kube.log(pod.name, namespace=pod.namespace, lines=_LOG_LINES)


def _replace(kube: Kube, pod: KubePod, command: str, deadline: Deadline) -> None:
    before = processes.find(command).get(pod.node)
    kube.delete_pod(pod.name, namespace=pod.namespace)

    def changed(found: Mapping[str, Process]) -> bool:
        now = found.get(pod.node)
        return now is not None and now != before

    poll_until(
        lambda: processes.find(command),
        until=changed,
        awaited=f"a new {command} on {pod.node}",
        deadline=deadline,
        every_s=0.1,
    )


def _pod(kube: Kube, selector: str, namespace: str, node: str) -> KubePod:
    pods = [pod for pod in kube.pods(selector, namespace=namespace) if pod.node == node]
    if not pods:
        raise ClusterGoneError(f"node {node} has no pod {selector} in {namespace}")
    return min(pods, key=lambda pod: pod.terminating)


def _process(node: str, command: str) -> Process:
    found = processes.find(command).get(node)
    if found is None:
        raise ClusterGoneError(f"{command} of {node} does not run")
    return found


@contextlib.contextmanager
def _living(process: Process) -> Iterator[None]:
    try:
        yield
    except ProcessLookupError as exc:
        raise ClusterGoneError(f"{process.command} of {process.place} has just ended") from exc


def _await_state(process: Process, *, frozen: bool) -> None:
    poll_until(
        lambda: processes.stopped(process),
        until=lambda seen: seen == frozen,
        awaited=f"{process.command} of {process.place} to {'stop' if frozen else 'go on'}",
        deadline=Deadline.after(_STATE_S),
    )
