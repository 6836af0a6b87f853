"""What a replica answers, judged by dnspython."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from clusters.dns_answers import Cached, DnsConfig, Responder

DOMAIN = "cluster.local"
CONFIG = DnsConfig(
    replica="dns-1",
    address="10.244.2.7",
    records={
        "kubernetes.default.svc.cluster.local": ("10.96.0.1",),
        "10-244-0-2.default.pod.cluster.local": ("10.244.0.2",),
        "dual.default.svc.cluster.local": ("10.96.0.20", "fd00:10:96::20"),
    },
)
RESPONDER = Responder(CONFIG)


def ask(
    name: str, kind: str = "A", *, udp: bool = True, edns_bytes: int | None = None
) -> dns.message.Message:
    """Put one question and parse the answer, which must carry the question's id and text."""
    query = dns.message.make_query(
        name, kind, use_edns=edns_bytes is not None, payload=edns_bytes or 0
    )
    wire = RESPONDER.answer(query.to_wire(), udp=udp)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return answer


def values(answer: dns.message.Message) -> list[str]:
    """The answer section's rdata as text."""
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset]


def test_a_service_name_gives_its_address_with_authority() -> None:
    """The name every direct probe asks for; AA is what CoreDNS sets for names of its own."""
    answer = ask("kubernetes.default.svc.cluster.local")

    assert values(answer) == ["10.96.0.1"]
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RD


def test_a_pod_name_gives_the_pods_address() -> None:
    """kube-dns names pods by their address; the pods of the inventory have to resolve."""
    assert values(ask("10-244-0-2.default.pod.cluster.local")) == ["10.244.0.2"]
    assert ask("10-244-0-3.default.pod.cluster.local").rcode() == dns.rcode.NXDOMAIN


def test_the_identity_name_tells_which_replica_answered() -> None:
    """A VIP answer must tell who gave it."""
    assert values(ask("replica.graymesh.cluster.local")) == ["10.244.2.7"]
    assert values(ask("replica.graymesh.cluster.local", "TXT")) == ['"dns-1"']


def test_an_ipv6_replica_tells_its_address_as_aaaa() -> None:
    """The identity name has the replica's own address, of whichever family."""
    responder = Responder(DnsConfig(replica="dns-0", address="fd00::7", records={}))
    query = dns.message.make_query("replica.graymesh.cluster.local", "AAAA")

    wire = responder.answer(query.to_wire(), udp=True)

    assert wire is not None
    assert values(dns.message.from_wire(wire)) == ["fd00::7"]


def test_a_type_that_a_name_lacks_is_an_empty_success_with_soa() -> None:
    """NXDOMAIN for AAAA would make resolvers give up the A record too (RFC 2308)."""
    answer = ask("kubernetes.default.svc.cluster.local", "AAAA")

    assert answer.rcode() == dns.rcode.NOERROR
    assert values(answer) == []
    assert answer.authority[0].rdtype == dns.rdatatype.SOA
    assert values(ask("dual.default.svc.cluster.local", "AAAA")) == ["fd00:10:96::20"]


@pytest.mark.parametrize(
    ("name", "zone", "authoritative"),
    [("nothing.cluster.local", "cluster.local.", True), ("example.com", ".", False)],
)
def test_an_unknown_name_is_nxdomain_with_the_soa_of_a_zone_above_it(
    name: str, zone: str, *, authoritative: bool
) -> None:
    """Inside the domain and outside alike; an SOA that is not above the name would be ignored (RFC 2308)."""
    answer = ask(name)

    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert [str(rrset.name) for rrset in answer.authority] == [zone]
    assert bool(answer.flags & dns.flags.AA) == authoritative


def test_a_name_above_existing_names_exists_without_records() -> None:
    """An empty non-terminal is no NXDOMAIN (RFC 8020); names above the domain are not ours."""
    assert ask("svc.cluster.local").rcode() == dns.rcode.NOERROR
    assert ask("cluster.local", "SOA").answer
    assert ask("local").rcode() == dns.rcode.NXDOMAIN


def test_case_does_not_matter_and_comes_back_as_asked() -> None:
    """Resolvers that mix case as a check compare the question byte by byte."""
    answer = ask("KuBeRnEtEs.default.SVC.cluster.local")

    assert values(answer) == ["10.96.0.1"]
    assert answer.question[0].name.to_text() == "KuBeRnEtEs.default.SVC.cluster.local."
    assert answer.answer[0].name.to_text() == "KuBeRnEtEs.default.SVC.cluster.local."


@pytest.mark.parametrize(("edns_bytes", "whole"), [(None, False), (1232, False), (4096, True)])
def test_a_big_answer_is_cut_to_the_size_the_query_allows(
    edns_bytes: int | None, *, whole: bool
) -> None:
    """The probe for truncation: over 1232 bytes, under 4096."""
    answer = ask("big.graymesh.cluster.local", edns_bytes=edns_bytes)

    assert bool(answer.flags & dns.flags.TC) != whole
    assert (len(values(answer)) == 100) == whole


def test_an_answer_too_big_for_any_datagram_comes_whole_over_tcp() -> None:
    """The probe for TCP fallback."""
    assert ask("big.graymesh.cluster.local", "TXT", edns_bytes=65535).flags & dns.flags.TC

    answer = ask("big.graymesh.cluster.local", "TXT", udp=False)

    assert not answer.flags & dns.flags.TC
    assert len(answer.to_wire()) > 4096


