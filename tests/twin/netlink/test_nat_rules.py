"""Rules read by nfnetlink against what iptables-save prints of the same namespace."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from clusters import service_vip
from clusters.netlink import Netlink, nftables
from clusters.state import VipRules

pytestmark = pytest.mark.twin

VIP, VIP6 = "10.96.0.10", "fd00:96::10"
REPLICAS = ("10.244.1.2", "10.244.2.2", "10.244.3.2")
BY_HAND = """*nat
:HAND - [0:0]
-A PREROUTING -d 10.96.0.0/12 -i eth0 -p udp -m udp --sport 7 --dport 53 -g HAND
-A PREROUTING ! -d 10.96.0.0/16 -i eth+ -j HAND
-A PREROUTING ! -s 10.1.2.3/32 ! -i lo ! -p tcp -j RETURN
-A HAND -p tcp -m tcp ! --dport 53 -j ACCEPT
-A HAND -p tcp -m tcp --dport 53 -j DNAT --to-destination 10.1.2.3:5353
-A HAND -p icmp -j DNAT --to-destination 10.1.2.3
-A HAND -p sctp -j REDIRECT
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
"""


def restored(rules: str, tool: str = "iptables") -> None:
    """Write rules."""
    subprocess.run([f"{tool}-restore", "--noflush"], input=rules, text=True, check=True)


def by_iptables(tool: str = "iptables") -> str:
    """What iptables-save prints."""
    done = subprocess.run([f"{tool}-save", "-t", "nat"], check=True, capture_output=True, text=True)
    return done.stdout


def by_netlink(*, ipv6: bool = False) -> str:
    """What graymesh reads."""
    with Netlink.open(None, family=nftables.NETLINK_NETFILTER) as netlink:
        return nftables.saved(netlink.dump(nftables.nat_rules(ipv6=ipv6)))


def normal(saved: str) -> list[list[str]]:
    """Rules by chain, in words: without comments, target options, the order of matches."""
    rules = []
    for line in saved.splitlines():
        if line.startswith("-A"):
            bare = re.sub(r"-m comment(?: --comment (?:\"[^\"]*\"|\S+))?", "", line)
            bare = re.sub(r"(-j (?!DNAT)\S+) .*$", r"\1", bare)
            bare = re.sub(r"-m (tcp|udp) ?", "", bare)
            head, *pairs = re.split(r" (?=(?:! )?-{1,2}[a-z])", " ".join(shlex.split(bare)))
            rules.append([head, *sorted(pair.strip() for pair in pairs)])
    return sorted(rules, key=lambda rule: rule[0])


def test_kube_proxys_rules_read_as_iptables_save_prints_them() -> None:
    """Two independent readers of the same rules: a wrong offset shows as another address or port."""
    restored(service_vip.render(VIP, REPLICAS))

    text = by_netlink()

    nat = [line for line in text.splitlines() if "-m mark" not in line and "-m cmp" not in line]
    saved = [line for line in by_iptables().splitlines() if "-m mark" not in line]
    assert normal("\n".join(nat)) == normal("\n".join(saved))
    assert len(normal(text)) == 29


def test_rules_written_by_hand_read_as_iptables_save_prints_them() -> None:
    """Negations, partial prefixes, interfaces: what operators add between kube-proxy's rules."""
    restored(BY_HAND)

    assert normal(by_netlink()) == normal(by_iptables())
    assert len(normal(by_netlink())) == 8


@pytest.mark.parametrize("targets", [REPLICAS, REPLICAS[:2], REPLICAS[:1], ()])
def test_targets_are_those_that_iptables_save_shows(targets: tuple[str, ...]) -> None:
    """The two ways to read must lead to one verdict."""
    restored(service_vip.render(VIP, targets))

    found = service_vip.parse(by_netlink(), VIP)

    assert found == service_vip.parse(by_iptables(), VIP)
    assert found == VipRules(targets={"udp": targets, "tcp": targets})


def test_ipv6_rules_are_read_from_their_own_table() -> None:
    """Offsets in an IPv6 header differ, and so does the table."""
    targets = ("fd00:244:1::2", "fd00:244:2::2")
    restored(service_vip.render(VIP6, targets, cluster_cidr="fd00:244::/56"), "ip6tables")

    found = service_vip.parse(by_netlink(ipv6=True), VIP6)

    assert found == VipRules(targets={"udp": targets, "tcp": targets})
    assert service_vip.parse(by_netlink(), VIP6) == VipRules(targets={"udp": (), "tcp": ()})


@pytest.mark.parametrize(
    "match",
    ["-m addrtype --dst-type LOCAL", "-m statistic --mode nth --every 2 --packet 0"],
)
def test_a_match_that_is_not_decoded_is_still_seen(match: str) -> None:
    """Dropping it silently would turn a rule that holds sometimes into one that holds always."""
    restored(f"*nat\n-A PREROUTING {match} -j ACCEPT\n-A PREROUTING -j ACCEPT\nCOMMIT\n")

    first, second = by_netlink().splitlines()[1:-1]

    assert "--opaque" in first
    assert "--opaque" not in second


def test_a_namespace_without_rules_reads_as_empty() -> None:
    """Rules that were never written, and rules that were deleted, are a finding and not a reader's error."""
    assert by_netlink() == "*nat\nCOMMIT\n"

    restored(service_vip.render(VIP, REPLICAS))
    assert by_netlink() != "*nat\nCOMMIT\n"
    subprocess.run(["iptables", "-t", "nat", "-F"], check=True)
    assert by_netlink() == "*nat\nCOMMIT\n"
