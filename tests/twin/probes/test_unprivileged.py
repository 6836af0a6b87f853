"""The prober in a twin of a user without any privilege."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import traceback

import pytest

import clusters.dns_server  # imported while its files can be read; holders import it only when they need it
from clusters.providers.base import ClusterSpec
from clusters.providers.twin import holder
from clusters.providers.twin.provider import TwinProvider
from probes.engine import sweep
from probes.model import PROTOCOLS, State
from probes.plan import make_plan

pytestmark = [
    pytest.mark.twin,
    pytest.mark.skipif(os.geteuid() != 0, reason="already without root"),
]

_NOBODY = 65534
_PR_SET_DUMPABLE = 4  # what exec would restore: else /proc/self belongs to root


def _sweep_as_nobody(name: str) -> dict[str, object]:
    provider = TwinProvider()
    spec = ClusterSpec(name=name, nodes=3, dns_replicas=2, owner_pid=os.getpid())
    provider.up(spec, progress=lambda _text: None)
    try:
        with contextlib.closing(provider.open(name)) as cluster:
            plan = make_plan(cluster.inventory(), PROTOCOLS, count=100)
            seen = sweep(cluster, plan)
            cluster.run("n1-p0", ("ip", "link", "set", "eth0", "down"))
            broken = sweep(cluster, make_plan(cluster.inventory(), ("icmp",)))
    finally:
        provider.down(name)
    return {
        "healthy": sorted({result.state for result in seen.pairs}),
        "trouble": seen.trouble,
        "failed": sorted([r.pair.src, r.pair.dst] for r in broken.pairs if r.state is State.FAIL),
    }


def test_a_user_without_privileges_sees_the_same() -> None:
    """Raw sockets in a user namespace, and a receive buffer no larger than any user may have."""
    assert clusters.dns_server
    assert holder
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        said = ""
        try:
            said = json.dumps(_sweep_as_nobody(f"nobody-{os.getpid()}"))
        finally:
            os.write(writer, (said or traceback.format_exc()).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        seen = json.loads(told.read())
    os.waitpid(pid, 0)

    touched = {"n1-p0"}
    assert seen["healthy"] == [State.PASS]
    assert seen["trouble"] == []
    assert seen["failed"]
    assert all(touched & set(pair) for pair in seen["failed"])
    assert ["n0-p0", "n1-p0"] in seen["failed"]
