"""DNS answers judged, with dnspython writing them."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from probes.nameservice import Question
from probes.outcome import Outcome

NAME = "replica.graymesh.cluster.local"
REPLICAS = {"10.244.1.2": "dns-0", "10.244.2.2": "dns-1"}
QUESTION = Question.of(NAME, REPLICAS)
IDENT = 0xBEEF
WIRE_ID = IDENT.to_bytes(2, "big")


def answer(*addresses: str, name: str = NAME, ident: int = IDENT) -> dns.message.Message:
    """The answer to the query, with these addresses."""
    query = dns.message.make_query(name, "A", id=ident)
    message = dns.message.make_response(query)
    if addresses:
        message.answer.append(dns.rrset.from_text(f"{name}.", 5, "IN", "A", *addresses))
    return message


def read(message: dns.message.Message) -> tuple[Outcome, str]:
    """Read it as the answer to the query."""
    return QUESTION.read(message.to_wire(), WIRE_ID)


def test_the_query_is_the_one_that_dnspython_writes() -> None:
    """Templates are patched bytes; the library is the judge of them."""
    query = dns.message.from_wire(QUESTION.wire(WIRE_ID))

    assert query.id == IDENT
    assert query == dns.message.make_query(NAME, "A", id=IDENT)


@pytest.mark.parametrize(("address", "replica"), REPLICAS.items())
def test_a_right_answer_tells_who_gave_it(address: str, replica: str) -> None:
    """The identity name maps each replica's address to its name."""
    assert read(answer(address)) == (Outcome.OK, replica)


def test_a_name_that_all_answer_alike_has_no_label() -> None:
    """Direct probes know whom they asked."""
    question = Question.of(NAME, {"10.96.0.1": "", "fd00::1": ""})

    assert question.read(answer("10.96.0.1").to_wire(), WIRE_ID) == (Outcome.OK, "")


def test_an_address_that_means_nothing_is_a_wrong_answer() -> None:
    """Also beside a right one, and so is no address at all."""
    assert read(answer("10.244.9.9")) == (Outcome.WRONG_ANSWER, "")
    assert read(answer("10.244.1.2", "10.244.9.9")) == (Outcome.WRONG_ANSWER, "")
    assert read(answer()) == (Outcome.WRONG_ANSWER, "")
    assert read(answer("10.244.1.2"))[0] is Outcome.OK


def test_an_answer_to_another_question_is_a_wrong_answer() -> None:
    """Same id, other name."""
    assert read(answer("10.244.1.2", name="other.cluster.local")) == (Outcome.WRONG_ANSWER, "")


def test_another_id_or_a_query_is_no_answer() -> None:
    """The right one may still come."""
    assert read(answer("10.244.1.2", ident=IDENT ^ 1)) == (Outcome.PENDING, "")
    assert QUESTION.read(QUESTION.wire(WIRE_ID), WIRE_ID) == (Outcome.PENDING, "")


@pytest.mark.parametrize(
    ("rcode", "outcome"),
    [
        (dns.rcode.SERVFAIL, Outcome.SERVFAIL),
        (dns.rcode.NXDOMAIN, Outcome.NXDOMAIN),
        (dns.rcode.REFUSED, Outcome.RCODE),
    ],
)
def test_an_error_code_is_its_own_kind(rcode: dns.rcode.Rcode, outcome: Outcome) -> None:
    """SERVFAIL and NXDOMAIN point to different causes."""
    message = answer()
    message.set_rcode(rcode)

    assert read(message) == (outcome, "")


def test_a_truncated_answer_is_its_own_kind() -> None:
    """Even where an address is in it."""
    message = answer("10.244.1.2")
    message.flags |= dns.flags.TC

    assert read(message) == (Outcome.TRUNCATED, "")


def test_an_uncommon_but_right_answer_is_right() -> None:
    """EDNS, another spelling of the owner, more sections: the slow path agrees with the fast one."""
    message = answer("10.244.1.2")
    message.use_edns(0)
    message.additional.append(dns.rrset.from_text("x.local.", 5, "IN", "A", "1.2.3.4"))

    assert read(message) == (Outcome.OK, "dns-0")


@pytest.mark.parametrize("length", [0, 11, 20, 60])
def test_a_cut_answer_is_malformed(length: int) -> None:
    """Not a timeout: something came back."""
    wire = answer("10.244.1.2").to_wire()

    assert QUESTION.read(wire[:length], WIRE_ID) == (Outcome.MALFORMED, "")
