"""Making a kind cluster: nodes, flannel, DNS replicas, client pods, until all of it is measured ready."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clusters import node_image
from clusters.commands import run_argv
from clusters.docker import docker
from clusters.errors import DeadlineExceededError, SetupError, UsageError
from clusters.kube import Kube
from clusters.providers.base import ClusterSpec
from clusters.providers.kind import identity as identities
from clusters.providers.kind import manifests, removal
from clusters.providers.kind.choice import Chosen, choose
from clusters.providers.kind.cluster import KindCluster
from clusters.providers.kind.config import PROXY_MODES, kind_config
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.kubeconfig import kubeconfig_path
from clusters.providers.kind.namespaces import Namespaces
from clusters.providers.kind.readiness import await_ready
from clusters.providers.kind.runc_bounded import host_lacks
from clusters.waiting import Deadline, poll_until

Say = Callable[[str], None]

_CREATE_S: Final = 600.0
_READY_S: Final = 240.0
_LOGS_S: Final = 120.0
_SAID_LINES: Final = 3
_FLANNEL_S: Final = 120.0
_SUBNET_FILE: Final = "run/flannel/subnet.env"
_WRITE: Final = "mkdir -p /etc/cni/net.d && cat > /etc/cni/net.d/10-flannel.conflist"
_DOMAIN: Final = "cluster.local"
_MOST_NODES: Final = 32
_MOST_PODS: Final = 20
# Not in the published node image; flannel's CNI plugin calls bridge.
_PLUGINS: Final = ("bridge", "flannel")


def check(spec: ClusterSpec) -> None:
    """Raises UsageError naming the field that cannot be right, SetupError where the caller is not root."""
    identities.checked_name(spec.name)
    _between("nodes", spec.nodes, 1, _MOST_NODES)
    _between("pods-per-node", spec.pods_per_node, 0, _MOST_PODS)
    _between("dns-replicas", spec.dns_replicas, 1, _MOST_PODS)
    _check_placement(spec)
    if spec.family != "ipv4":
        raise UsageError(f"family: on kind, expected ipv4, got {spec.family!r}")
    if spec.proxy_mode not in PROXY_MODES:
        expected = " or ".join(PROXY_MODES)
        raise UsageError(f"proxy-mode: expected {expected}, got {spec.proxy_mode!r}")
    if os.geteuid() != 0:
        raise SetupError(
            "a kind cluster is measured from inside its namespaces: run graymesh as root"
        )


def _check_placement(spec: ClusterSpec) -> None:
    """One Deployment can be kept to chosen nodes and spread evenly over them; nothing finer."""
    if spec.replica_nodes is None:
        return
    for index in spec.replica_nodes:
        _between("replica-nodes", index, 0, spec.nodes - 1)
    counts = set(Counter(spec.replica_nodes).values())
    if len(spec.replica_nodes) != spec.dns_replicas or len(counts) != 1:
        raise UsageError(
            f"replica-nodes: on kind, expected {spec.dns_replicas} node numbers, each as often as"
            f" the others, got {', '.join(map(str, spec.replica_nodes)) or 'none'}"
        )


def make(spec: ClusterSpec, progress: Say) -> None:
    """Make the cluster of a checked spec, whose name is free. Whatever happens before it is ready takes it down again."""
    chosen = choose(spec, progress)
    identity = identities.identity_of(spec, flannel=chosen.flannel, image=chosen.image)
    identities.claim(identity)
    with _undone_on_failure(identity, progress):
        started_s = time.monotonic()
        progress(f"kind: making {spec.nodes} nodes, flannel {chosen.flannel}")
        _create_nodes(spec, identity, chosen, progress)
        progress(f"kind: nodes are made after {time.monotonic() - started_s:.0f} s; filling them")
        _fill(spec, identity, chosen, progress)
        cluster = KindCluster(identity, kubeconfig_path(identity.name))
        with contextlib.closing(cluster):
            await_ready(cluster, identity, deadline=Deadline.after(_READY_S))
        progress(
            f"kind: ready after {time.monotonic() - started_s:.0f} s;"
            f" KUBECONFIG={kubeconfig_path(identity.name)}"
        )


@contextlib.contextmanager
def _undone_on_failure(identity: Identity, progress: Say) -> Iterator[None]:
    try:
        yield
    except DeadlineExceededError as exc:
        where = _collected_logs(identity)
        _remove(identity, progress)
        raise DeadlineExceededError(f"{exc}; logs of the nodes: {where}") from exc
    except BaseException:  # an interrupt too: nothing is left behind
        _remove(identity, progress)
        raise


def _remove(identity: Identity, progress: Say) -> None:
    progress(f"removing what was made of {identity.name}")
    removal.remove(identity.name)


def _create_nodes(spec: ClusterSpec, identity: Identity, chosen: Chosen, progress: Say) -> None:
    config = kind_config(spec, built=chosen.built, lacks_capability=bool(host_lacks()))
    target = kubeconfig_path(spec.name)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = run_argv(
        [
            *(str(node_image.kind_program(progress)), "create", "cluster"),
            *("--name", spec.name, "--image", chosen.image, "--kubeconfig", str(target)),
            *("--config", "-", "--retain", "--quiet"),
        ],
        timeout_s=_CREATE_S,
        stdin=config,
        env={**os.environ, "KIND_EXPERIMENTAL_DOCKER_NETWORK": identity.network},
    )
    if done.status:
        said = " | ".join(done.stderr.strip().splitlines()[:_SAID_LINES])
        raise SetupError(
            f"kind could not make the nodes: {said}; logs: {_collected_logs(identity)}"
        )


def _fill(spec: ClusterSpec, identity: Identity, chosen: Chosen, progress: Say) -> None:
    nodes = identity.node_names
    wanted = spec.replica_nodes or [(i + 1) % spec.nodes for i in range(spec.dns_replicas)]
    with contextlib.closing(Kube(kubeconfig_path(spec.name))) as kube:
        kube.create(manifests.flannel_objects(chosen.flannel_image, spec.name, api_host=nodes[0]))
        kube.replace_data(
            "coredns",
            {"Corefile": manifests.corefile(_DOMAIN)},
            namespace=manifests.DNS_NAMESPACE,
        )
        kube.patch_deployment(
            "coredns",
            manifests.dns_change(spec.dns_replicas, [nodes[i] for i in wanted]),
            namespace=manifests.DNS_NAMESPACE,
        )
        kube.create(manifests.client_objects(identity))
    for node in nodes:
        if chosen.built is None:
            _copy_plugins(node, progress)
    _configure_cni(identity)


def _configure_cni(identity: Identity) -> None:
    """Tell each node's container runtime of flannel once flannel can serve it.

    Told earlier, every pod's first start fails, and the kubelet waits some ten seconds before the next one.
    """
    deadline = Deadline.after(_FLANNEL_S)
    with contextlib.closing(Namespaces(identity)) as namespaces:
        for node in identity.node_names:
            root = Path(f"/proc/{namespaces.node(node).pid}/root")
            poll_until(
                (root / _SUBNET_FILE).exists,
                awaited=f"flanneld of {node} to write /{_SUBNET_FILE}",
                deadline=deadline,
                every_s=0.1,
            )
            docker(["exec", "--interactive", node, "sh", "-c", _WRITE], stdin=manifests.CNI_CONFIG)


def _copy_plugins(node: str, progress: Say) -> None:
    for plugin in _PLUGINS:
        source = node_image.cni_program(plugin, progress)
        docker(["cp", str(source), f"{node}:/opt/cni/bin/{plugin}"])


def _collected_logs(identity: Identity) -> str:
    """Where the nodes' journals have been written to; they are the user's to remove."""
    folder = Path(tempfile.mkdtemp(prefix=f"graymesh-{identity.name}-logs-"))
    for node in identities.containers(identity.name):
        done = run_argv(["docker", "logs", node], timeout_s=_LOGS_S)
        (folder / f"{node}.console").write_text(done.stdout + done.stderr)
        argv = ["docker", "exec", node, "journalctl", "--no-pager", "--lines=2000"]
        done = run_argv(argv, timeout_s=_LOGS_S)
        (folder / f"{node}.journal").write_text(done.stdout + done.stderr)
    return str(folder)


def _between(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{field}: expected {low} to {high}, got {value}")
