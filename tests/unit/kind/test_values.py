"""The pure parts of the kind provider: names, configuration, manifests, what doctor says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clusters.errors import UsageError
from clusters.node_image import Built
from clusters.providers.base import ClusterSpec
from clusters.providers.kind import docker_facts, inventory, making, manifests
from clusters.providers.kind.config import kind_config
from clusters.providers.kind.identity import Identity, checked_name
from clusters.topology import Inventory, Node, Pod

_BUILT = Built(
    image="graymesh/node:x",
    kubernetes="v1.34.4",
    coredns="v1.14.3",
    etcd="3.6.16",
    flannel=("v0.28.10",),
    size_bytes=1,
)


def _identity(nodes: int = 4, pods_per_node: int = 1) -> Identity:
    return Identity(
        name="lab",
        nodes=nodes,
        pods_per_node=pods_per_node,
        replicas=3,
        flannel="v0.28.10",
        image="i",
    )


def test_nodes_have_the_names_that_kind_gives() -> None:
    """The inventory expects these whether or not they are found; kind counts from the second worker on."""
    assert _identity().node_names == (
        "lab-control-plane",
        "lab-worker",
        "lab-worker2",
        "lab-worker3",
    )
    assert _identity(nodes=1).node_names == ("lab-control-plane",)


@pytest.mark.parametrize("name", ["a_b", "x" * 41, "-a", ""])
def test_names_that_kind_or_a_host_name_cannot_have_are_refused(name: str) -> None:
    """Kind would fail minutes later, and less clearly."""
    assert checked_name("a-b.c1") == "a-b.c1"
    with pytest.raises(UsageError):
        checked_name(name)


def test_the_configuration_leaves_the_network_to_flannel() -> None:
    """No default CNI, flannel's podCIDR, our versions only where the image holds ours."""
    spec = ClusterSpec(provider="kind", name="lab", nodes=3)
    config = json.loads(kind_config(spec, built=_BUILT, lacks_capability=True))

    assert config["networking"]["disableDefaultCNI"] is True
    assert config["networking"]["podSubnet"] == manifests.CLUSTER_CIDR
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    patches = [json.loads(patch) for patch in config["kubeadmConfigPatches"]]
    assert patches[0]["featureGates"] == {"KubeletInUserNamespace": True}
    assert patches[1]["dns"] == {"imageTag": "v1.14.3"}

    stock = json.loads(kind_config(spec, built=None, lacks_capability=False))
    (kubelet,) = [json.loads(patch) for patch in stock["kubeadmConfigPatches"]]
    assert "featureGates" not in kubelet


def test_replicas_never_share_a_node_as_long_as_there_are_enough() -> None:
    """Required anti-affinity needs a node for each; with fewer nodes they are spread evenly instead."""
    alone = _affinity(manifests.dns_change(3, ["a", "b", "c"]))
    crowded = _affinity(manifests.dns_change(5, ["a", "b", "c"]))

    assert alone["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert not crowded["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = crowded["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"][0]["values"] == ["a", "b", "c"]


def test_every_client_pod_says_its_place_on_the_host() -> None:
    """The host finds a pod's namespace by this variable alone, without the API."""
    _namespace, *sets = manifests.client_objects(_identity(pods_per_node=2))

    places = [_environment(item)[manifests.PLACE_VARIABLE] for item in sets]

    assert places == ["$(NODE)-p0", "$(NODE)-p1"]


def test_a_replica_answers_the_identity_name_with_its_own_address() -> None:
    """The VIP probes tell replicas apart by it."""
    text = manifests.corefile("cluster.local")

    assert "template IN A replica.graymesh.cluster.local" in text
    assert "IN A {$POD_IP}" in text
    assert text.count("{\n") == text.count("}\n")


@pytest.mark.parametrize(
    ("version", "dialect"),
    [("v0.24.0", "static"), ("v0.24.1", "persistent"), ("v0.28.10", "persistent")],
)
def test_a_flannel_version_has_its_dialect(version: str, dialect: str) -> None:
    """v0.24.1 is the first that keeps its MAC (docs/concepts.md)."""
    assert inventory.dialect_of(version) == dialect


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ClusterSpec(nodes=0), "nodes"),
        (ClusterSpec(dns_replicas=0), "dns-replicas"),
        (ClusterSpec(replica_nodes=(1, 2, 4)), "replica-nodes"),
        (ClusterSpec(replica_nodes=(1, 1, 2)), "replica-nodes"),
        (ClusterSpec(replica_nodes=(1, 2)), "replica-nodes"),
        (ClusterSpec(family="dual"), "family"),
        (ClusterSpec(proxy_mode="ipvs"), "proxy-mode"),
    ],
)
def test_a_spec_that_cannot_be_made_names_its_field(spec: ClusterSpec, field: str) -> None:
    """Refused before anything is made."""
    with pytest.raises(UsageError, match=f"^{field}: "):
        making.check(spec)


def test_a_missing_capability_is_a_no_only_where_the_runtime_asks_for_it() -> None:
    """The bounding runtime makes up for it; a full set needs none."""
    assert docker_facts.privileged((), "runc").ok is True
    assert docker_facts.privileged(("CAP_SYS_RESOURCE",), "graymesh-bounded").ok is True
    missing = docker_facts.privileged(("CAP_SYS_RESOURCE",), "runc")
    assert missing.ok is False
    assert "CAP_SYS_RESOURCE" in missing.detail
    assert missing.fix


def test_a_daemon_without_cgroups_is_a_no() -> None:
    """Kubelet runs on version 1 and on version 2, and on nothing else."""
    assert docker_facts.cgroup("1", "cgroupfs").ok is True
    assert docker_facts.cgroup("", "").ok is False


def test_what_is_being_restarted_keeps_its_address_until_it_has_another() -> None:
    """Rows and columns of a running measurement must not lose their address in between."""

    def seen(pod: tuple[str, ...], cidrs: tuple[str, ...]) -> Inventory:
        return Inventory(
            provider="kind",
            name="lab",
            vips=("10.96.0.10",),
            nodes=(Node(name="a", underlay=("172.18.0.2",), pod_cidrs=cidrs),),
            pods=(Pod(name="a-p0", node="a", ips=pod),),
            replicas=(),
        )

    before = seen(("10.244.1.2",), ("10.244.1.0/24",))
    after = seen(("10.244.2.2",), ("10.244.2.0/24",))

    assert inventory.remembering(seen((), ()), before) == before
    assert inventory.remembering(after, before) == after
    assert inventory.remembering(seen((), ()), None).pods[0].ips == ()


def _affinity(change: manifests.Json) -> dict[str, Any]:
    affinity: dict[str, Any] = json.loads(json.dumps(change))["spec"]["template"]["spec"][
        "affinity"
    ]
    return affinity


def _environment(item: manifests.Json) -> dict[str, str | None]:
    (container,) = json.loads(json.dumps(item))["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value") for one in container["env"]}
