"""Dumps and events of the running kernel, decoded."""

from __future__ import annotations

import errno
import select
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from clusters.errors import KernelRefusedError
from clusters.flannel import kernel_events
from clusters.netlink import Netlink, decode, decode_links, tables
from clusters.netlink import requests as rq
from clusters.netlink.connection import GROUP_LINK, GROUP_NEIGH
from clusters.netlink.entries import NUD
from clusters.netlink.links import IFF_UP

pytestmark = pytest.mark.twin

MACS = [f"02:00:00:00:00:{number:02x}" for number in range(16)]
ANYWHERE = {2: "0.0.0.0", 10: "::"}  # noqa: S104 - as routes spell "any"
ETH0, VXLAN = 2, 4


def parsed(buffers: list[bytes]) -> Iterator[Any]:
    """The messages of a dump as pyroute2 decodes them."""
    for data in buffers:
        for message in MarshalRtnl().parse(data):
            if message["header"]["type"] > 3:
                yield message


def test_neighbours_that_the_kernel_computes_are_left_out_and_hand_written_ones_stay(
    overlay: list[bytes],
) -> None:
    """Group entries come with traffic, so two dumps of an unchanged node would differ."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("172.18.0.2")
            )
            sender.sendto(b"?", ("224.0.0.7", 9))
        netlink.apply(
            [rq.set_neigh(VXLAN, "10.244.5.0", MACS[5], state="noarp")], doing="writing by hand"
        )

        dump = netlink.dump(tables.NEIGHBOURS)

        assert "224.0.0.7" in {message.get_attr("NDA_DST") for message in parsed(dump)}
        assert {(entry.ip, entry.state) for entry in decode.neighbours(dump, {})} == {
            ("10.244.1.0", "permanent"),
            ("10.244.5.0", "noarp"),
        }


def test_dumps_decode_to_what_an_independent_decoder_reads(overlay: list[bytes]) -> None:
    """Offsets taken from a header file are only right when somebody else reads the same values."""
    with Netlink.open(None) as netlink:
        netlink.apply([rq.set_link("lo", up=True), *overlay], doing="making an overlay")
        multipath = ("nexthop", "via", "172.18.0.9", "dev", "eth0", "nexthop", "dev", "flannel.1")
        subprocess.run(["ip", "route", "add", "10.7.0.0/16", *multipath], check=True)
        subprocess.run(["ip", "route", "add", "default", "via", "172.18.0.1"], check=True)
        subprocess.run(
            ["ip", "route", "add", "blackhole", "10.8.0.0/16", "metric", "7"], check=True
        )
        subprocess.run(
            ["ip", "route", "add", "10.9.0.0/16", "dev", "eth0", "table", "9"], check=True
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"counted", ("127.0.0.1", 9))
        dumps = {
            name: netlink.dump(request)
            for name, request in {
                "links": tables.LINKS,
                "addresses": tables.ADDRESSES,
                "neighbours": tables.NEIGHBOURS,
                "routes": tables.ROUTES,
                "fdb": tables.fdb_of(VXLAN),
            }.items()
        }
    links = decode_links.links(dumps["links"])
    names = {read.link.ifindex: read.link.name for read in links}

    theirs = list(parsed(dumps["links"]))
    assert len(theirs) == len(links) == 5
    for (link, rp_filter), message in zip(links, theirs, strict=True):
        stats = message.get_attr("IFLA_STATS64")
        assert link.name == message.get_attr("IFLA_IFNAME")
        assert (link.ifindex, link.up) == (message["index"], bool(message["flags"] & IFF_UP))
        assert (link.mac, link.mtu_bytes) == (
            message.get_attr("IFLA_ADDRESS"),
            message.get_attr("IFLA_MTU"),
        )
        assert (link.rx_packets, link.tx_packets) == (stats["rx_packets"], stats["tx_packets"])
        assert link.tx_dropped == stats["tx_dropped"]
        inet = message.get_attr("IFLA_AF_SPEC").get_attr("AF_INET")
        assert rp_filter == inet["rp_filter"]
    assert links[0].link.tx_packets > 0, "nothing was counted, so nothing was compared"

    assert {(a.device, a.cidr) for a in decode.addresses(dumps["addresses"], names)} == {
        (
            names[message["index"]],
            f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}",
        )
        for message in parsed(dumps["addresses"])
    }
    assert {(n.ip, n.mac) for n in decode.neighbours(dumps["neighbours"], names)} == {
        (message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR"))
        for message in parsed(dumps["neighbours"])
        if message["state"] != NUD["noarp"]
    }
    assert {(e.mac, e.dst) for e in decode.fdb(dumps["fdb"], names)} == {
        (message.get_attr("NDA_LLADDR"), message.get_attr("NDA_DST"))
        for message in parsed(dumps["fdb"])
    }
    routes = decode.routes(dumps["routes"], names)
    ours = [(r.dst, r.via, r.device, r.protocol, r.metric, len(r.nexthops)) for r in routes]
    assert ours == [
        (
            f"{message.get_attr('RTA_DST') or ANYWHERE[message['family']]}/{message['dst_len']}",
            message.get_attr("RTA_GATEWAY"),
            names.get(message.get_attr("RTA_OIF"), ""),
            message["proto"],
            message.get_attr("RTA_PRIORITY") or 0,
            len(message.get_attr("RTA_MULTIPATH") or ()),
        )
        for message in parsed(dumps["routes"])
    ]
    by_dst = {route.dst: route for route in routes}
    assert by_dst["10.7.0.0/16"].nexthops == (("172.18.0.9", "eth0"), ("", "flannel.1"))
    assert by_dst["10.8.0.0/16"].kind == "blackhole"
    assert by_dst["0.0.0.0/0"].via == "172.18.0.1"
    assert "10.9.0.0/16" not in by_dst, "a route of another table than main"


def test_a_dump_larger_than_one_buffer_is_complete(overlay: list[bytes]) -> None:
    """Only a table of several buffers shows whether the end mark is found at the right place."""
    with Netlink.open(None) as netlink:
        netlink.apply(overlay, doing="making an overlay")
        macs = [f"02:01:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(3000)]
        netlink.apply([rq.set_fdb(VXLAN, mac, "172.18.0.9") for mac in macs], doing="filling")

        buffers = netlink.dump(tables.fdb_of(VXLAN))

        assert len(buffers) > 3
        assert {entry.mac for entry in decode.fdb(buffers, {})} == {*macs, MACS[5]}
        assert decode.fdb(netlink.dump(tables.fdb_of(ETH0)), {}) == ()


def test_a_device_that_is_not_there_is_refused_by_name() -> None:
    """The positive control is the device that is there."""
    with Netlink.open(None) as netlink:
        assert decode_links.links([netlink.get(tables.link_named("lo"))])[0].link.ifindex == 1

        with pytest.raises(KernelRefusedError) as caught:
            netlink.get(tables.link_named("flannel.1"))
        assert caught.value.code == errno.ENODEV


def test_an_agent_hears_misses_and_the_loss_of_its_device(overlay: list[bytes]) -> None:
    """The l3miss generation answers misses; the persistent one brings its device back."""
    with Netlink.open(None) as netlink, Netlink.open(None, groups=GROUP_LINK | GROUP_NEIGH) as ears:
        netlink.apply(overlay, doing="making an overlay")
        netlink.apply([rq.set_route("10.244.0.0/16", ifindex=VXLAN)], doing="routing")
        sysctl = f"/proc/sys/net/ipv4/neigh/{'flannel.1'}/app_solicit"
        with open(sysctl, "w", encoding="ascii") as file:  # noqa: PTH123 - one write
            file.write("3")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"?", ("10.244.7.7", 9))
        netlink.apply([rq.del_link(VXLAN)], doing="deleting")

        misses: list[str] = []
        deleted: list[str] = []
        while select.select([ears], [], [], 0.2)[0]:
            data = ears.receive()
            misses += kernel_events.misses(data, VXLAN)
            deleted += kernel_events.deleted_links(data)

        assert "10.244.7.7" in misses
        assert deleted == ["flannel.1"]
