"""Requests on the running kernel."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from typing import Any

import pytest

from clusters.errors import KernelRefusedError
from clusters.netlink import Netlink, decode, decode_links, tables
from clusters.netlink import requests as rq
from clusters.netns import CLONE_NEWNET, home_kept, unshare

pytestmark = pytest.mark.twin

MACS = [f"02:00:00:00:00:{number:02x}" for number in range(16)]
ANYWHERE = {2: "0.0.0.0", 10: "::"}  # noqa: S104 - as routes spell "any"
ETH0, BRIDGE, VXLAN = 2, 3, 4


def shown(*argv: str) -> list[dict[str, Any]]:
    """What iproute2 says, as an independent reader."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout or "[]"))


def new_namespace() -> int:
    """A descriptor of a fresh namespace; the thread stays where it is."""
    with home_kept():
        unshare(CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def fdb(netlink: Netlink) -> set[tuple[str, str]]:
    """(MAC, destination) of every forwarding entry of the overlay."""
    return {(entry.mac, entry.dst) for entry in decode.fdb(netlink.dump(tables.fdb_of(VXLAN)), {})}


def test_a_pair_is_made_across_namespaces_with_all_that_was_chosen() -> None:
    """A pod's wiring is one message; a second one per property would halve the build speed."""
    pod = new_namespace()
    with Netlink.open(None) as node, Netlink.open(pod) as inside:
        node.apply(
            [
                rq.bridge(rq.Device(name="cni0", ifindex=BRIDGE, up=True)),
                rq.veth(
                    rq.Device(
                        name="v0", ifindex=7, mac=MACS[1], mtu_bytes=1450, master=BRIDGE, up=True
                    ),
                    rq.Device(name="eth0", ifindex=2, mac=MACS[2], mtu_bytes=1400, netns_fd=pod),
                ),
                rq.set_bridge_port(7, hairpin=True),
                rq.set_link(7, alias="graymesh run 1"),
            ],
            doing="wiring a pod",
        )
        inside.apply([rq.set_link(2, up=True)], doing="raising the pod's end")
        far = decode_links.links([inside.get(tables.link_named("eth0"))])[0].link

    (near,) = shown("ip", "-d", "-j", "link", "show", "dev", "v0")
    assert (near["ifindex"], near["address"], near["mtu"]) == (7, MACS[1], 1450)
    assert (near["master"], near["ifalias"]) == ("cni0", "graymesh run 1")
    assert near["linkinfo"]["info_slave_data"]["hairpin"] is True
    assert near["operstate"] == "UP"
    assert (far.ifindex, far.mac, far.mtu_bytes, far.up) == (2, MACS[2], 1400, True)
    os.close(pod)


def test_a_vxlan_device_is_as_flannel_makes_it(overlay: list[bytes]) -> None:
    """Learning on, or a port in the wrong byte order, would be another device than the real one."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")

    (link,) = shown("ip", "-d", "-j", "link", "show", "dev", "flannel.1")
    data = link["linkinfo"]["info_data"]
    assert (link["address"], link["mtu"], data["id"], data["port"]) == (MACS[4], 1450, 1, 8472)
    assert (data["local"], data["link"], data["learning"]) == ("172.18.0.2", "eth0", False)


def test_links_are_changed_renamed_moved_and_deleted(overlay: list[bytes]) -> None:
    """Faults change devices in place; each property must be reachable after creation too."""
    other = new_namespace()
    with Netlink.open(None) as netlink, Netlink.open(other) as elsewhere:
        netlink.apply(
            [
                *overlay,
                rq.set_link("cni0", mac=MACS[9], mtu_bytes=1300),
                rq.set_link(ETH0, master=BRIDGE),
                rq.set_link(9, up=False),
                rq.set_link(9, name="moved"),
                rq.set_link("moved", netns_fd=other),
            ],
            doing="changing links",
        )
        found = {
            read.link.name: read.link for read in decode_links.links(netlink.dump(tables.LINKS))
        }
        assert (found["cni0"].mac, found["cni0"].mtu_bytes) == (MACS[9], 1300)
        assert found["eth0"].master == "cni0"
        assert not found.keys() & {"moved", "far"}
        assert not decode_links.links([elsewhere.get(tables.link_named("moved"))])[0].link.up

        netlink.apply([rq.set_link(ETH0, master=0), rq.del_link(VXLAN)], doing="taking away")
        found = {
            read.link.name: read.link for read in decode_links.links(netlink.dump(tables.LINKS))
        }
        assert found["eth0"].master == ""
        assert "flannel.1" not in found
    os.close(other)


def test_a_refused_request_is_named_and_does_not_stop_the_others(overlay: list[bytes]) -> None:
    """Half a batch that is silently missing would be a fault that nobody injected."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")
        batch = [
            rq.set_neigh(VXLAN, "10.244.2.0", MACS[6], exclusive=True),
            rq.set_neigh(VXLAN, "10.244.2.0", MACS[7], exclusive=True),
            rq.del_link("nowhere"),
            rq.set_neigh(VXLAN, "10.244.3.0", MACS[7], exclusive=True),
        ]

        assert netlink.batch(batch) == (0, errno.EEXIST, errno.ENODEV, 0)
        found = {entry.ip for entry in decode.neighbours(netlink.dump(tables.NEIGHBOURS), {})}
        assert {"10.244.2.0", "10.244.3.0"} <= found
        with pytest.raises(KernelRefusedError, match=r"deleting: .* 2 of 2: ENODEV") as caught:
            netlink.apply([rq.del_neigh(VXLAN, "10.244.3.0"), rq.del_link(99)], doing="deleting")
        assert caught.value.code == errno.ENODEV


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 5000])
def test_a_batch_of_any_size_is_answered_even_when_all_is_refused(
    overlay: list[bytes], count: int
) -> None:
    """Answers that do not fit the receive buffer are lost, and the sender would wait for ever."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")
        ips = [f"10.7.{number >> 8}.{number & 255}" for number in range(count)]
        batch = [rq.set_neigh(VXLAN, ip, MACS[6], exclusive=True) for ip in ips]

        assert netlink.batch(batch) == (0,) * count
        assert netlink.batch(batch) == (errno.EEXIST,) * count
        assert netlink.batch([rq.del_neigh(VXLAN, ip) for ip in ips]) == (0,) * count
        assert len(decode.neighbours(netlink.dump(tables.NEIGHBOURS), {})) == 1


def test_replace_and_exclusive_differ_on_what_exists(overlay: list[bytes]) -> None:
    """Undo is exact-match: it must be able to refuse what somebody else wrote meanwhile."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")

        assert (
            netlink.batch(
                [
                    rq.set_fdb(VXLAN, MACS[5], "172.18.0.9", exclusive=True),
                    rq.set_route("10.244.1.0/24", ifindex=VXLAN, exclusive=True),
                    rq.add_address(VXLAN, "10.244.0.0/32"),
                ]
            )
            == (errno.EEXIST,) * 3
        )
        assert fdb(netlink) == {(MACS[5], "172.18.0.3")}

        netlink.apply([rq.set_fdb(VXLAN, MACS[5], "172.18.0.9")], doing="replacing")
        assert fdb(netlink) == {(MACS[5], "172.18.0.9")}


