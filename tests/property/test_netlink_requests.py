"""Request builders against pyroute2, an independent decoder of the same wire form."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from clusters.netlink import codec
from clusters.netlink import requests as rq
from clusters.netlink.entries import NUD, ROUTE_KINDS


def as_spelled_by_libc(address: object) -> str:
    """As `ip` and the kernel's tools print it ("::ffff:0.0.0.0", where ipaddress says "::ffff:0:0")."""
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, str(address)))


MACS = st.binary(min_size=6, max_size=6).map(lambda packed: packed.hex(":"))
V4 = st.ip_addresses(v=4).map(str)
IPS = st.ip_addresses().map(as_spelled_by_libc)
INDEXES = st.integers(min_value=1, max_value=2**31 - 1)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=15)
MTUS = st.none() | st.integers(min_value=68, max_value=65535)
DEVICES = st.builds(
    rq.Device,
    name=NAMES,
    ifindex=INDEXES,
    mac=st.none() | MACS,
    mtu_bytes=MTUS,
    netns_fd=st.none() | st.integers(min_value=0, max_value=1 << 20),
    master=st.integers(min_value=0, max_value=2**31 - 1),
    up=st.booleans(),
)
CREATE, EXCLUSIVE, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800


def decoded(kind: type, request: bytes) -> Any:
    """The request as pyroute2 reads it."""
    message = kind(request)
    message.decode()
    assert message["header"]["length"] == len(request)
    assert message["header"]["flags"] & codec.NLM_F_REQUEST
    return message


def attributes(message: Any) -> Mapping[str, Any]:
    """Attributes by name; none may be there twice."""
    pairs = [(attribute[0], attribute[1]) for attribute in message["attrs"]]
    assert len(dict(pairs)) == len(pairs), "an attribute is there twice"
    return dict(pairs)


def network(address: str, prefix: int) -> str:
    """The prefix with its host bits cleared."""
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def check_device(message: Any, device: rq.Device) -> Mapping[str, Any]:
    """Check what every device has; return the attributes."""
    found = attributes(message)
    assert message["index"] == device.ifindex
    assert message["flags"] == message["change"] == int(device.up)
    assert found["IFLA_IFNAME"] == device.name
    assert found.get("IFLA_ADDRESS") == device.mac
    assert found.get("IFLA_MTU") == device.mtu_bytes
    assert found.get("IFLA_NET_NS_FD") == device.netns_fd
    assert found.get("IFLA_MASTER", 0) == device.master
    return found


