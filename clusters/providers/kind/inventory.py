"""What a kind cluster should consist of, from its labels, its API and its nodes' own devices."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from typing import Final

from clusters.errors import ClusterGoneError, KernelRefusedError
from clusters.kube import Kube, KubeNode, KubePod
from clusters.netlink import Netlink, decode, decode_links, tables
from clusters.netns import Vantage
from clusters.providers.kind import manifests
from clusters.providers.kind.identity import Identity
from clusters.providers.kind.namespaces import Namespaces
from clusters.state import Address, Lease
from clusters.state_reader import own_link
from clusters.topology import Inventory, Node, Pod, Replica, Vtep

DNS_SERVICE: Final = "kube-dns"
VTEP: Final = "flannel.1"
_ANNOTATION: Final = "flannel.alpha.coreos.com/"
_MAC: Final = re.compile(r'"VtepMAC":\s*"([0-9a-fA-F:]+)"')
_PERSISTENT_SINCE: Final = (0, 24, 1)


def read_inventory(identity: Identity, kube: Kube) -> Inventory:
    """What the API says should be there; devices' MACs and underlay addresses are not looked at yet.

    Nodes and client pods come from what was asked for, so one that is missing now is there without addresses.
    """
    nodes = {node.name: node for node in kube.nodes()}
    clients = kube.pods(manifests.CLIENT_SELECTOR, namespace=manifests.CLIENT_NAMESPACE)
    return Inventory(
        provider="kind",
        name=identity.name,
        vips=kube.service_addresses(DNS_SERVICE, namespace=manifests.DNS_NAMESPACE),
        nodes=tuple(_node(name, nodes.get(name)) for name in identity.node_names),
        pods=_clients(identity, clients),
        replicas=_replicas(kube),
        dialect=dialect_of(identity.flannel),
        cluster_cidrs=(manifests.CLUSTER_CIDR,),
    )


def remembering(now: Inventory, before: Inventory | None) -> Inventory:
    """The inventory, where what has no address at the moment (it is being restarted) keeps the one it had."""
    if before is None:
        return now
    pods = {pod.name: pod for pod in before.pods}
    nodes = {node.name: node for node in before.nodes}
    return replace(
        now,
        pods=tuple(replace(p, ips=p.ips or pods[p.name].ips) for p in now.pods),
        nodes=tuple(
            replace(
                node,
                underlay=node.underlay or nodes[node.name].underlay,
                pod_cidrs=node.pod_cidrs or nodes[node.name].pod_cidrs,
            )
            for node in now.nodes
        ),
    )


def with_devices(inventory: Inventory, namespaces: Namespaces) -> Inventory:
    """The inventory with each node's live VTEP MAC and underlay address, and each pod's live addresses.

    The API server learns a restarted pod's address a second or two after the pod has it. A node that does not run
    has no MAC; a pod that does not run keeps the address it had.
    """
    return replace(
        inventory,
        nodes=tuple(_live(node, namespaces) for node in inventory.nodes),
        pods=tuple(replace(pod, ips=_live_ips(pod, namespaces)) for pod in inventory.pods),
        replicas=tuple(replace(pod, ips=_live_ips(pod, namespaces)) for pod in inventory.replicas),
    )


def _live_ips(pod: Pod, namespaces: Namespaces) -> tuple[str, ...]:
    with contextlib.suppress(ClusterGoneError, KernelRefusedError, OSError):
        return _card_addresses(Vantage(place=pod.name, fd=namespaces.net(pod.name))) or pod.ips
    return pod.ips


def read_leases(kube: Kube) -> tuple[Lease, ...]:
    """What every node's flanneld has published: Node annotations with the podCIDR."""
    return tuple(lease for node in kube.nodes() for lease in _leases(node))


def dialect_of(version: str) -> str:
    """The generation that a flannel version belongs to ("v0.28.10")."""
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return "persistent" if number >= _PERSISTENT_SINCE else "static"


def annotation(name: str) -> str:
    """The full name of a Node annotation of flannel."""
    return f"{_ANNOTATION}{name}"


def _leases(node: KubeNode) -> tuple[Lease, ...]:
    mac = _MAC.search(node.annotations.get(annotation("backend-data"), ""))
    underlay = node.annotations.get(annotation("public-ip"))
    cidrs = [cidr for cidr in node.pod_cidrs if ":" not in cidr]
    if mac is None or underlay is None or not cidrs:
        return ()
    return (Lease(node=node.name, pod_cidr=cidrs[0], underlay=underlay, mac=mac[1].lower()),)


def _node(name: str, found: KubeNode | None) -> Node:
    if found is None:
        return Node(name=name, underlay=(), pod_cidrs=(), vtep=Vtep(device=VTEP))
    return Node(
        name=name,
        underlay=found.addresses,
        pod_cidrs=found.pod_cidrs,
        vtep=Vtep(device=VTEP),
    )


def _clients(identity: Identity, found: tuple[KubePod, ...]) -> tuple[Pod, ...]:
    ips = {
        manifests.client_name(pod.node, int(pod.labels.get("slot", "0"))): pod.ips
        for pod in sorted(found, key=lambda pod: not pod.terminating)  # a live one wins
    }
    return tuple(
        Pod(name=name, node=node, ips=ips.get(name, ()))
        for node in identity.node_names
        for name in (manifests.client_name(node, slot) for slot in range(identity.pods_per_node))
    )


def _replicas(kube: Kube) -> tuple[Replica, ...]:
    pods = kube.pods(manifests.DNS_SELECTOR, namespace=manifests.DNS_NAMESPACE)
    published = kube.endpoints(DNS_SERVICE, namespace=manifests.DNS_NAMESPACE)
    ready = {endpoint.pod for endpoint in published if endpoint.ready}
    return tuple(
        Replica(name=pod.name, node=pod.node, ips=pod.ips, ready=pod.name in ready)
        for pod in pods
        if not pod.terminating and pod.ips
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Devices:
    mac: str | None
    underlay: tuple[str, ...]


def _live(node: Node, namespaces: Namespaces) -> Node:
    devices = _devices(node, namespaces)
    return replace(
        node,
        underlay=devices.underlay or node.underlay,
        vtep=replace(node.vtep, mac=devices.mac),
    )


def _devices(node: Node, namespaces: Namespaces) -> _Devices:
    with contextlib.suppress(ClusterGoneError, KernelRefusedError, OSError):
        vantage = Vantage(place=node.name, fd=namespaces.net(node.name))
        link = own_link(vantage, node.vtep.device)
        return _Devices(mac=link.mac if link else None, underlay=_card_addresses(vantage))
    return _Devices(mac=None, underlay=())


def _card_addresses(vantage: Vantage) -> tuple[str, ...]:
    """IPv4 addresses of a namespace's own network card; a node's may have another name than eth0 after a re-plug."""
    cards = (cidr for device, cidr in addresses_of(vantage) if device.startswith("eth"))
    return tuple(cidr.partition("/")[0] for cidr in cards if ":" not in cidr)


def addresses_of(vantage: Vantage) -> tuple[Address, ...]:
    """Every address in a namespace. Raises KernelRefusedError, OSError."""
    with Netlink.open(vantage.fd) as netlink:
        links = decode_links.links(netlink.dump(tables.LINKS))
        names = {one.link.ifindex: one.link.name for one in links}
        return decode.addresses(netlink.dump(tables.ADDRESSES), names)
