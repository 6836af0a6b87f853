"""The names that replicas answer."""

from __future__ import annotations

from clusters.dns_names import big_name, identity_name, kubernetes_name, pod_name, records
from clusters.topology import Inventory, Node, Pod, Replica

INVENTORY = Inventory(
    provider="twin",
    name="default",
    vips=("10.96.0.10",),
    nodes=(Node(name="n0", underlay=("172.18.0.2",), pod_cidrs=("10.244.0.0/24",)),),
    pods=(Pod(name="n0-p0", node="n0", ips=("10.244.0.2", "fd00::2")),),
    replicas=(Replica(name="dns-0", node="n0", ips=("10.244.0.3",)),),
    domain="mesh.test",
)


def test_services_and_pods_of_the_inventory_have_their_kube_dns_names() -> None:
    """Clients may ask what they would ask in a real cluster; replicas live in kube-system."""
    assert records(INVENTORY) == {
        "kubernetes.default.svc.mesh.test": ("10.96.0.1",),
        "kube-dns.kube-system.svc.mesh.test": ("10.96.0.10",),
        "10-244-0-2.default.pod.mesh.test": ("10.244.0.2",),
        "fd00--2.default.pod.mesh.test": ("fd00::2",),
        "10-244-0-3.kube-system.pod.mesh.test": ("10.244.0.3",),
    }


def test_probe_names_lie_in_the_domain() -> None:
    """They are asked of real clusters too, where the domain is configured."""
    assert kubernetes_name("mesh.test") == "kubernetes.default.svc.mesh.test"
    assert identity_name("mesh.test") == "replica.graymesh.mesh.test"
    assert big_name("mesh.test") == "big.graymesh.mesh.test"
    assert pod_name("10.1.2.3", "ns", "mesh.test") == "10-1-2-3.ns.pod.mesh.test"
