"""The objects that graymesh puts into a kind cluster, and the changes to those of kubeadm: pure values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from clusters.dns_names import identity_name
from clusters.providers.kind.identity import Identity

Json = Mapping[str, object]

CLUSTER_CIDR: Final = "10.244.0.0/16"
FLANNEL_NAMESPACE: Final = "kube-flannel"
CLIENT_NAMESPACE: Final = "graymesh"
DNS_NAMESPACE: Final = "kube-system"
DNS_SELECTOR: Final = "k8s-app=kube-dns"
CLIENT_SELECTOR: Final = "app=graymesh-client"
FLANNEL_SELECTOR: Final = "app=flannel"
PLACE_VARIABLE: Final = "GRAYMESH_PLACE"
"""Set in every process that graymesh finds on the host by it: pods by their name, agents by their node."""

PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
_API_PORT: Final = "6443"
_BACKEND: Final = {"Type": "vxlan"}
_ANYWHERE: Final = [{"operator": "Exists"}]

CNI_CONFIG: Final = json.dumps(
    {
        "name": "cbr0",
        "cniVersion": "0.3.1",
        "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
)
"""What the container runtime of each node reads, as in flannel's own manifest."""


def client_name(node: str, slot: int) -> str:
    """The inventory's name of a client pod: the pod itself is the DaemonSet's, and comes and goes."""
    return f"{node}-p{slot}"


def flannel_objects(image: str, owner: str, *, api_host: str) -> tuple[Json, ...]:
    """Flannel in VXLAN mode with the Kubernetes API as its store.

    It reaches the API server at `api_host`, not by the service address: that one works only once kube-proxy has run,
    and until then flanneld ends, is started ever later, and a node's restart takes minutes after a few of them.
    """
    meta = {"name": "flannel", "labels": _owned(owner)}
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "flannel", "namespace": FLANNEL_NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "flannel"}
    net_conf = {"Network": CLUSTER_CIDR, "EnableNFTables": False, "Backend": _BACKEND}
    return (
        _namespace(FLANNEL_NAMESPACE, owner),
        _object("v1", "ServiceAccount", {**meta, "namespace": FLANNEL_NAMESPACE}),
        {**_object("rbac.authorization.k8s.io/v1", "ClusterRole", meta), "rules": rules},
        {
            **_object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", meta),
            "roleRef": role,
            "subjects": [subject],
        },
        {
            **_object(
                "v1",
                "ConfigMap",
                {**meta, "name": "kube-flannel-cfg", "namespace": FLANNEL_NAMESPACE},
            ),
            "data": {"net-conf.json": json.dumps(net_conf)},
        },
        _daemon_set(
            "kube-flannel-ds",
            FLANNEL_NAMESPACE,
            labels={"app": "flannel", **_owned(owner)},
            pod=_flannel_pod(image, api_host),
        ),
    )


def _flannel_pod(image: str, api_host: str) -> Json:
    folders = {
        "run": ("/run/flannel", {"hostPath": {"path": "/run/flannel"}}),
        "cfg": ("/etc/kube-flannel", {"configMap": {"name": "kube-flannel-cfg"}}),
        "xtables": (
            "/run/xtables.lock",
            {"hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
        ),
    }
    container = {
        "name": "kube-flannel",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--ip-masq", "--kube-subnet-mgr"],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "env": [
            _field("POD_NAME", "metadata.name"),
            _field("POD_NAMESPACE", "metadata.namespace"),
            _field(PLACE_VARIABLE, "spec.nodeName"),
            {"name": "KUBERNETES_SERVICE_HOST", "value": api_host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": _API_PORT},
        ],
        "volumeMounts": [{"name": name, "mountPath": at} for name, (at, _) in folders.items()],
    }
    return {
        "hostNetwork": True,
        "serviceAccountName": "flannel",
        "priorityClassName": "system-node-critical",
        "tolerations": _ANYWHERE,
        "containers": [container],
        "volumes": [{"name": name, **source} for name, (_, source) in folders.items()],
    }


def client_objects(identity: Identity) -> tuple[Json, ...]:
    """The client pods: one DaemonSet of pause pods for each of the pods that every node has."""
    return (
        _namespace(CLIENT_NAMESPACE, identity.name),
        *(_client(slot, identity.name) for slot in range(identity.pods_per_node)),
    )


def _client(slot: int, owner: str) -> Json:
    container = {
        "name": "pause",
        "image": PAUSE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            _field("NODE", "spec.nodeName"),
            {"name": PLACE_VARIABLE, "value": client_name("$(NODE)", slot)},
        ],
    }
    return _daemon_set(
        f"client-p{slot}",
        CLIENT_NAMESPACE,
        labels={"app": "graymesh-client", "slot": str(slot), **_owned(owner)},
        pod={
            "tolerations": _ANYWHERE,
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": False,
            "containers": [container],
        },
    )


