"""The overlay device of a node as flanneld makes it."""

from __future__ import annotations

import errno
import os
from typing import Final

from clusters.errors import KernelRefusedError
from clusters.flannel.generations import Generation
from clusters.flannel.plan import overlay_address
from clusters.netlink import Netlink, decode_links, tables
from clusters.netlink import requests as rq
from clusters.state import Link

NAME: Final = "flannel.1"
VNI: Final = 1
PORT: Final = 8472  # the Linux kernel's VXLAN default, which flannel keeps
MTU_BYTES: Final = 1450
APP_SOLICIT: Final = f"net/ipv4/neigh/{NAME}/app_solicit"  # misses are asked of user space too


def random_mac() -> str:
    """A MAC as the kernel or flanneld draws it: random, unicast, locally administered."""
    first, *rest = os.urandom(6)
    return ":".join(f"{byte:02x}" for byte in (first & 0xFE | 0x02, *rest))


def find(link: Netlink) -> Link | None:
    """The device as the kernel has it now; None where it is absent. Raises KernelRefusedError, OSError."""
    try:
        answer = link.get(tables.link_named(NAME))
    except KernelRefusedError as exc:
        if exc.code == errno.ENODEV:
            return None
        raise
    return decode_links.links([answer])[0].link


def creation(ifindex: int, lower: int, underlay: str, mac: str) -> list[bytes]:
    """Make the device, down and without address."""
    device = rq.Device(name=NAME, ifindex=ifindex, mac=mac, mtu_bytes=MTU_BYTES)
    return [rq.vxlan(device, vni=VNI, port=PORT, local=underlay, lower=lower)]


def configuration(
    generation: Generation, ifindex: int, pod_cidr: str, cluster_cidr: str
) -> list[bytes]:
    """Give the device its address, bring it up, add the overlay-wide route where the generation has one."""
    requests = [
        rq.add_address(ifindex, f"{overlay_address(pod_cidr)}/32"),
        rq.set_link(ifindex, up=True),
    ]
    if generation.overlay_route:
        requests.append(rq.set_route(cluster_cidr, ifindex=ifindex))
    return requests


def compatible(link: Link, underlay: str) -> bool:
    """Whether flanneld goes on with a device it finds, MAC included, instead of making it anew."""
    found = (link.kind, link.vni, link.vxlan_port, link.vxlan_local, link.vxlan_learning)
    return found == ("vxlan", VNI, PORT, underlay, False)
