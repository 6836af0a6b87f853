"""Whatever a server sends, reading it gives an outcome."""

from __future__ import annotations

import dns.message
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from probes.nameservice import Question
from probes.outcome import Outcome

NAME = "kubernetes.default.svc.cluster.local"
QUESTION = Question.of(NAME, {"10.96.0.1": ""})
IDENT = 0x0102
WIRE_ID = IDENT.to_bytes(2, "big")


def right() -> bytes:
    """A right answer, on the wire."""
    message = dns.message.make_response(dns.message.make_query(NAME, "A", id=IDENT))
    message.answer.append(dns.rrset.from_text(f"{NAME}.", 5, "IN", "A", "10.96.0.1"))
    return message.to_wire()


@given(st.binary(max_size=600))
def test_noise_never_raises_and_is_never_right(noise: bytes) -> None:
    """The network may deliver anything."""
    assert QUESTION.read(right(), WIRE_ID)[0] is Outcome.OK
    assert QUESTION.read(noise, WIRE_ID)[0] is not Outcome.OK
    assert QUESTION.read(b"\x01\x02\x80\x00" + noise, WIRE_ID)[0] is not Outcome.PENDING


@given(st.integers(0, len(right()) - 1), st.integers(0, 255))
def test_a_damaged_answer_never_raises(at: int, byte: int) -> None:
    """Every byte of a right answer, replaced by every other."""
    wire = bytearray(right())
    wire[at] = byte

    outcome, label = QUESTION.read(bytes(wire), WIRE_ID)

    assert isinstance(outcome, Outcome)
    assert label == ""


@given(st.integers(0, 0xFFFF))
def test_every_id_is_written_and_recognised(ident: int) -> None:
    """Ids are random over the whole range."""
    wire_id = ident.to_bytes(2, "big")
    message = dns.message.make_response(dns.message.from_wire(QUESTION.wire(wire_id)))
    message.answer.append(dns.rrset.from_text(f"{NAME}.", 5, "IN", "A", "10.96.0.1"))

    assert QUESTION.read(message.to_wire(), wire_id) == (Outcome.OK, "")
    assert QUESTION.read(message.to_wire(), bytes([wire_id[0] ^ 1, wire_id[1]])) == (
        Outcome.PENDING,
        "",
    )
