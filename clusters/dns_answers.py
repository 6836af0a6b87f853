"""What a DNS replica answers: query bytes in, answer bytes out, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from clusters.dns_names import big_name, identity_name

HEADER_BYTES: Final = 12
UDP_BYTES: Final = 4096  # what we advertise, and the most we send, by UDP
_PLAIN_UDP_BYTES: Final = 512  # RFC 1035 4.2.1, for a query without EDNS; also the least EDNS size
_TCP_BYTES: Final = 65535
_TTL_S: Final = 30  # as kubeadm's CoreDNS has it, for answers and for absence
_BIG_ADDRESSES: Final = 100  # 1.6 KB of A records: more than 1232 bytes, fewer than 4096
_BIG_STRINGS: Final = 24  # 6 KB of TXT: more than any UDP answer
_CACHED_ANSWERS: Final = 2048
_CACHED_QUERY_BYTES: Final = 512
_TRANSFERS: Final = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """One replica. `records` maps full names (no final dot) to IPv4 and IPv6 addresses."""

    replica: str
    address: str
    records: Mapping[str, tuple[str, ...]]
    domain: str = "cluster.local"


class Responder:
    """Answers as a cluster's DNS server does that forwards nowhere. Pure: the same bytes get the same answer."""

    def __init__(self, config: DnsConfig) -> None:
        self._domain = dns.name.from_text(config.domain)
        self._table: dict[str, list[_Record]] = {}
        for name, record in _records(config):
            self._table.setdefault(name.lower(), []).append(record)
        self._above = {parent for name in self._table for parent in _parents(name)}
        self._soa = _soa(config.domain)

    def answer(self, query: bytes, *, udp: bool) -> bytes | None:
        """The answer's bytes; None where there is to be none (no whole header, or itself a response).

        Over UDP at most the size that the query's EDNS allows, 512 bytes without; TC is set where that cuts.
        """
        if len(query) < HEADER_BYTES or query[2] & 0x80:
            return None
        if query[2] & 0x78:
            return _bare(query, dns.rcode.NOTIMP)
        try:
            asked = dns.message.from_wire(query, keyring=False)
        except dns.exception.DNSException:
            return _bare(query, dns.rcode.FORMERR)
        if len(asked.question) != 1:
            return _bare(query, dns.rcode.FORMERR)
        limit = min(max(asked.payload, _PLAIN_UDP_BYTES), UDP_BYTES) if udp else _TCP_BYTES
        return self._reply(asked).to_wire(
            max_size=limit, prefer_truncation=True, want_shuffle=False
        )

    def _reply(self, asked: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(asked, our_payload=UDP_BYTES)
        question = asked.question[0]
        if asked.edns > 0:
            reply.set_rcode(dns.rcode.BADVERS)
        elif question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
            reply.set_rcode(dns.rcode.REFUSED)
        else:
            self._fill(reply, question.name, question.rdtype)
        if asked.ednsflags & dns.flags.DO:
            reply.ednsflags |= dns.flags.DO
        return reply

    def _fill(
        self, reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> None:
        ours = self._ours(name)
        if ours:
            reply.flags |= dns.flags.AA
        key = name.to_text(omit_final_dot=True).lower()  # a dot inside a label comes out as "\\."
        known = self._table.get(key, [])
        if not known and not (ours and key in self._above):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        for found in dict.fromkeys(record.kind for record in known):
            if kind in {found, dns.rdatatype.ANY}:
                texts = [record.text for record in known if record.kind == found]
                reply.answer.append(dns.rrset.from_text_list(name, _TTL_S, "IN", found, texts))
        if not reply.answer:
            zone = self._domain if ours else dns.name.root  # RFC 2308: a zone that holds the name
            reply.authority.append(dns.rrset.from_text(zone, _TTL_S, "IN", *self._soa))

    def _ours(self, name: dns.name.Name) -> bool:
        return name.is_subdomain(self._domain)


class Cached:
    """A bounded memory of answers, by all of the query but its id.

    What repeats (a sweep asks the same question from everywhere) costs one look-up.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._known: dict[bytes, bytes] = {}

    def __call__(self, query: bytes) -> bytes | None:
        """The answer to the query, from memory where it was asked before."""
        rest = self._known.get(query[2:])
        if rest is not None:
            return query[:2] + rest
        answer = self._answer(query)
        if answer is not None and len(query) <= _CACHED_QUERY_BYTES:
            if len(self._known) >= _CACHED_ANSWERS:
                self._known.clear()
            self._known[query[2:]] = answer[2:]
        return answer


class _Record(NamedTuple):
    kind: dns.rdatatype.RdataType
    text: str  # as in a zone file


def _records(config: DnsConfig) -> Iterator[tuple[str, _Record]]:
    for name, addresses in config.records.items():
        for address in addresses:
            yield name, _address_record(address)
    identity = identity_name(config.domain)
    yield identity, _address_record(config.address)
    yield identity, _Record(dns.rdatatype.TXT, f'"{config.replica}"')
    yield config.domain, _soa(config.domain)
    # The version of the Kubernetes DNS specification, which asks a server to tell it.
    yield f"dns-version.{config.domain}", _Record(dns.rdatatype.TXT, '"1.1.0"')
    big = big_name(config.domain)
    for i in range(_BIG_ADDRESSES):
        yield big, _Record(dns.rdatatype.A, f"198.18.0.{i + 1}")
    yield big, _Record(dns.rdatatype.TXT, " ".join(f'"{i:0250d}"' for i in range(_BIG_STRINGS)))


def _soa(domain: str) -> _Record:
    text = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {_TTL_S}"
    return _Record(dns.rdatatype.SOA, text)


def _address_record(address: str) -> _Record:
    return _Record(dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A, address)


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _bare(query: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the query's id, opcode and RD, QR set."""
    return query[:2] + bytes((query[2] & 0x79 | 0x80, rcode)) + bytes(8)
