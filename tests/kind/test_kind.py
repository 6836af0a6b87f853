"""A real Kubernetes cluster with real flannel, CoreDNS and kube-proxy, entered from the host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clusters.docker import docker
from clusters.errors import ClusterGoneError, UsageError
from clusters.netns import inside
from clusters.providers import base
from clusters.providers.base import ClusterSpec
from clusters.providers.kind import identity as identities
from clusters.providers.kind.cluster import KindCluster
from clusters.providers.kind.inventory import addresses_of
from clusters.providers.kind.provider import KindProvider
from clusters.state import Neigh, NodeState
from clusters.state_reader import read_node, read_state
from clusters.waiting import Deadline, poll_until
from probes.engine import sweep
from probes.model import PROTOCOLS, Observation
from probes.plan import make_plan

pytestmark = pytest.mark.kind

_SEEN_S = 30.0
_SWEEP_S = 1.0


def test_it_offers_every_power_of_a_provider(cluster: KindCluster) -> None:
    """Faults find what they may do by these protocols."""
    for power in (
        *(base.Cluster, base.NodeLifecycle, base.CniAgents, base.AgentLogs),
        *(base.ReplicaControl, base.ServiceProxies, base.Executes),
    ):
        assert isinstance(cluster, power)


def test_the_inventory_is_what_was_asked_for(cluster: KindCluster) -> None:
    """Four nodes, a pod on each, replicas on three nodes of their own, the first node without one."""
    inventory = cluster.inventory()

    names = [node.name for node in inventory.nodes]
    assert len(names) == 4
    assert [pod.name for pod in inventory.pods] == [f"{name}-p0" for name in names]
    assert sorted(replica.node for replica in inventory.replicas) == sorted(names[1:])
    assert inventory.vip == "10.96.0.10"
    assert inventory.dialect == "persistent"
    assert all(node.vtep.mac for node in inventory.nodes)


def test_the_users_kubeconfig_is_left_alone(cluster: KindCluster) -> None:
    """The cluster has its own file, readable by its owner only."""
    own = cluster._kubeconfig

    assert own.stat().st_mode & 0o077 == 0
    default = Path.home() / ".kube/config"
    assert not default.exists() or cluster.name not in default.read_text()


def test_a_vantage_is_the_pods_own_namespace(cluster: KindCluster) -> None:
    """The address that the API says is really there, seen from inside."""
    inventory = cluster.inventory()

    for pod in (*inventory.pods, *inventory.replicas):
        vantage = cluster.vantage(pod.name)
        with inside(vantage):
            inode = Path("/proc/thread-self/ns/net").stat().st_ino
        assert inode == os.fstat(vantage.fd).st_ino
        assert pod.ips[0] in {address.cidr.split("/")[0] for address in addresses_of(vantage)}
    with pytest.raises(ClusterGoneError):
        cluster.vantage("no-such-pod")


def test_a_healthy_cluster_passes_a_whole_sweep_in_time(cluster: KindCluster) -> None:
    """Every protocol from every pod to every replica and the VIP: the probes know nothing of kind."""
    plan = make_plan(cluster.inventory(), PROTOCOLS)

    observation = sweep(cluster, plan)

    assert _failed(observation) == set()
    assert len(observation.pairs) > 0
    assert observation.duration_s < _SWEEP_S


def test_a_node_and_its_pods_run_commands_of_the_node(cluster: KindCluster) -> None:
    """A command has the place's network and the node's file system; its status is a result."""
    node = cluster.inventory().nodes[1].name

    pod = cluster.run(f"{node}-p0", ["ip", "-br", "addr", "show", "flannel.1"])
    failed = cluster.run(node, ["false"])

    assert cluster.run(node, ["cat", "/kind/version"]).stdout.startswith("v1.")
    assert "does not exist" in pod.stderr
    assert failed.status == 1


def test_a_command_on_a_node_sees_the_nodes_processes_only(cluster: KindCluster) -> None:
    """A signal sent by number must never reach the host's process of that number."""
    node = cluster.inventory().nodes[1].name

    first = cluster.run(node, ["cat", "/proc/1/comm"]).stdout.strip()
    mine = cluster.run(f"{node}-p0", ["sh", "-c", "echo $$; cat /proc/$$/comm"]).stdout.split()

    assert first == "systemd"
    assert mine[1] == "sh"
    assert Path("/proc/self/ns/pid").stat() == Path("/proc/self/ns/pid_for_children").stat()


