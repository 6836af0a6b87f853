"""The state reader on namespaces made by hand."""

from __future__ import annotations

import os
import pathlib
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence

import pytest

from clusters import service_vip
from clusters.errors import ClusterGoneError
from clusters.netlink import Netlink, decode
from clusters.netlink import requests as rq
from clusters.netns import CLONE_NEWNET, Vantage, home_kept, inside, unshare
from clusters.providers.base import Completed
from clusters.state import Address, Fdb, Lease, Neigh, Route, VipRules
from clusters.state_reader import _dumped, own_link, read_node, read_state
from clusters.topology import Inventory, Node

pytestmark = pytest.mark.twin

VIP = "10.96.0.10"
REPLICAS = ("10.244.1.2", "10.244.2.2", "10.244.3.2")
SYSCTL = pathlib.Path("/proc/sys/net/ipv4")


class Nodes:
    """A cluster whose nodes are the namespaces given; a node without one is gone."""

    provider = "by-hand"
    name = "test"

    def __init__(self, fds: Mapping[str, int | None]) -> None:
        self._fds = fds

    def inventory(self) -> Inventory:
        """The nodes alone."""
        nodes = tuple(Node(name=name, underlay=(), pod_cidrs=()) for name in self._fds)
        return Inventory(
            provider="by-hand", name="test", vips=(VIP,), nodes=nodes, pods=(), replicas=()
        )

    def vantage(self, place: str) -> Vantage:
        """The namespace of the node."""
        fd = self._fds[place]
        if fd is None:
            raise ClusterGoneError(f"node {place} has no namespace now")
        return Vantage(place=place, fd=fd)

    def leases(self) -> tuple[Lease, ...]:
        """One lease, to be passed through."""
        return (Lease("n0", "10.244.0.0/24", "172.18.0.2", "02:00:00:00:00:04"),)

    def run(
        self, place: str, argv: Sequence[str], *, timeout_s: float = 10.0, stdin: str = ""
    ) -> Completed:
        """Nothing runs here."""
        raise NotImplementedError(place, argv, timeout_s, stdin)

    def close(self) -> None:
        """Nothing is held."""


def node(*batches: Sequence[bytes], doing: Callable[[], None] | None = None) -> int:
    """A descriptor of a fresh namespace with these requests done in it."""
    with home_kept():
        unshare(CLONE_NEWNET)
        with Netlink.open_here() as netlink:
            for batch in batches:
                netlink.apply(batch, doing="making a node")
        if doing:
            doing()
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def set_sysctls() -> None:
    """What a twin node sets: rp_filter strict but on the underlay, forwarding on."""
    for name, value in {"all": 2, "eth0": 0, "flannel.1": 1, "cni0": 1}.items():
        (SYSCTL / "conf" / name / "rp_filter").write_text(str(value))
    (SYSCTL / "ip_forward").write_text("1")


def restore(rules: str) -> None:
    """Write rules as kube-proxy does."""
    subprocess.run(["iptables-restore", "--noflush"], input=rules, text=True, check=True)


def test_a_node_is_read_as_it_is(overlay: list[bytes]) -> None:
    """Everything that the audit compares, from one namespace, by one call."""
    fd = node(overlay, doing=set_sysctls)

    state = read_node(Nodes({"n0": fd}), "n0")

    vtep = state.links["flannel.1"]
    assert (vtep.mac, vtep.vni, vtep.vxlan_port) == ("02:00:00:00:00:04", 1, 8472)
    assert (vtep.vxlan_local, vtep.vxlan_learning, vtep.up) == ("172.18.0.2", False, True)
    assert Address("flannel.1", "10.244.0.0/32") in state.addresses
    assert state.neighbours == (Neigh("flannel.1", "10.244.1.0", "02:00:00:00:00:05", "permanent"),)
    assert state.fdb == (Fdb("flannel.1", "02:00:00:00:00:05", "172.18.0.3"),)
    assert (
        Route("10.244.1.0/24", "flannel.1", "10.244.1.0", onlink=True, protocol=3) in state.routes
    )
    assert state.vip is None
    wanted = {"all": 2, "eth0": 0, "flannel.1": 1, "cni0": 1}
    assert {name: state.settings[f"rp_filter/{name}"] for name in wanted} == wanted
    assert state.settings["ip_forward"] == 1
    os.close(fd)


def clear_forwarding() -> None:
    """What a node without forwarding has."""
    (SYSCTL / "ip_forward").write_text("0")


def test_settings_that_were_cleared_read_as_such(overlay: list[bytes]) -> None:
    """The control of the sysctls above: the same node without forwarding."""
    fd = node(overlay, doing=clear_forwarding)

    assert read_node(Nodes({"n0": fd}), "n0").settings["ip_forward"] == 0
    os.close(fd)