def reserved_name(node: str) -> str:
    """The name of the object that `reservation` makes for a node."""
    return f"{node}-former"


def reservation(node: str, pod_cidrs: Sequence[str], owner: str) -> Json:
    """A Node object without a node that keeps these podCIDRs from being given to another.

    A controller manager that has just started gives the first free one: the one a deleted node has just left.
    """
    meta = {"name": reserved_name(node), "labels": _owned(owner)}
    spec = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs), "unschedulable": True}
    return {**_object("v1", "Node", meta), "spec": spec}


def corefile(domain: str) -> str:
    """CoreDNS as kubeadm sets it up, and each replica answers the identity name with itself."""
    name = identity_name(domain)
    return f"""\
.:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    template IN A {name} {{
       answer "{{{{ .Name }}}} 5 IN A {{$POD_IP}}"
    }}
    template IN TXT {name} {{
       answer "{{{{ .Name }}}} 5 IN TXT {{${PLACE_VARIABLE}}}"
    }}
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"""


def dns_change(replicas: int, nodes: Sequence[str]) -> Json:
    """Patch of kubeadm's Deployment: so many replicas on these nodes only, each node at most one more than another.

    As long as there are nodes enough, no two replicas may be on one node, not even while one replaces another;
    so all old ones go before new ones come, or they would wait for one another.
    """
    label = {"matchLabels": {"k8s-app": "kube-dns"}}
    alone = {"topologyKey": "kubernetes.io/hostname", "labelSelector": label}
    spread = {**alone, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    hosts = {"key": "kubernetes.io/hostname", "operator": "In", "values": sorted(set(nodes))}
    chosen = {"nodeSelectorTerms": [{"matchExpressions": [hosts]}]}
    affinity: dict[str, object] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen},
        "podAntiAffinity": {
            "$patch": "replace",
            "requiredDuringSchedulingIgnoredDuringExecution": (
                [alone] if replicas <= len(set(nodes)) else []
            ),
        },
    }
    container = {
        "name": "coredns",
        "env": [
            _field("POD_IP", "status.podIP"),
            _field(PLACE_VARIABLE, "metadata.name"),
        ],
    }
    return {
        "metadata": {"labels": {"graymesh.replicas": str(replicas)}},
        "spec": {
            "replicas": replicas,
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
            "template": {
                "spec": {
                    "affinity": affinity,
                    "topologySpreadConstraints": [spread],
                    "containers": [container],
                }
            },
        },
    }


def _daemon_set(name: str, namespace: str, *, labels: dict[str, str], pod: Json) -> Json:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    pod = {"nodeSelector": {"kubernetes.io/os": "linux"}, **pod}  # every node that is one has it
    return {
        **_object("apps/v1", "DaemonSet", meta),
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _namespace(name: str, owner: str) -> Json:
    labels = {**_owned(owner), "pod-security.kubernetes.io/enforce": "privileged"}
    return _object("v1", "Namespace", {"name": name, "labels": labels})


def _object(version: str, kind: str, metadata: Json) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _owned(owner: str) -> dict[str, str]:
    return {"graymesh.cluster": owner}


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