def test_append_and_delete_of_an_fdb_entry_need_a_read_back(overlay: list[bytes]) -> None:
    """The kernel answers 0 and does nothing: a fault or repair that trusts the answer proves nothing."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")

        assert netlink.batch([rq.append_fdb(VXLAN, MACS[5], "172.18.0.9")]) == (0,)
        assert netlink.batch([rq.del_fdb(VXLAN, MACS[5], "172.18.0.9")]) == (0,)
        assert fdb(netlink) == {(MACS[5], "172.18.0.3")}

        assert netlink.batch([rq.append_fdb(VXLAN, MACS[6], "172.18.0.9")]) == (0,)
        assert fdb(netlink) == {(MACS[5], "172.18.0.3"), (MACS[6], "172.18.0.9")}
        assert netlink.batch([rq.del_fdb(VXLAN, MACS[5], "172.18.0.3")]) == (0,)
        assert netlink.batch([rq.del_fdb(VXLAN, MACS[6])]) == (0,)
        assert fdb(netlink) == set()
        assert netlink.batch([rq.del_fdb(VXLAN, MACS[6])]) == (errno.ENOENT,)


def test_a_route_is_deleted_only_where_gateway_and_device_match(overlay: list[bytes]) -> None:
    """Exact-match delete: a route that was changed by hand meanwhile stays."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")

        assert netlink.batch(
            [
                rq.del_route("10.244.1.0/24", ifindex=VXLAN, via="10.244.9.0"),
                rq.del_route("10.244.1.0/24", ifindex=ETH0, via="10.244.1.0"),
                rq.del_route("10.244.1.0/24", ifindex=VXLAN, via="10.244.1.0"),
                rq.del_route("10.244.1.0/24"),
            ]
        ) == (errno.ESRCH, errno.ESRCH, 0, errno.ESRCH)


def test_every_address_family_is_taken(overlay: list[bytes]) -> None:
    """Dual stack needs the same messages with 16-byte addresses."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")
        netlink.apply(
            [
                rq.add_address(ETH0, "fd00:18::2/64"),
                rq.set_neigh(VXLAN, "fd00:244:1::", MACS[5]),
                rq.set_route("fd00:244:1::/64", ifindex=VXLAN, via="fd00:244:1::", onlink=True),
                rq.set_route("fd00:9::/64", kind="blackhole"),
            ],
            doing="adding IPv6",
        )

        names = {ETH0: "eth0", VXLAN: "flannel.1"}
        routes = {route.dst: route for route in decode.routes(netlink.dump(tables.ROUTES), names)}
        assert routes["fd00:244:1::/64"].via == "fd00:244:1::"
        assert routes["fd00:244:1::/64"].device == "flannel.1"
        assert routes["fd00:9::/64"].kind == "blackhole"
        addresses = decode.addresses(netlink.dump(tables.ADDRESSES), names)
        assert ("eth0", "fd00:18::2/64") in addresses
        assert netlink.batch(
            [
                rq.del_address(ETH0, "fd00:18::2/64"),
                rq.del_address(ETH0, "fd00:18::2/64"),
                rq.del_route("fd00:9::/64"),
            ]
        ) == (0, errno.EADDRNOTAVAIL, 0)


def test_opening_elsewhere_leaves_the_thread_where_it_was() -> None:
    """A thread that stays in a pod's namespace would send the next probe from the wrong place."""
    other = new_namespace()
    before = os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 - a magic link

    with Netlink.open(other) as netlink:
        inside = [read.link.name for read in decode_links.links(netlink.dump(tables.LINKS))]
    with pytest.raises(OSError, match="setns"), open("/dev/null", "rb") as nothing:  # noqa: PTH123
        Netlink.open(nothing.fileno())

    assert inside == ["lo"]
    assert os.fstat(other).st_ino != before
    assert os.stat("/proc/thread-self/ns/net").st_ino == before  # noqa: PTH116
    os.close(other)