def test_nodes_that_cannot_be_read_are_named_and_the_others_are_read(overlay: list[bytes]) -> None:
    """A vantage that vanished is unreadable, not absent, and never hides its peers."""
    fd = node(overlay)
    no_namespace = os.open("/dev/null", os.O_RDONLY)

    state = read_state(Nodes({"n0": fd, "n1": None, "n2": no_namespace, "n3": fd}))

    assert set(state.nodes) == {"n0", "n3"}
    assert set(state.unreadable) == {"n1", "n2"}
    assert "no namespace now" in state.unreadable["n1"]
    assert "setns" in state.unreadable["n2"]
    assert [lease.node for lease in state.leases] == ["n0"]
    os.close(fd)
    os.close(no_namespace)


def test_reading_leaves_the_thread_at_home_and_no_descriptor_open(overlay: list[bytes]) -> None:
    """A sweep after an audit must not send from the last node read."""
    fd = node(overlay)
    cluster = Nodes({"n0": fd, "n1": None})
    home = os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 - a magic link
    descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208

    read_state(cluster, vip=True)

    assert os.stat("/proc/thread-self/ns/net").st_ino == home  # noqa: PTH116
    assert os.listdir("/proc/self/fd") == descriptors  # noqa: PTH208
    assert os.fstat(fd).st_ino != home
    os.close(fd)


def test_frames_for_another_mac_are_counted_as_otherhost(overlay: list[bytes]) -> None:
    """The cheap proof of a stale MAC: it must rise by exactly the frames lost."""
    fd = node(overlay)
    cluster = Nodes({"n0": fd})
    before = read_node(cluster, "n0").links["eth0"]

    with (
        inside(Vantage(place="n0", fd=fd)),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw,
    ):
        raw.bind(("far", 0))
        for destination in (b"\2\0\0\0\0\x99", b"\2\0\0\0\0\x99", b"\2\0\0\0\0\1"):
            raw.send(destination + bytes(6) + struct.pack(">H", 0x0800) + b"E" + bytes(45))
    after = read_node(cluster, "n0").links["eth0"]

    assert after.rx_packets - before.rx_packets >= 3  # the kernel's own IPv6 frames are among them
    assert after.rx_otherhost - before.rx_otherhost == 2
    os.close(fd)


def test_counters_are_those_of_the_node_under_their_kernel_names(overlay: list[bytes]) -> None:
    """Counters of the caller's namespace would blame the wrong node."""
    fd = node([rq.set_link("lo", up=True)], overlay)
    cluster = Nodes({"n0": fd})
    before = read_node(cluster, "n0").counters

    with (
        inside(Vantage(place="n0", fd=fd)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(b"?", ("127.0.0.1", 9))
    after = read_node(cluster, "n0").counters

    assert after["UdpNoPorts"] - before["UdpNoPorts"] == 1
    assert after["TcpExtIPReversePathFilter"] == before["TcpExtIPReversePathFilter"] == 0
    assert read_node(cluster, "n0", counters=False).counters == {}
    os.close(fd)


def test_one_link_is_read_alone(overlay: list[bytes]) -> None:
    """The inventory needs one MAC a node, not its tables."""
    fd = node(overlay)
    vantage = Vantage(place="n0", fd=fd)

    link = own_link(vantage, "flannel.1")

    assert link is not None
    assert (link.mac, link.ifindex, link.vni) == ("02:00:00:00:00:04", 4, 1)
    assert own_link(vantage, "flannel-v6.1") is None
    os.close(fd)


def test_the_vip_rules_of_every_node_are_read() -> None:
    """kube-proxy's chains, followed to their targets, without starting a process per node."""
    whole = node(doing=lambda: restore(service_vip.render(VIP, REPLICAS)))
    part = node(doing=lambda: restore(service_vip.render(VIP, REPLICAS[:1])))
    bare = node()

    state = read_state(Nodes({"n0": whole, "n1": part, "n2": bare}), vip=True)

    assert state.nodes["n0"].vip == VipRules(targets={"udp": REPLICAS, "tcp": REPLICAS})
    assert state.nodes["n1"].vip == VipRules(targets={"udp": REPLICAS[:1], "tcp": REPLICAS[:1]})
    assert state.nodes["n2"].vip == VipRules(targets={"udp": (), "tcp": ()})
    for fd in (whole, part, bare):
        os.close(fd)


class Restless(Netlink):
    """A socket whose table changes during the first dumps."""

    def __init__(self, dumps: list[bytes]) -> None:
        self._dumps = dumps

    def dump(self, request: bytes) -> list[bytes]:
        """The next dump, whatever is asked."""
        assert request
        return [self._dumps.pop(0)]


def test_a_dump_that_the_kernel_calls_interrupted_is_made_again() -> None:
    """An entry missed because the table moved would be judged as missing."""
    whole = rq.set_neigh(2, "10.244.1.0", "02:00:00:00:00:05")
    interrupted = bytearray(whole)
    struct.pack_into("=H", interrupted, 6, 0x10)
    moving = bytes(interrupted)

    def read(dumps: list[bytes]) -> tuple[Neigh, ...]:
        return _dumped(Restless(dumps), b"?", lambda buffers: decode.neighbours(buffers, {}))

    assert len(read([whole, moving])) == 1
    assert len(read([moving, moving, whole])) == 1
    with pytest.raises(decode.InterruptedDumpError):
        read([moving] * 5)
