"""The names that a DNS replica of graymesh answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clusters.topology import Inventory, Replica

KUBERNETES_ADDRESS: Final = "10.96.0.1"  # first address of kubeadm's default service range


def service_name(service: str, namespace: str, domain: str) -> str:
    """The name of a service: `kubernetes.default.svc.cluster.local`."""
    return f"{service}.{namespace}.svc.{domain}"


def pod_name(address: str, namespace: str, domain: str) -> str:
    """The name kube-dns gives a pod: its address with dashes, `10-244-0-2.default.pod.cluster.local`."""
    return f"{address.replace('.', '-').replace(':', '-')}.{namespace}.pod.{domain}"


def kubernetes_name(domain: str) -> str:
    """The name every replica answers alike: the API server's service address."""
    return service_name("kubernetes", "default", domain)


def identity_name(domain: str) -> str:
    """The name that each replica answers with itself: A is its own address, TXT its name."""
    return f"replica.graymesh.{domain}"


def big_name(domain: str) -> str:
    """The name with more than fits: A over UDP only with a large EDNS size, TXT only over TCP."""
    return f"big.graymesh.{domain}"


def records(inventory: Inventory) -> Mapping[str, tuple[str, ...]]:
    """Addresses by name of the services and pods of an inventory (`DnsConfig.records`)."""
    domain = inventory.domain
    found = {
        kubernetes_name(domain): (KUBERNETES_ADDRESS,),
        service_name("kube-dns", "kube-system", domain): inventory.vips,
    }
    for pod in (*inventory.pods, *inventory.replicas):
        namespace = "kube-system" if isinstance(pod, Replica) else "default"
        found.update({pod_name(ip, namespace, domain): (ip,) for ip in pod.ips})
    return found