def test_frozen_peers_keep_the_old_mac_of_a_renewed_device(cluster: KindCluster) -> None:
    """The founding incident: two peers miss the change, one learns it; thawed, all know it again."""
    victim, fresh, *stale = (node.name for node in cluster.inventory().nodes)
    before = _mac(cluster, victim)
    for node in stale:
        cluster.freeze_agent(node)
    assert {one.node for one in cluster.agents() if one.frozen} == set(stale)

    cluster.renew_vtep(victim)

    after = _mac(cluster, victim)
    assert after != before
    _await_neighbour(cluster, fresh, victim, after)
    assert {_neighbour(cluster, node, victim).mac for node in stale} == {before}
    failed = _failed(sweep(cluster, make_plan(cluster.inventory(), ("oneway",))))
    assert failed == {(f"{node}-p0", f"{victim}-p0") for node in stale}
    for node in stale:
        cluster.thaw_agent(node)
        _await_neighbour(cluster, node, victim, after)


def test_a_given_mac_is_published_and_used(cluster: KindCluster) -> None:
    """Undo of a renewal brings the old MAC back: device, lease and peers."""
    victim = cluster.inventory().nodes[1].name
    wanted = "02:aa:bb:cc:dd:ee"

    cluster.renew_vtep(victim, wanted)

    assert _mac(cluster, victim) == wanted
    assert {lease.node: lease.mac for lease in cluster.leases()}[victim] == wanted


def test_a_deleted_device_comes_back_empty_and_only_a_restart_fills_it(
    cluster: KindCluster,
) -> None:
    """Flannel v0.28.10 makes the device again, with its MAC and without any peer (real_flannel a)."""
    victim = cluster.inventory().nodes[2].name
    before = _mac(cluster, victim)

    cluster.run(victim, ["ip", "link", "del", "flannel.1"])
    poll_until(
        lambda: _mac(cluster, victim),
        until=lambda mac: mac == before,
        awaited="flannel.1 to be back",
        deadline=Deadline.after(_SEEN_S),
    )

    assert _peers(read_node(cluster, victim)) == 0
    cluster.restart_agent(victim)
    assert _peers(read_node(cluster, victim)) == 3


def test_a_mute_replica_is_silent_and_a_stopped_one_refuses(cluster: KindCluster) -> None:
    """Both lose every answer, each in its own way, and both serve again afterwards."""
    replica = cluster.inventory().replicas[0].name

    for mode, error in (("mute", "timeout"), ("stopped", "refused")):
        cluster.set_replica_mode(replica, mode)
        assert cluster.replica_mode(replica) == mode
        observation = sweep(cluster, make_plan(cluster.inventory(), ("dns-udp",)))
        assert {dst for _src, dst in _failed(observation)} == {replica}
        assert {kind for one in observation.pairs for kind in one.errors} == {error}
    cluster.set_replica_mode(replica, "serving")

    assert cluster.replica_mode(replica) == "serving"
    assert _failed(sweep(cluster, make_plan(cluster.inventory(), ("dns-udp",)))) == set()


def test_lost_rules_of_the_vip_are_written_again(cluster: KindCluster) -> None:
    """A jump is deleted behind kube-proxy's back, which does not look for it."""
    node = cluster.inventory().nodes[3].name
    cluster.run(node, ["iptables", "-t", "nat", "-F", "KUBE-SERVICES"])
    broken = read_node(cluster, node, vip=True).vip
    assert broken is not None
    assert not broken.targets["udp"]

    cluster.sync_proxy(node)

    mended = read_node(cluster, node, vip=True).vip
    assert mended is not None
    assert len(mended.targets["udp"]) == len(mended.targets["tcp"]) == 3


def test_a_restart_is_told_by_the_boot_id_and_keeps_the_mac(cluster: KindCluster) -> None:
    """The node's namespace is new; flannel takes its MAC from the lease; the other nodes did not restart."""
    _first, victim, other, *_ = (node.name for node in cluster.inventory().nodes)
    boots = {node: cluster.boot_id(node) for node in (victim, other)}
    before = cluster.inventory().node(victim)
    old = os.fstat(cluster.vantage(f"{victim}-p0").fd).st_ino

    cluster.restart_node(victim)

    assert cluster.boot_id(victim) != boots[victim]
    assert cluster.boot_id(other) == boots[other]
    after = cluster.inventory().node(victim)
    assert after.vtep.mac == before.vtep.mac
    assert after.pod_cidrs == before.pod_cidrs
    assert os.fstat(cluster.vantage(f"{victim}-p0").fd).st_ino != old


def test_a_recreated_node_has_a_new_pod_cidr_and_mac(cluster: KindCluster) -> None:
    """Even where the controller manager has just started and would give the first podCIDR that is free."""
    control, *_, victim = (node.name for node in cluster.inventory().nodes)
    before = cluster.inventory().node(victim)
    assert cluster.run(control, ["pkill", "kube-controller"]).status == 0

    cluster.recreate_node(victim)

    after = cluster.inventory().node(victim)
    assert after.pod_cidrs != before.pod_cidrs
    assert after.vtep.mac != before.vtep.mac
    with pytest.raises(UsageError, match="control plane"):
        cluster.recreate_node(control)
    assert len(cluster._kube.nodes()) == 4


