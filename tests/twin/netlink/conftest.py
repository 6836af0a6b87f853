"""Every test of this folder runs inside a network namespace of its own, as root or not."""

from __future__ import annotations

import os
import pathlib
import traceback
from collections.abc import Callable
from typing import NoReturn

import pytest

from clusters.netlink import requests as rq
from clusters.netns import CLONE_NEWNET, CLONE_NEWUSER, home_kept, unshare

MACS = [f"02:00:00:00:00:{number:02x}" for number in range(16)]
ETH0, BRIDGE, VXLAN = 2, 3, 4


@pytest.fixture
def overlay() -> list[bytes]:
    """A small node: underlay device, bridge, VXLAN device, one peer."""
    return [
        rq.veth(
            rq.Device(name="eth0", ifindex=ETH0, mac=MACS[1], up=True),
            rq.Device(name="far", ifindex=9, mac=MACS[2]),
        ),
        rq.set_link(9, up=True),
        rq.add_address(ETH0, "172.18.0.2/16"),
        rq.bridge(rq.Device(name="cni0", ifindex=BRIDGE, mac=MACS[3], up=True)),
        rq.vxlan(
            rq.Device(name="flannel.1", ifindex=VXLAN, mac=MACS[4], mtu_bytes=1450, up=True),
            vni=1,
            port=8472,
            local="172.18.0.2",
            lower=ETH0,
        ),
        rq.add_address(VXLAN, "10.244.0.0/32"),
        rq.set_neigh(VXLAN, "10.244.1.0", MACS[5]),
        rq.set_fdb(VXLAN, MACS[5], "172.18.0.3"),
        rq.set_route("10.244.1.0/24", ifindex=VXLAN, via="10.244.1.0", onlink=True),
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run the test in this thread where that may leave its namespace, else in a child that need not return."""
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    def run() -> None:
        unshare(CLONE_NEWNET)
        pyfuncitem.obj(**arguments)

    if os.geteuid() == 0:
        with home_kept():
            run()
    else:
        _run_in_child(run)
    return True


def _run_in_child(run: Callable[[], None]) -> None:
    child = os.fork()
    if not child:
        _become_root_and(run)
    _, status = os.waitpid(child, 0)
    if status:
        pytest.fail("failed in its child process; see the captured stderr", pytrace=False)


def _become_root_and(run: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        user, group = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER)
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        run()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)
