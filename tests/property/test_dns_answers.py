"""Any bytes at all, put to a replica."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
from hypothesis import example, given
from hypothesis import strategies as st

from clusters.dns_answers import DnsConfig, Responder
from clusters.dns_names import big_name, identity_name, kubernetes_name

DOMAIN = "cluster.local"
KNOWN = (kubernetes_name(DOMAIN), identity_name(DOMAIN), big_name(DOMAIN), "svc.cluster.local")
RESPONDER = Responder(
    DnsConfig(
        replica="dns-0",
        address="10.244.1.2",
        records={kubernetes_name(DOMAIN): ("10.96.0.1",)},
        domain=DOMAIN,
    )
)
LABELS = st.lists(st.binary(min_size=1, max_size=20), max_size=6)
NAMES = st.one_of(
    st.sampled_from(KNOWN).map(dns.name.from_text),
    st.builds(lambda labels: dns.name.Name([*labels, b""]), LABELS),
    st.builds(lambda labels: dns.name.Name([*labels, b"cluster", b"local", b""]), LABELS),
)
KINDS = st.sampled_from(["A", "AAAA", "TXT", "SOA", "ANY", "PTR", "SRV", "TYPE65280"])


@st.composite
def queries(draw: st.DrawFn) -> dns.message.Message:
    """A well-formed query."""
    query = dns.message.make_query(draw(NAMES), draw(KINDS))
    query.id = draw(st.integers(0, 65535))
    if draw(st.booleans()):
        code = draw(st.integers(65001, 65534))  # for local use: any content is well-formed
        options = [dns.edns.GenericOption(code, draw(st.binary(max_size=40)))]
        flags = draw(st.sampled_from([0, dns.flags.DO]))
        query.use_edns(0, flags, draw(st.integers(0, 65535)), options=options)
    return query


@given(query=st.binary(max_size=100), udp=st.booleans())
@example(query=bytes(12), udp=True)
@example(query=bytes.fromhex("0001010000010000000000 00c00c00010001"), udp=True)
def test_no_bytes_break_the_responder(query: bytes, *, udp: bool) -> None:
    """What comes from the network is hostile; whatever is answered is a response with the query's id."""
    answer = RESPONDER.answer(query, udp=udp)

    if answer is None:
        assert len(query) < 12 or query[2] & 0x80
        return
    parsed = dns.message.from_wire(answer)
    assert answer[:2] == query[:2]
    assert parsed.flags & dns.flags.QR
    assert not udp or len(answer) <= 4096


@given(query=queries(), data=st.data(), udp=st.booleans())
def test_no_change_of_a_good_query_breaks_the_responder(
    query: dns.message.Message,
    data: st.DataObject,
    *,
    udp: bool,
) -> None:
    """Bytes near a good query reach deeper than random ones."""
    wire = bytearray(query.to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(12, len(wire)))

    answer = RESPONDER.answer(bytes(wire[:cut]), udp=udp)

    if answer is None:
        assert wire[2] & 0x80
    else:
        assert dns.message.from_wire(answer).id == query.id


@given(query=queries(), udp=st.booleans())
def test_a_good_query_gets_a_good_answer(
    query: dns.message.Message,
    *,
    udp: bool,
) -> None:
    """Same id, same question to the byte, no larger than allowed, and never an error about the query."""
    wire = RESPONDER.answer(query.to_wire(), udp=udp)

    assert wire is not None
    answer = dns.message.from_wire(wire)
    question = query.to_wire()[12 : 12 + len(query.question[0].name.to_wire() or b"") + 4]
    assert wire[12:].startswith(question)
    assert query.is_response(answer)
    assert answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
    assert len(wire) <= (min(max(query.payload, 512), 4096) if udp else 65535)
    assert answer.answer or answer.authority or answer.flags & dns.flags.TC


@given(query=queries(), other=st.integers(0, 65535), udp=st.booleans())
def test_the_answer_depends_on_the_id_in_nothing_but_the_id(
    query: dns.message.Message,
    other: int,
    *,
    udp: bool,
) -> None:
    """This is what makes the cache, keyed by all but the id, right."""
    wire = query.to_wire()

    first = RESPONDER.answer(wire, udp=udp)
    second = RESPONDER.answer(other.to_bytes(2) + wire[2:], udp=udp)

    assert first is not None
    assert second == other.to_bytes(2) + first[2:]