def test_while_the_api_is_away_places_and_tables_are_still_there(cluster: KindCluster) -> None:
    """The inventory is the last one seen; namespaces are found without the API."""
    before = cluster.inventory()
    control = before.nodes[0].name
    leases = cluster.leases()
    assert cluster._kube.ready()
    assert cluster.run(control, ["pkill", "-STOP", "kube-apiserver"]).status == 0
    try:
        assert not cluster._kube.ready()
        during = cluster.inventory()
        state = read_state(cluster)
    finally:
        cluster.run(control, ["pkill", "-CONT", "kube-apiserver"])

    assert during == before
    assert set(state.nodes) == {node.name for node in before.nodes}
    assert state.leases == leases


def test_the_cluster_is_found_again_by_its_labels_alone(cluster: KindCluster) -> None:
    """No state file: a lost kubeconfig is written anew by kind."""
    cluster._kubeconfig.unlink()

    again = KindProvider().open(cluster.name)

    assert again.inventory().nodes == cluster.inventory().nodes
    again.close()
    (summary,) = (one for one in KindProvider().list() if one.name == cluster.name)
    assert (summary.nodes, summary.replicas) == (4, 3)


def test_a_name_that_is_taken_is_refused(cluster: KindCluster) -> None:
    """The cluster of that name is not touched."""
    with pytest.raises(UsageError, match="exists"):
        KindProvider().up(ClusterSpec(provider="kind", name=cluster.name), progress=print)


@pytest.fixture
def foreign() -> Iterator[str]:
    """A container as kind makes them, of a cluster that graymesh did not make."""
    name = f"foreign{os.getpid()}"
    (built, *_) = _images()
    container = docker(
        ["create", f"--label={identities.KIND_LABEL}={name}", "--entrypoint=true", built]
    ).strip()
    yield name
    docker(["rm", "--force", container])


def test_a_foreign_cluster_is_left_alone(foreign: str) -> None:
    """Neither listed, opened, removed nor built over."""
    provider = KindProvider()

    assert foreign not in {one.name for one in provider.list()}
    for act in (provider.open, provider.down):
        with pytest.raises(UsageError, match="not made by graymesh"):
            act(foreign)
    with pytest.raises(UsageError, match="somebody else"):
        provider.up(ClusterSpec(provider="kind", name=foreign), progress=print)
    assert len(identities.containers(foreign)) == 1


def test_a_half_made_cluster_is_listed_and_removed() -> None:
    """Interrupted right after its network was made; removing it twice is told apart."""
    spec = ClusterSpec(provider="kind", name=f"half{os.getpid()}")
    identities.claim(identities.identity_of(spec, flannel="v0.28.10", image="none"))
    provider = KindProvider()
    assert spec.name in {one.name for one in provider.list()}

    provider.down(spec.name)

    assert spec.name not in {one.name for one in provider.list()}
    with pytest.raises(UsageError, match="no kind cluster"):
        provider.down(spec.name)


def _images() -> list[str]:
    argv = ["image", "ls", "--format={{.Repository}}:{{.Tag}}", "graymesh/node"]
    return docker(argv).split()


def _failed(observation: Observation) -> set[tuple[str, str]]:
    return {(one.pair.src, one.pair.dst) for one in observation.pairs if one.ok < one.sent}


def _mac(cluster: KindCluster, node: str) -> str | None:
    return cluster.inventory().node(node).vtep.mac


def _neighbour(cluster: KindCluster, observer: str, owner: str) -> Neigh:
    overlay = cluster.inventory().node(owner).pod_cidrs[0].partition("/")[0]
    entries: Mapping[str, Neigh] = {n.ip: n for n in read_node(cluster, observer).neighbours}
    return entries[overlay]


def _await_neighbour(cluster: KindCluster, observer: str, owner: str, mac: str | None) -> None:
    poll_until(
        lambda: _neighbour(cluster, observer, owner).mac,
        until=lambda seen: seen == mac,
        awaited=f"{observer} to learn the MAC of {owner}",
        deadline=Deadline.after(_SEEN_S),
        every_s=0.1,
    )


def _peers(state: NodeState) -> int:
    """How many peers' neighbour entries the node's overlay device has."""
    overlay = re.compile(r"10\.244\.\d+\.0")
    return sum(n.device == "flannel.1" and bool(overlay.fullmatch(n.ip)) for n in state.neighbours)
