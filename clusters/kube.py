"""The Kubernetes API as a few typed questions and changes; the only importer of the kubernetes package."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlencode

import kubernetes.client
import kubernetes.config
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.config_exception import ConfigException

from clusters.errors import ClusterGoneError, SetupError

Json = Mapping[str, object]
_T = TypeVar("_T")

_ASK_S: Final = 4.0
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_MERGE: Final = "application/merge-patch+json"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_PATHS: Final[Mapping[str, str]] = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeNode:
    """A Node object. `pod_cidrs` is empty until the controller has given it one."""

    name: str
    uid: str
    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]
    annotations: Mapping[str, str]
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KubePod:
    """A Pod object. `node` is "" until it is scheduled; `terminating` pods are on their way out."""

    name: str
    uid: str
    namespace: str
    node: str
    ips: tuple[str, ...]
    labels: Mapping[str, str]
    ready: bool
    terminating: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeEndpoint:
    """One address of a Service's EndpointSlices, with the name of the pod behind it."""

    address: str
    pod: str
    ready: bool


class Kube:
    """One cluster's API. Methods raise ClusterGoneError where it does not answer, SetupError where it refuses.

    For use by several threads.
    """

    def __init__(self, kubeconfig: Path) -> None:
        settings = kubernetes.client.Configuration()
        try:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig), client_configuration=settings
            )
        except (ConfigException, OSError) as exc:
            raise ClusterGoneError(f"cannot use the kubeconfig {kubeconfig}: {exc}") from exc
        settings.retries = False
        self._where = str(settings.host)
        self._client = RESTClientObject(settings)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.pool_manager.clear()

    def nodes(self) -> tuple[KubeNode, ...]:
        """All Node objects, by name."""
        return self._listed("/api/v1/nodes", _node)

    def pods(self, selector: str, *, namespace: str) -> tuple[KubePod, ...]:
        """Pods of a namespace that carry these labels ("k8s-app=kube-dns"), by name."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        return self._listed(path, _pod, labelSelector=selector)

    def endpoints(self, service: str, *, namespace: str) -> tuple[KubeEndpoint, ...]:
        """What the Service's EndpointSlices publish, sorted; several slices hold one family each."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        selector = f"kubernetes.io/service-name={service}"
        slices = self._listed(path, _endpoints, labelSelector=selector)
        return tuple(sorted((e for one in slices for e in one), key=lambda e: (e.pod, e.address)))

    def service_addresses(self, service: str, *, namespace: str) -> tuple[str, ...]:
        """The Service's cluster addresses."""
        found = self._call("GET", f"/api/v1/namespaces/{namespace}/services/{service}")
        return _texts(_at(found, "spec", "clusterIPs"))

    def create(self, objects: Sequence[Json]) -> None:
        """Create these objects in order; one that exists already is left as it is."""
        for item in objects:
            with contextlib.suppress(_ExistsError):
                self._call("POST", _collection(item), body=item)

    def replace_data(self, name: str, data: Mapping[str, str], *, namespace: str) -> None:
        """Set keys of a ConfigMap."""
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._call("PATCH", path, body={"data": dict(data)}, content_type=_MERGE)

    def patch_deployment(self, name: str, change: Json, *, namespace: str) -> None:
        """Apply a strategic merge patch to a Deployment."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        self._call("PATCH", path, body=change, content_type=_STRATEGIC)

    def annotate_node(self, name: str, values: Mapping[str, str | None]) -> None:
        """Set annotations of a Node; None removes one."""
        body = {"metadata": {"annotations": dict(values)}}
        self._call("PATCH", f"/api/v1/nodes/{name}", body=body, content_type=_MERGE)

    def delete_pod(self, name: str, *, namespace: str, grace_s: int = 1) -> None:
        """Delete a pod; fine where it is gone already."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        with contextlib.suppress(_AbsentError):
            self._call("DELETE", path, body={"gracePeriodSeconds": grace_s})

    def delete_node(self, name: str) -> None:
        """Delete a Node object; fine where it is gone already."""
        with contextlib.suppress(_AbsentError):
            self._call("DELETE", f"/api/v1/nodes/{name}")

    def log(self, pod: str, *, namespace: str, lines: int) -> tuple[str, ...]:
        """The last lines that a pod with one container wrote."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return tuple(str(self._call("GET", path, query={"tailLines": str(lines)})).splitlines())

    def ready(self) -> bool:
        """Whether the API server calls itself ready; False as well where it does not answer."""
        try:
            self._call("GET", "/readyz")
        except SetupError:
            return False
        return True

    def _listed(self, path: str, read: Callable[[object], _T], **query: str) -> tuple[_T, ...]:
        found = self._call("GET", path, query=query)
        items = sorted(_items(_at(found, "items")), key=lambda i: str(_at(i, "metadata", "name")))
        return tuple(read(item) for item in items)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> object:
        """The answer's JSON; its text where it is not JSON."""
        with self._asking():
            answer = self._client.request(  # type: ignore[no-untyped-call]
                method,
                f"{self._where}{path}{'?' if query else ''}{urlencode(query or {})}",
                headers={"Accept": "application/json, */*", "Content-Type": content_type},
                body=body,
                _request_timeout=_ASK_S,
            )
            content = answer.read()
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, f"{method} {path}", content)
        return (
            json.loads(content) if content[:1] in {b"{", b"["} else content.decode(errors="replace")
        )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Map what the library raises to our errors, in this one place."""
        try:
            yield
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as exc:
            reason = str(exc).strip().splitlines()[-1]
            raise ClusterGoneError(
                f"the API server at {self._where} does not answer: {reason}"
            ) from exc


def _refusal(status: int, what: str, content: bytes) -> SetupError:
    kinds: Mapping[int, type[SetupError]] = {_NOT_FOUND: _AbsentError, _CONFLICT: _ExistsError}
    try:
        said = str(_at(json.loads(content), "message") or "")
    except ValueError:
        said = content.decode(errors="replace").strip()
    return kinds.get(status, SetupError)(f"the API server refused {what}: {status} {said}")


class _AbsentError(ClusterGoneError):
    """404: the object is not there."""


class _ExistsError(SetupError):
    """409: the object is there already."""


def _collection(item: Json) -> str:
    kind, meta = str(item["kind"]), item.get("metadata")
    return _PATHS[kind].format(namespace=_at(meta, "namespace") or "default")


def _node(item: object) -> KubeNode:
    conditions = _items(_at(item, "status", "conditions"))
    addresses = _items(_at(item, "status", "addresses"))
    return KubeNode(
        name=str(_at(item, "metadata", "name")),
        uid=str(_at(item, "metadata", "uid")),
        pod_cidrs=_texts(_at(item, "spec", "podCIDRs")),
        addresses=tuple(
            str(_at(a, "address")) for a in addresses if _at(a, "type") == "InternalIP"
        ),
        annotations=_mapping(_at(item, "metadata", "annotations")),
        ready=_holds(conditions, "Ready"),
    )


def _pod(item: object) -> KubePod:
    ips = _items(_at(item, "status", "podIPs"))
    return KubePod(
        name=str(_at(item, "metadata", "name")),
        uid=str(_at(item, "metadata", "uid")),
        namespace=str(_at(item, "metadata", "namespace")),
        node=str(_at(item, "spec", "nodeName") or ""),
        ips=tuple(str(_at(ip, "ip")) for ip in ips),
        labels=_mapping(_at(item, "metadata", "labels")),
        ready=_holds(_items(_at(item, "status", "conditions")), "Ready"),
        terminating=_at(item, "metadata", "deletionTimestamp") is not None,
    )


def _endpoints(item: object) -> tuple[KubeEndpoint, ...]:
    return tuple(
        KubeEndpoint(
            address=address,
            pod=str(_at(endpoint, "targetRef", "name") or ""),
            ready=_at(endpoint, "conditions", "ready") is True,
        )
        for endpoint in _items(_at(item, "endpoints"))
        for address in _texts(_at(endpoint, "addresses"))
    )


def _holds(conditions: Sequence[object], kind: str) -> bool:
    return any(_at(c, "type") == kind and _at(c, "status") == "True" for c in conditions)


def _at(value: object, *keys: str) -> object:
    """The value under a path of keys, None where any of them is absent."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _items(value))


def _mapping(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}
