"""DNS replicas and service rules of a twin, one by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.errors import UsageError
from clusters.providers.twin.client import TwinCluster
from clusters.service_vip import parse
from clusters.waiting import Deadline, poll_until

pytestmark = pytest.mark.twin

Make = Callable[..., TwinCluster]
Ask = Callable[..., str | None]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:  # the process has ended
        return 0


def _targets(cluster: TwinCluster, node: str) -> dict[str, set[str]]:
    rules = parse(cluster.run(node, ["iptables-save"]).stdout, cluster.inventory().vip)
    return {transport: set(found) for transport, found in rules.targets.items()}


def test_a_stopped_replica_refuses_and_a_mute_one_is_silent(make: Make, ask: Ask) -> None:
    """Two different faults: a closed port answers with ICMP, a hung process not at all."""
    cluster = make()
    modes = {}
    answers = {}

    for mode in ("stopped", "mute", "serving"):
        cluster.set_replica_mode("dns-1", mode)
        cluster.set_replica_mode("dns-1", mode)
        modes[mode] = cluster.replica_mode("dns-1")
        answers[mode] = ask(cluster, "n0-p0", "10.244.2.3")

    assert modes == {mode: mode for mode in modes}
    assert answers == {"stopped": None, "mute": None, "serving": "10.244.2.3"}
    assert ask(cluster, "n0-p0", "10.244.1.3") == "10.244.1.3"


def test_a_stopped_replica_is_an_error_at_once_on_a_connected_socket(make: Make) -> None:
    """Refused and timed out are different observations."""
    cluster = make()
    probe = (
        "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(0.3);"
        "s.connect(('10.244.2.3',53)); s.send(b'x'*12);\n"
        "try: s.recv(9)\nexcept OSError as e: print(type(e).__name__)"
    )
    outcomes = []

    for mode in ("stopped", "mute"):
        cluster.set_replica_mode("dns-1", mode)
        outcomes.append(cluster.run("n0-p0", ["python3", "-c", probe]).stdout.strip())

    assert outcomes == ["ConnectionRefusedError", "TimeoutError"]


def test_the_endpoint_of_a_stopped_replica_stays_published(make: Make, ask: Ask) -> None:
    """A masked failure: the service address still leads there, one time in three."""
    cluster = make()
    cluster.set_replica_mode("dns-0", "stopped")

    answers: list[str | None] = []
    while None not in answers and len(answers) < 80:  # the last resort has a chance of 1e-14
        answers.append(ask(cluster, "n0-p0", "10.96.0.10"))
    cluster.sync_proxy("n0")

    assert None in answers
    assert set(answers) <= {None, "10.244.2.3", "10.244.3.3"}
    assert "10.244.1.3" in _targets(cluster, "n0")["udp"]


def test_a_replica_that_died_by_itself_is_seen_as_stopped(make: Make) -> None:
    """Modes are read from the process, not from what was last asked for."""
    cluster = make(nodes=2, dns_replicas=1)
    namespace = os.fstat(cluster.vantage("dns-0").fd).st_ino
    (pid,) = (
        int(path.parts[2])
        for path in Path("/proc").glob("[0-9]*/ns/net")
        if _inode(path) == namespace
    )

    os.kill(pid, signal.SIGKILL)

    poll_until(
        lambda: cluster.replica_mode("dns-0"),
        until=lambda mode: mode == "stopped",
        awaited="the death to be seen",
        deadline=Deadline.after(1.0),
    )
    cluster.set_replica_mode("dns-0", "serving")
    assert cluster.replica_mode("dns-0") == "serving"


@pytest.mark.parametrize(
    ("replica", "mode", "said"),
    [
        ("dns-9", "mute", "replica: expected one of dns-0"),
        ("dns-0", "asleep", "mode: expected one of serving"),
    ],
)
def test_unknown_replicas_and_modes_are_usage_errors(
    healthy: TwinCluster, replica: str, mode: str, said: str
) -> None:
    """The caller's mistake, with what would be right."""
    with pytest.raises(UsageError, match=said):
        healthy.set_replica_mode(replica, mode)


def test_syncing_a_proxy_mends_whatever_was_done_to_its_rules(make: Make, ask: Ask) -> None:
    """kube-proxy writes its chains anew; a second time changes nothing."""
    cluster = make(nodes=3)
    good = _targets(cluster, "n0")
    cluster.run("n0", ["iptables", "-t", "nat", "-F", "KUBE-SERVICES"])
    broken = _targets(cluster, "n0"), ask(cluster, "n0-p0", "10.96.0.10")

    cluster.sync_proxy("n0")
    once = cluster.run("n0", ["iptables-save"]).stdout
    cluster.sync_proxy("n0")
    twice = cluster.run("n0", ["iptables-save"]).stdout

    assert broken == ({"udp": set(), "tcp": set()}, None)
    assert _targets(cluster, "n0") == good
    assert ask(cluster, "n0-p0", "10.96.0.10") is not None
    assert [x for x in once.splitlines() if x[0] == "-"] == [
        x for x in twice.splitlines() if x[0] == "-"
    ]
