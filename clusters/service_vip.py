"""The DNS service address as kube-proxy's iptables mode writes it, from endpoints to rules to endpoints."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from clusters.state import VipRules

_PORT: Final = 53
_SERVICE: Final = "kube-system/kube-dns"
_PORT_NAMES: Final = {"udp": "dns", "tcp": "dns-tcp"}
_PORTALS: Final = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
_NEW_PORTALS: Final = f"-m conntrack --ctstate NEW {_PORTALS}"
_POSTROUTING: Final = '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'
_JUMPS: Final = {
    "filter": {"FORWARD": _NEW_PORTALS, "OUTPUT": _NEW_PORTALS},
    "nat": {"PREROUTING": _PORTALS, "OUTPUT": _PORTALS, "POSTROUTING": _POSTROUTING},
}
_ABOUT_SERVICE: Final = frozenset(
    {
        "-d",
        "-p",
        "--dport",
        "-m",
        "--comment",
        "-j",
        "-g",
        "--to-destination",
        "!-d",
        "!-p",
        "!--dport",
    }
)
_FIXED: Final = (  # kube-proxy's masquerading, for nodes' own queries and for hairpins
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
    (
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT"'
        " -j MASQUERADE --random-fully"
    ),
    "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
)


def render(
    vip: str, targets: Sequence[str], *, saved: str = "", cluster_cidr: str = "10.244.0.0/16"
) -> str:
    """Input for `iptables-restore --noflush` (ip6tables for an IPv6 VIP) that maps UDP and TCP port 53 to `targets`.

    `saved` is what iptables-save says now ("" for a fresh namespace): jumps that are there are not written twice,
    and chains of endpoints that went away are deleted. With no target both ports are rejected. Queries from outside
    `cluster_cidr` (a node's own) are masqueraded. Chain names and rule texts are those of kube-proxy
    (pkg/proxy/iptables); its node ports, KUBE-FORWARD and canaries are left out: nothing here depends on them.
    """
    ports = [_Port(transport, vip, tuple(targets), cluster_cidr) for transport in _PORT_NAMES]
    chains = ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]
    chains += [chain for port in ports for chain in port.chains()]
    stale = sorted(set(_service_chains(saved)) - set(chains))
    rules = [*_FIXED, *(rule for port in ports for rule in port.rules())]
    rejects = [port.reject() for port in ports if not targets]
    return _table("filter", ["KUBE-SERVICES"], rejects, [], saved) + _table(
        "nat", chains, rules, stale, saved
    )


def parse(saved: str, vip: str) -> VipRules:
    """The addresses to which a pod's query to the VIP can go, from what iptables-save prints. Never raises.

    Follows the nat table from PREROUTING as a packet would, through any chains: rules that are there but not
    reached (a jump was deleted, an earlier rule takes all) do not count. A match that is not about the service
    (source, interface, chance) is taken as one that may hold or not.
    """
    rules = _nat_rules(saved)
    walks = {transport: _Walk(rules, _Query(vip, transport), []) for transport in _PORT_NAMES}
    for walk in walks.values():
        walk.decided("PREROUTING", frozenset())
    return VipRules(targets={name: tuple(dict.fromkeys(w.found)) for name, w in walks.items()})


class _Port(NamedTuple):
    """One port of the service: what kube-proxy calls a service port."""

    transport: str
    vip: str
    targets: tuple[str, ...]
    cluster_cidr: str

    @property
    def name(self) -> str:
        return f"{_SERVICE}:{_PORT_NAMES[self.transport]}"

    @property
    def _match(self) -> str:
        """What selects the service's packets."""
        return (
            f'-m comment --comment "{self.name} cluster IP" -m {self.transport} -p {self.transport}'
            f" -d {self.vip} --dport {_PORT}"
        )

    @property
    def _chain(self) -> str:
        return f"KUBE-SVC-{_hashed(self.name + self.transport)}"

    def _endpoint_chain(self, target: str) -> str:
        return f"KUBE-SEP-{_hashed(self.name + self.transport + _endpoint(target))}"

    def chains(self) -> list[str]:
        """Every chain of this port; none without endpoints."""
        return [self._chain, *map(self._endpoint_chain, self.targets)] if self.targets else []

    def rules(self) -> Iterator[str]:
        """From KUBE-SERVICES over one random choice to DNAT."""
        if not self.targets:
            return
        yield f"-A KUBE-SERVICES {self._match} -j {self._chain}"
        yield f"-A {self._chain} {self._match} ! -s {self.cluster_cidr} -j KUBE-MARK-MASQ"
        for left, target in zip(range(len(self.targets), 0, -1), self.targets, strict=True):
            chance = f" -m statistic --mode random --probability {1 / left:.10f}" * (left > 1)
            comment = f'-m comment --comment "{self.name} -> {_endpoint(target)}"'
            yield f"-A {self._chain} {comment}{chance} -j {self._endpoint_chain(target)}"
        for target in self.targets:
            rule = f"-A {self._endpoint_chain(target)} -m comment --comment {self.name}"
            yield f"{rule} -s {target} -j KUBE-MARK-MASQ"
            yield (
                f"{rule} -m {self.transport} -p {self.transport}"
                f" -j DNAT --to-destination {_endpoint(target)}"
            )

    def reject(self) -> str:
        """The filter rule of a service without endpoints."""
        return (
            f'-A KUBE-SERVICES -m comment --comment "{self.name} has no endpoints"'
            f" -m {self.transport} -p {self.transport} -d {self.vip} --dport {_PORT} -j REJECT"
        )


def _table(
    name: str, chains: Sequence[str], rules: Sequence[str], stale: Sequence[str], saved: str
) -> str:
    """One table's part. Under --noflush a declared chain is emptied, so a stale one is declared, then deleted."""
    there = _jumps(saved, name)
    jumps = [
        f"-I {chain} {rule}"
        for chain, rule in _JUMPS[name].items()
        if (chain, rule.rpartition(" ")[2]) not in there
    ]
    lines = [f"*{name}", *(f":{chain} - [0:0]" for chain in (*chains, *stale)), *rules]
    return "\n".join([*lines, *jumps, *(f"-X {chain}" for chain in stale), "COMMIT", ""])


def _hashed(text: str) -> str:
    """kube-proxy's chain suffix: the first 16 characters of base32 of SHA-256."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def _endpoint(address: str) -> str:
    return f"[{address}]:{_PORT}" if ":" in address else f"{address}:{_PORT}"


def _of_table(saved: str, name: str) -> Iterator[str]:
    """The lines of one table of an iptables-save text."""
    here = False
    for line in saved.splitlines():
        if line.startswith("*"):
            here = line[1:].strip() == name
        elif here:
            yield line


def _service_chains(saved: str) -> Iterator[str]:
    """The service and endpoint chains that are there."""
    for line in _of_table(saved, "nat"):
        if line.startswith((":KUBE-SVC-", ":KUBE-SEP-")):
            yield line[1:].split(maxsplit=1)[0]


def _jumps(saved: str, table: str) -> set[tuple[str, str]]:
    """Which chain jumps where, of one table."""
    found = (re.match(r"-A (\S+) .*-j (\S+)$", line) for line in _of_table(saved, table))
    return {(jump[1], jump[2]) for jump in found if jump}


class _Query(NamedTuple):
    vip: str
    transport: str
    port: str = str(_PORT)


class _Rule(NamedTuple):
    """What of one rule decides where a query goes."""

    options: Mapping[str, str]  # the value of each option, "!" before the name where negated

    def selects(self, query: _Query) -> bool:
        """Whether the service's packets can match."""
        wanted = {
            "-d": {query.vip, f"{query.vip}/32", f"{query.vip}/128"},
            "-p": {query.transport},
            "--dport": {query.port},
        }
        return all(
            (option not in self.options or self.options[option] in values)
            and self.options.get(f"!{option}") not in values
            for option, values in wanted.items()
        )

    @property
    def always(self) -> bool:
        """Whether every packet of the service matches."""
        return not self.options.keys() - _ABOUT_SERVICE

    @property
    def action(self) -> str:
        return self.options.get("-j", self.options.get("-g", ""))


class _Walk(NamedTuple):
    """One query's way through the chains."""

    rules: Mapping[str, Sequence[_Rule]]
    query: _Query
    found: list[str]

    def decided(self, chain: str, above: frozenset[str]) -> bool:
        """Collect what the chain can do with the query; True where it never comes back. `above` stops loops."""
        for rule in self.rules.get(chain, ()):
            if not rule.selects(self.query):
                continue
            if rule.action == "RETURN" and rule.always:
                return False
            if self._final(rule, above | {chain}) and rule.always:
                return True
        return False

    def _final(self, rule: _Rule, above: frozenset[str]) -> bool:
        if rule.action == "DNAT":
            self.found.append(_address(rule.options.get("--to-destination", "")))
            return True
        if rule.action in above:
            return False
        return rule.action == "ACCEPT" or self.decided(rule.action, above)


def _nat_rules(saved: str) -> dict[str, list[_Rule]]:
    rules: dict[str, list[_Rule]] = {}
    for line in _of_table(saved, "nat"):
        try:
            words = shlex.split(line)
        except ValueError:  # an unbalanced quote: no iptables-save text
            continue
        if len(words) > 2 and words[0] == "-A":
            rules.setdefault(words[1], []).append(_rule(words[2:]))
    return rules


def _rule(words: Sequence[str]) -> _Rule:
    options = {}
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word.startswith("-"):
            options["!" * (before == "!") + word] = after
    return _Rule(options)


def _address(destination: str) -> str:
    if destination.startswith("["):
        return destination[1:].partition("]")[0]
    return destination.partition(":")[0]
