"""The VIP's rules as text."""

from __future__ import annotations

import re

import pytest

from clusters.service_vip import parse, render

VIP = "10.96.0.10"


def nat(*rules: str) -> str:
    """What iptables-save would print for these rules of the nat table."""
    return "\n".join(["*nat", ":PREROUTING ACCEPT [0:0]", *rules, "COMMIT", ""])


@pytest.mark.parametrize(
    "chain",
    [
        "KUBE-SVC-TCOU7JCQXEZGVUNU",  # kube-system/kube-dns:dns in every kubeadm cluster
        "KUBE-SVC-ERIFXISQEP7F7OF4",  # …:dns-tcp
        "KUBE-SEP-YIL6JZP7A3QYXJU2",  # 10.244.0.2:53 over UDP, from a kind node
        "KUBE-SEP-WXWGHGKZOCNYRYI7",  # 10.244.0.4:53 over UDP
    ],
)
def test_chains_are_named_as_kube_proxy_names_them(chain: str) -> None:
    """Names seen on real nodes: tools and eyes that know those find their way here."""
    text = render(VIP, ["10.244.0.2", "10.244.0.4"])

    assert f":{chain} - [0:0]" in text


def test_each_target_gets_an_equal_share() -> None:
    """Each rule sees only what the ones before it left: 1/3, 1/2, the rest."""
    text = render(VIP, ["10.244.1.2", "10.244.2.2", "10.244.3.2"])

    assert re.findall(r"probability ([0-9.]+)", text) == ["0.3333333333", "0.5000000000"] * 2
    assert "statistic" not in render(VIP, ["10.244.1.2"])


def test_a_hairpin_and_a_query_of_the_node_itself_are_masqueraded() -> None:
    """Else the answer would take another way back and never be translated."""
    text = render(VIP, ["10.244.1.2"], cluster_cidr="10.244.0.0/16")

    assert "-s 10.244.1.2 -j KUBE-MARK-MASQ" in text
    assert "! -s 10.244.0.0/16 -j KUBE-MARK-MASQ" in text


def test_without_targets_both_ports_are_rejected() -> None:
    """A client is told at once, as by kube-proxy, and not left to time out."""
    text = render(VIP, [])

    assert text.count(f"-d {VIP} --dport 53 -j REJECT") == 2
    assert "KUBE-SVC" not in text
    assert "REJECT" not in render(VIP, ["10.244.1.2"])


def test_jumps_that_are_there_are_not_written_again() -> None:
    """Every sync would add three more otherwise."""
    saved = render(VIP, ["10.244.1.2"]).replace("-I ", "-A ")

    assert "-I PREROUTING" in render(VIP, ["10.244.1.2"])
    assert "-I " not in render(VIP, ["10.244.1.2"], saved=saved)


def test_chains_of_lost_targets_are_deleted() -> None:
    """And only those: what others wrote stays."""
    saved = nat(":KUBE-SEP-GONE - [0:0]", ":KUBE-SVC-GONE - [0:0]", ":DOCKER - [0:0]")

    text = render(VIP, ["10.244.1.2"], saved=saved)

    assert "-X KUBE-SEP-GONE" in text
    assert "-X KUBE-SVC-GONE" in text
    assert "DOCKER" not in text


def test_ipv6_endpoints_are_written_in_brackets() -> None:
    """ip6tables needs them to tell address from port."""
    saved = render("fd00:10:96::a", ["fd00::2"]).replace("-I ", "-A ")

    assert "--to-destination [fd00::2]:53" in saved
    assert parse(saved, "fd00:10:96::a").targets == {"udp": ("fd00::2",), "tcp": ("fd00::2",)}


def test_rules_that_no_packet_reaches_hold_no_targets() -> None:
    """The chains alone translate nothing: the jump from PREROUTING was deleted."""
    saved = render(VIP, ["10.244.1.2"]).replace("-I ", "-A ")
    cut = re.sub(r"-A PREROUTING.*\n", "", saved)

    assert parse(saved, VIP).targets["udp"] == ("10.244.1.2",)
    assert parse(cut, VIP).targets == {"udp": (), "tcp": ()}
    assert parse(saved, "10.96.0.11").targets == {"udp": (), "tcp": ()}


def test_only_the_transport_that_lost_its_rule_is_empty() -> None:
    """UDP and TCP are two services to iptables."""
    saved = render(VIP, ["10.244.1.2"]).replace("-I ", "-A ")
    cut = re.sub(r"-A KUBE-SERVICES.*-p tcp.*\n", "", saved)

    assert parse(cut, VIP).targets == {"udp": ("10.244.1.2",), "tcp": ()}


def test_a_rule_before_the_others_that_takes_all_hides_them() -> None:
    """Somebody's own DNAT at the top decides; with a match that may not hold it does not."""
    late = (
        f"-A PREROUTING -d {VIP}/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.2.2:53"
    )
    first = late.replace("10.244.2.2", "10.244.9.9")

    assert parse(nat(first, late), VIP).targets["udp"] == ("10.244.9.9",)
    some = first.replace(" -j ", " -m statistic --mode random --probability 0.5 -j ")
    assert parse(nat(some, late), VIP).targets["udp"] == ("10.244.9.9", "10.244.2.2")
    some = first.replace(" -j ", " -s 10.244.3.0/24 -j ")
    assert parse(nat(some, late), VIP).targets["udp"] == ("10.244.9.9", "10.244.2.2")


def test_accept_and_return_end_a_chain_as_for_a_packet() -> None:
    """RETURN goes back to the caller, ACCEPT ends the table."""
    dnat = "-j DNAT --to-destination 10.244.2.2:53"
    jump, after = "-A PREROUTING -j MINE", f"-A PREROUTING {dnat}"

    for action, left in (("RETURN", ("10.244.2.2",)), ("ACCEPT", ())):
        saved = nat(jump, after, f"-A MINE -j {action}", f"-A MINE {dnat.replace('2.2', '3.3')}")
        assert parse(saved, VIP).targets["udp"] == left


def test_negated_matches_and_other_tables_are_understood() -> None:
    """Negated, "! -d VIP" is everybody else; the filter table translates nothing."""
    dnat = "-j DNAT --to-destination 10.244.2.2:53"

    assert parse(nat(f"-A PREROUTING ! -d {VIP}/32 {dnat}"), VIP).targets["udp"] == ()
    assert parse(nat(f"-A PREROUTING ! -d 10.1.1.1/32 {dnat}"), VIP).targets["udp"] == (
        "10.244.2.2",
    )
    assert parse(nat(f"-A PREROUTING {dnat}").replace("nat", "filter"), VIP).targets["udp"] == ()


def test_chains_that_jump_in_a_circle_are_left() -> None:
    """The kernel refuses them, a text may have them."""
    saved = nat(
        "-A PREROUTING -j A", "-A A -j B", "-A B -j A", "-A B -j DNAT --to-destination 1.2.3.4:53"
    )

    assert parse(saved, VIP).targets["udp"] == ("1.2.3.4",)


def test_a_line_that_is_no_rule_is_passed_over() -> None:
    """An unbalanced quote in one line does not cost the others."""
    broken = '-A PREROUTING -m comment --comment "half -j ACCEPT'

    saved = nat(broken, "-A PREROUTING -j DNAT --to-destination 10.244.2.2:53")

    assert parse(saved, VIP).targets["udp"] == ("10.244.2.2",)