def info(found: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The properties of one kind of device."""
    link_info = attributes(found["IFLA_LINKINFO"])
    assert link_info["IFLA_INFO_KIND"] == kind
    return attributes(link_info["IFLA_INFO_DATA"])


@given(near=DEVICES, far=DEVICES)
def test_a_veth_request_carries_both_ends(near: rq.Device, far: rq.Device) -> None:
    """A property of the far end that is lost or set on the near end wires the wrong pod."""
    far = rq.Device(
        name=far.name,
        ifindex=far.ifindex,
        mac=far.mac,
        mtu_bytes=far.mtu_bytes,
        netns_fd=far.netns_fd,
    )

    message = decoded(ifinfmsg, rq.veth(near, far))

    assert message["header"]["flags"] & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE
    data = info(check_device(message, near), "veth")
    check_device(data["VETH_INFO_PEER"], far)


@given(device=DEVICES, vni=st.integers(0, 2**24 - 1), port=st.integers(1, 65535), local=IPS)
def test_a_vxlan_request_carries_its_tunnel(
    device: rq.Device, vni: int, port: int, local: str
) -> None:
    """The port is the one field in network order; swapped bytes make a device that talks to nobody."""
    message = decoded(ifinfmsg, rq.vxlan(device, vni=vni, port=port, local=local, lower=9))

    data = info(check_device(message, device), "vxlan")
    assert data.get("IFLA_VXLAN_LOCAL", data.get("IFLA_VXLAN_LOCAL6")) == local
    assert ("IFLA_VXLAN_LOCAL6" in data) == (":" in local)
    assert (data["IFLA_VXLAN_ID"], data["IFLA_VXLAN_PORT"]) == (vni, port)
    assert (data["IFLA_VXLAN_LINK"], data["IFLA_VXLAN_LEARNING"]) == (9, 0)


@given(device=DEVICES, snooping=st.booleans(), call=st.none() | st.booleans())
def test_a_bridge_request_has_spanning_tree_off(
    device: rq.Device, *, snooping: bool, call: bool | None
) -> None:
    """With spanning tree a new port would stay silent for 30 s."""
    request = rq.bridge(device, multicast_snooping=snooping, nf_call_iptables=call)

    data = info(check_device(decoded(ifinfmsg, request), device), "bridge")
    assert data["IFLA_BR_STP_STATE"] == 0
    assert data["IFLA_BR_MCAST_SNOOPING"] == int(snooping)
    assert data.get("IFLA_BR_NF_CALL_IPTABLES") == (None if call is None else int(call))


@given(
    ifindex=INDEXES,
    up=st.none() | st.booleans(),
    mac=st.none() | MACS,
    mtu_bytes=MTUS,
    master=st.none() | st.integers(0, 1000),
    alias=st.none() | NAMES,
    netns_fd=st.none() | st.integers(0, 1000),
    name=st.none() | NAMES,
)
def test_set_link_changes_what_is_given_and_nothing_else(
    *,
    ifindex: int,
    up: bool | None,
    mac: str | None,
    mtu_bytes: int | None,
    master: int | None,
    alias: str | None,
    netns_fd: int | None,
    name: str | None,
) -> None:
    """An attribute that is sent unasked (master 0, flags 0) takes a working device down."""
    message = decoded(
        ifinfmsg,
        rq.set_link(
            ifindex,
            up=up,
            mac=mac,
            mtu_bytes=mtu_bytes,
            master=master,
            alias=alias,
            netns_fd=netns_fd,
            name=name,
        ),
    )

    wanted = {
        "IFLA_ADDRESS": mac,
        "IFLA_MTU": mtu_bytes,
        "IFLA_MASTER": master,
        "IFLA_IFALIAS": alias,
        "IFLA_NET_NS_FD": netns_fd,
        "IFLA_IFNAME": name,
    }
    assert attributes(message) == {key: value for key, value in wanted.items() if value is not None}
    assert message["index"] == ifindex
    assert message["change"] == (0 if up is None else 1)
    assert message["flags"] == int(up or False)
    assert not message["header"]["flags"] & CREATE


@given(ifindex=INDEXES, ip=IPS, mac=MACS, state=st.sampled_from(sorted(NUD)), exclusive=...)
def test_a_neighbour_request_says_what_was_given(
    ifindex: int, ip: str, mac: str, state: str, *, exclusive: bool
) -> None:
    """Repair and fault both write neighbours; one wrong byte would be a second fault."""
    request = rq.set_neigh(ifindex, ip, mac, state=state, exclusive=exclusive)

    message = decoded(ndmsg, request)
    assert attributes(message) == {"NDA_DST": ip, "NDA_LLADDR": mac}
    assert (message["ifindex"], message["state"], message["flags"]) == (ifindex, NUD[state], 0)
    assert message["family"] == (10 if ":" in ip else 2)
    assert message["header"]["flags"] & 0xF00 == CREATE | (EXCLUSIVE if exclusive else REPLACE)
    removal = decoded(ndmsg, rq.del_neigh(ifindex, ip))
    assert attributes(removal) == {"NDA_DST": ip}


@given(ifindex=INDEXES, mac=MACS, dst=IPS, permanent=...)
def test_fdb_requests_differ_only_in_how_they_treat_what_exists(
    ifindex: int, mac: str, dst: str, *, permanent: bool
) -> None:
    """Append, replace and exclusive look alike; mixing them up leaves residue on a node."""
    modes = {
        rq.set_fdb(ifindex, mac, dst, permanent=permanent): CREATE | REPLACE,
        rq.set_fdb(ifindex, mac, dst, permanent=permanent, exclusive=True): CREATE | EXCLUSIVE,
        rq.append_fdb(ifindex, mac, dst, permanent=permanent): CREATE | APPEND,
    }

    for request, flags in modes.items():
        message = decoded(ndmsg, request)
        assert attributes(message) == {"NDA_LLADDR": mac, "NDA_DST": dst}
        assert (message["family"], message["flags"]) == (codec.AF_BRIDGE, 2)
        assert message["state"] == (0x80 if permanent else 0x02)
        assert message["header"]["flags"] & 0xF00 == flags
    assert attributes(decoded(ndmsg, rq.del_fdb(ifindex, mac, dst))) == {
        "NDA_LLADDR": mac,
        "NDA_DST": dst,
    }
    assert attributes(decoded(ndmsg, rq.del_fdb(ifindex, mac))) == {"NDA_LLADDR": mac}


@given(
    address=V4,
    prefix=st.integers(0, 32),
    ifindex=st.integers(0, 2**31 - 1),
    via=st.none() | V4,
    onlink=...,
    kind=st.sampled_from(sorted(ROUTE_KINDS)),
    protocol=st.integers(0, 255),
    metric=st.integers(0, 2**32 - 1),
)
def test_a_route_request_says_what_was_given(
    address: str,
    prefix: int,
    ifindex: int,
    via: str | None,
    *,
    onlink: bool,
    kind: str,
    protocol: int,
    metric: int,
) -> None:
    """Prefix length, scope and flags sit in the header, easily swapped for one another."""
    cidr = network(address, prefix)

    message = decoded(
        rtmsg,
        rq.set_route(
            cidr,
            ifindex=ifindex,
            via=via,
            onlink=onlink,
            kind=kind,
            protocol=protocol,
            metric=metric,
        ),
    )

    wanted = {
        "RTA_DST": cidr.partition("/")[0] if prefix else None,
        "RTA_GATEWAY": via,
        "RTA_OIF": ifindex or None,
        "RTA_PRIORITY": metric or None,
    }
    assert attributes(message) == {key: value for key, value in wanted.items() if value is not None}
    assert (message["dst_len"], message["table"], message["proto"]) == (prefix, 254, protocol)
    assert (message["type"], message["flags"]) == (ROUTE_KINDS[kind], 4 if onlink else 0)
    assert message["scope"] == (253 if kind == "unicast" and via is None else 0)


@given(address=IPS, ifindex=INDEXES)
def test_an_address_request_sets_both_ends_to_the_address(address: str, ifindex: int) -> None:
    """IFA_ADDRESS alone would name the peer of a point-to-point link for IPv4."""
    message = decoded(ifaddrmsg, rq.add_address(ifindex, f"{address}/24"))

    assert attributes(message) == {"IFA_LOCAL": address, "IFA_ADDRESS": address}
    assert (message["prefixlen"], message["index"]) == (24, ifindex)
    assert message["flags"] == (2 if ":" in address else 0), "an IPv6 address would be tentative"


@pytest.mark.parametrize("mac", ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "0200.0000.0001"])
def test_text_that_is_no_mac_is_refused(mac: str) -> None:
    """A short MAC would be padded by the wire form and programmed silently."""
    assert rq.set_neigh(1, "10.0.0.1", "02:00:00:00:00:01")

    with pytest.raises(ValueError, match=r"not a MAC|hexadecimal"):
        rq.set_neigh(1, "10.0.0.1", mac)


@pytest.mark.parametrize(
    "cidr", ["10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "10.0.0/8", "x", "/8"]
)
def test_text_that_is_no_prefix_is_refused(cidr: str) -> None:
    """The kernel would truncate a prefix length to a byte."""
    assert rq.set_route("10.0.0.0/8", ifindex=1)

    with pytest.raises(ValueError, match=r"prefix length|not an IP"):
        rq.set_route(cidr, ifindex=1)


def test_a_far_end_that_the_kernel_would_not_make_so_is_refused() -> None:
    """The kernel ignores a far index without a near one, and answers ENOTCONN for a far end that is up."""
    near, named = rq.Device(name="a", ifindex=2), rq.Device(name="b", ifindex=3)
    assert rq.veth(near, named)

    for far in (rq.Device(name="b", up=True), rq.Device(name="b", master=4)):
        with pytest.raises(ValueError, match="far end"):
            rq.veth(near, far)
    with pytest.raises(ValueError, match="far end"):
        rq.veth(rq.Device(name="a"), named)


def test_a_rename_needs_the_index() -> None:
    """By name, the new name would be taken for the name to look up."""
    assert rq.set_link(3, name="eth0")

    with pytest.raises(ValueError, match="rename"):
        rq.set_link("v0", name="eth0")