@pytest.mark.parametrize("edns_bytes", [0, 100, 512])
def test_an_edns_size_below_512_counts_as_512(edns_bytes: int) -> None:
    """RFC 6891, 6.2.3."""
    query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A", use_edns=0)
    query.use_edns(0, 0, edns_bytes)

    wire = RESPONDER.answer(query.to_wire(), udp=True)

    assert wire is not None
    assert values(dns.message.from_wire(wire)) == ["10.96.0.1"]


def test_edns_comes_back_where_it_was_asked_only() -> None:
    """RFC 6891, 6.1.1; the DO bit is copied (RFC 3225)."""
    query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A", want_dnssec=True)
    wire = RESPONDER.answer(query.to_wire(), udp=True)
    assert wire is not None

    assert dns.message.from_wire(wire).ednsflags & dns.flags.DO
    assert ask("kubernetes.default.svc.cluster.local").edns == -1


def test_a_newer_edns_version_is_badvers() -> None:
    """RFC 6891, 6.1.3: the answer names the version that is spoken here."""
    query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A")
    query.use_edns(1)
    wire = RESPONDER.answer(query.to_wire(), udp=True)
    assert wire is not None
    answer = dns.message.from_wire(wire)

    assert (answer.rcode(), answer.edns) == (dns.rcode.BADVERS, 0)
    assert answer.answer == []


def test_another_class_and_zone_transfers_are_refused() -> None:
    """Neither is served; NXDOMAIN would be a lie about names."""
    query = dns.message.make_query("version.bind", "TXT", rdclass="CH")
    wire = RESPONDER.answer(query.to_wire(), udp=True)
    assert wire is not None

    assert dns.message.from_wire(wire).rcode() == dns.rcode.REFUSED
    assert ask("cluster.local", "AXFR", udp=False).rcode() == dns.rcode.REFUSED


def test_any_gives_every_record_of_the_name() -> None:
    """All in one answer: there are few."""
    answer = ask("replica.graymesh.cluster.local", "ANY")

    assert sorted(values(answer)) == ['"dns-1"', "10.244.2.7"]


def test_what_is_no_query_gets_no_answer() -> None:
    """Answering a response could start an endless exchange between two servers."""
    query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A")
    response = dns.message.make_response(query)

    assert RESPONDER.answer(query.to_wire()[:11], udp=True) is None
    assert RESPONDER.answer(response.to_wire(), udp=True) is None
    assert RESPONDER.answer(query.to_wire(), udp=True) is not None


@pytest.mark.parametrize(
    ("opcode", "rcode"),
    [(dns.opcode.STATUS, dns.rcode.NOTIMP), (dns.opcode.UPDATE, dns.rcode.NOTIMP)],
)
def test_other_opcodes_are_not_implemented(
    opcode: dns.opcode.Opcode, rcode: dns.rcode.Rcode
) -> None:
    """RFC 1035, 4.1.1: said, not dropped, so that the sender does not wait."""
    query = dns.message.make_query("cluster.local", "SOA")
    query.set_opcode(opcode)
    wire = RESPONDER.answer(query.to_wire(), udp=True)
    assert wire is not None
    header = dns.message.from_wire(wire)

    assert (header.id, header.opcode(), header.rcode()) == (query.id, opcode, rcode)


@pytest.mark.parametrize("cut", [13, 20, 40])
def test_a_header_with_garbage_is_a_format_error(cut: int) -> None:
    """RFC 1035, 4.1.1; the id comes back."""
    query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A")

    wire = RESPONDER.answer(query.to_wire()[:cut], udp=True)

    assert wire is not None
    header = dns.message.from_wire(wire)
    assert (header.id, header.rcode()) == (query.id, dns.rcode.FORMERR)


@pytest.mark.parametrize("count", [0, 2])
def test_no_question_or_two_are_a_format_error(count: int) -> None:
    """RFC 9619: a query has one question; two equal ones are two as well."""
    wire = dns.message.make_query("cluster.local", "SOA").to_wire()
    question = wire[12:]
    query = wire[:4] + count.to_bytes(2) + wire[6:12] + question * count

    answer = RESPONDER.answer(query, udp=True)

    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == dns.rcode.FORMERR


def test_the_cache_gives_each_client_its_own_id() -> None:
    """The id is all in which two clients' equal questions differ."""
    asked: list[bytes] = []

    def answer(query: bytes) -> bytes:
        asked.append(query)
        return query[:2] + b"answer"

    cached = Cached(answer)

    assert (cached(b"\x00\x01same"), cached(b"\x00\x02same")) == (
        b"\x00\x01answer",
        b"\x00\x02answer",
    )
    assert len(asked) == 1


def test_the_cache_is_bounded() -> None:
    """Ever new questions must not fill the memory; it starts over and still answers."""
    asked: list[bytes] = []

    def answer(query: bytes) -> bytes:
        asked.append(query)
        return query

    cached = Cached(answer)
    for i in range(10_000):
        cached(b"id" + i.to_bytes(4))

    assert len(cached._known) <= 2048
    assert cached(b"id" + (9999).to_bytes(4)) == b"id" + (9999).to_bytes(4)
    assert len(asked) == 10_000


def test_the_cache_does_not_keep_what_gets_no_answer() -> None:
    """Silence costs nothing to find out again."""
    cached = Cached(lambda _query: None)

    assert cached(b"\x00\x01junk") is None
    assert cached._known == {}
