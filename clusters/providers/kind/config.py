"""kind's configuration of a cluster, as JSON (which is YAML too)."""

from __future__ import annotations

import json
from typing import Final

from clusters.node_image import Built
from clusters.providers.base import ClusterSpec
from clusters.providers.kind.manifests import CLUSTER_CIDR

PROXY_MODES: Final = ("iptables", "nftables")


def kind_config(spec: ClusterSpec, *, built: Built | None, lacks_capability: bool) -> str:
    """The configuration for `kind create cluster`.

    `built` is the image's description where it was built here: kubeadm then has to ask for the versions in it.
    Where the host's bounding set lacks a capability, kubelet must not insist on setting what it then cannot.
    """
    owner = {"graymesh.cluster": spec.name}
    roles = ["control-plane", *["worker"] * (spec.nodes - 1)]
    return json.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": spec.name,
            "networking": {
                "disableDefaultCNI": True,
                "podSubnet": CLUSTER_CIDR,
                "kubeProxyMode": spec.proxy_mode,
            },
            "kubeadmConfigPatches": [
                _kubelet(lacks_capability=lacks_capability),
                *([_cluster(built)] if built is not None else []),
            ],
            "nodes": [{"role": role, "labels": owner} for role in roles],
        },
        indent=1,
    )


def _kubelet(*, lacks_capability: bool) -> str:
    gates = {"featureGates": {"KubeletInUserNamespace": True}} if lacks_capability else {}
    return json.dumps({"kind": "KubeletConfiguration", "failCgroupV1": False, **gates})


def _cluster(built: Built) -> str:
    return json.dumps(
        {
            "kind": "ClusterConfiguration",
            "dns": {"imageTag": built.coredns},
            "etcd": {"local": {"imageTag": built.etcd}},
        }
    )
