"""DNS questions as prebuilt wire templates, and what an answer says; the only importer of dnspython here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from probes.outcome import Outcome

_SHORTEST: Final = 12  # a header, RFC 1035 4.1.1
_OWNER_A_IN: Final = b"\xc0\x0c\x00\x01\x00\x01"  # pointer to the question's name, type A, class IN
_A_BYTES: Final = b"\x00\x04"
_ONE_ANSWER: Final = b"\x00\x01\x00\x01\x00\x00\x00\x00"  # counts of the four sections
_RCODES: Final = {
    dns.rcode.SERVFAIL: Outcome.SERVFAIL,
    dns.rcode.NXDOMAIN: Outcome.NXDOMAIN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One A query without its id, and which address in the answer means what.

    `meanings` maps the four bytes of each right address to a label: the replica's name for the identity name,
    "" for a name that all answer alike.
    """

    tail: bytes
    usual: bytes  # from the counts to the class of the one record that a server usually answers
    meanings: Mapping[bytes, str]

    @classmethod
    def of(cls, name: str, meanings: Mapping[str, str]) -> Question:
        """The question for a name, as a stub resolver asks it: recursion desired, no EDNS."""
        wire = dns.message.make_query(name, "A", id=0).to_wire()
        return cls(
            tail=wire[2:],
            usual=_ONE_ANSWER + wire[_SHORTEST:] + _OWNER_A_IN,
            meanings={
                IPv4Address(address).packed: label
                for address, label in meanings.items()
                if ":" not in address
            },
        )

    def wire(self, ident: bytes) -> bytes:
        """The query with this id (two bytes)."""
        return ident + self.tail

    def read(self, answer: bytes, ident: bytes) -> tuple[Outcome, str]:
        """What an answer to the query with this id says, and the label of its address.

        PENDING where it is no answer to that query at all (another id, or itself a query).
        """
        if len(answer) < _SHORTEST:
            return Outcome.MALFORMED, ""
        flags = answer[2]
        if answer[:2] != ident or not flags & 0x80:
            return Outcome.PENDING, ""
        after = 4 + len(self.usual)
        if (
            answer[4:after] != self.usual
            or flags & 0x7A  # an opcode other than QUERY, or truncated
            or answer[3] & 0x0F
            or answer[after + 4 : after + 6] != _A_BYTES
            or len(answer) != after + 10
        ):
            return self._read_slowly(answer)
        label = self.meanings.get(answer[after + 6 :])
        return (Outcome.WRONG_ANSWER, "") if label is None else (Outcome.OK, label)

    def _read_slowly(self, answer: bytes) -> tuple[Outcome, str]:
        try:
            message = dns.message.from_wire(answer, ignore_trailing=True)
        except dns.message.Truncated:
            return Outcome.TRUNCATED, ""
        except (dns.exception.DNSException, ValueError):
            return Outcome.MALFORMED, ""
        return self._judge(message)

    def _judge(self, message: dns.message.Message) -> tuple[Outcome, str]:
        if message.flags & dns.flags.TC:
            return Outcome.TRUNCATED, ""
        if message.rcode() != dns.rcode.NOERROR:
            return _RCODES.get(message.rcode(), Outcome.RCODE), ""
        found = {
            IPv4Address(record.address).packed
            for record_set in message.answer
            if (record_set.rdclass, record_set.rdtype) == (dns.rdataclass.IN, dns.rdatatype.A)
            for record in record_set
        }
        asked = dns.message.from_wire(b"\x00\x00" + self.tail).question
        if message.question != asked or len(found) != 1 or not found <= self.meanings.keys():
            return Outcome.WRONG_ANSWER, ""
        return Outcome.OK, self.meanings[found.pop()]
