"""Everything a twin is made of, made once in a child's own namespaces that vanish with the child."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clusters import service_vip
from clusters.commands import run_argv
from clusters.errors import ExecTransportError, GraymeshError, SetupError
from clusters.features.feature import Feature, no, unknown, yes
from clusters.netlink import Netlink
from clusters.netlink.requests import Device, bridge, veth, vxlan
from clusters.providers.twin import namespaces

_PATIENCE_S: Final = 5.0
_VIP: Final = "10.96.0.10"
_TARGETS: Final = ("10.244.1.2", "10.244.2.2", "10.244.3.2")
_LOWER: Final = 10  # index of the device under the VXLAN one
_OTHERHOST_SINCE: Final = (5, 19)  # include/uapi/linux/if_link.h: rx_otherhost_dropped


def tried_apart() -> tuple[Feature, ...]:
    """The answers of the trials. Takes some tens of milliseconds, at most five seconds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _report(writer)
    os.close(writer)
    try:
        said = b"".join(iter(lambda: _read(reader), b""))
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        said = b""
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    if not said:
        reason = f"the trial gave no result within {_PATIENCE_S:g} s"
        return (unknown("namespaces", "twin", reason),)
    return tuple(Feature(*fields) for fields in json.loads(said))


def _read(fd: int) -> bytes:
    waiting = select.poll()  # select(2) refuses descriptors above 1023
    waiting.register(fd, select.POLLIN)
    if not waiting.poll(_PATIENCE_S * 1000):
        raise TimeoutError
    return os.read(fd, 65_536)


def _report(writer: int) -> None:
    """The child's part; never returns."""
    status = 1
    try:
        os.write(writer, json.dumps(list(_trials())).encode())  # far less than a pipe holds
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def _trials() -> Iterator[Feature]:
    user = namespaces.needs_user_namespace()
    try:
        namespaces.enter_private(user=user)
    except SetupError as exc:
        reason, _, fix = str(exc).partition("; fix: ")
        yield no("namespaces", "twin", reason, fix or "run as root")
        return
    yield yes("namespaces", "twin", "in a user namespace" if user else "as root")
    yield from _devices()
    yield _outcome("settings", _settings, "modprobe br_netfilter")
    yield _outcome(
        "service address",
        _rules,
        "modprobe -a nf_nat nf_conntrack xt_conntrack xt_statistic xt_mark",
    )
    yield _outcome(
        "raw sockets", _raw_socket, "run as root, or allow CAP_NET_RAW to user namespaces"
    )
    yield _otherhost()


def _devices() -> Iterator[Feature]:
    requests = {
        "veth": veth(Device(name="a", ifindex=_LOWER), Device(name="b", ifindex=_LOWER + 1)),
        "bridge": bridge(Device(name="br")),
        "vxlan": vxlan(Device(name="vx"), vni=1, port=8472, local="172.18.0.2", lower=_LOWER),
    }
    with Netlink.open_here() as link:
        codes = link.batch(tuple(requests.values()))
    for kind, code in zip(requests, codes, strict=True):
        name, fix = f"device {kind}", f"modprobe {kind}, or a kernel built with it"
        if code:
            yield no(name, "twin", os.strerror(code), fix)
        else:
            yield yes(name, "twin", "can be made")


def _outcome(name: str, trial: Callable[[], str], fix: str) -> Feature:
    try:
        return yes(name, "twin", trial())
    except ExecTransportError as exc:
        return no(name, "twin", str(exc), "install the package iptables (apt-get install iptables)")
    except OSError as exc:
        return no(name, "twin", os.strerror(exc.errno or 0), fix)
    except GraymeshError as exc:
        return no(name, "twin", str(exc), fix)


def _settings() -> str:
    wanted = namespaces.node_settings(1)
    namespaces.configure(wanted)
    for key, value in wanted.items():
        seen = Path("/proc/sys", key).read_text().strip() if "ipv6" not in key else value
        if seen != value:
            raise SetupError(f"sysctl {key}: wrote {value}, reads {seen}")
    return "forwarding, reverse path filter, bridge netfilter"


def _rules() -> str:
    """Write the rules of a service with three targets, then read the targets back."""
    _run("iptables-restore", "--noflush", stdin=service_vip.render(_VIP, _TARGETS))
    seen = service_vip.parse(_run("iptables-save"), _VIP).targets
    if seen != {"udp": _TARGETS, "tcp": _TARGETS}:
        raise SetupError(f"iptables reads back other rules than were written: {seen}")
    return f"DNAT with random choice, by {_run('iptables-restore', '--version').strip()}"


def _run(*argv: str, stdin: str = "") -> str:
    done = run_argv(argv, timeout_s=_PATIENCE_S / 2, stdin=stdin)
    if done.status:
        said = " ".join(done.stderr.split())
        raise SetupError(f"`{' '.join(argv)}` ended with {done.status}: {said}")
    return done.stdout


def _raw_socket() -> str:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "ICMP"


def _otherhost() -> Feature:
    """Whether frames for another MAC are counted: the cheapest proof of a stale VTEP MAC."""
    name, release = "otherhost counter", os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) >= _OTHERHOST_SINCE:
        return yes(name, "-", f"Linux {release}")
    fix = "Linux 5.19 or later (without it a stale MAC is found from the tables alone)"
    return no(name, "-", f"Linux {release}", fix)
