"""Packet filter rules as text: what iptables-save prints, what iptables-restore takes. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chaos.model import Rule, RulesGoal
from chaos.tables import Finding, Seen


def of_table(saved: str, table: str) -> str:
    """The part of one table; "" where it is not there."""
    lines = saved.splitlines()
    if f"*{table}" not in lines:
        return ""
    begin = lines.index(f"*{table}")
    return "\n".join(lines[begin : lines.index("COMMIT", begin) + 1])


def parsed(saved: str) -> tuple[Rule, ...]:
    """The rules of one table, each with its position in its chain, from 1."""
    counts: dict[str, int] = {}
    rules = []
    for line in saved.splitlines():
        if line.startswith("-A "):
            _, chain, spec = line.split(" ", 2)
            counts[chain] = counts.get(chain, 0) + 1
            rules.append(Rule(chain, counts[chain], spec.strip()))
    return tuple(rules)


def look(saved: str, goal: RulesGoal) -> Seen:
    """How the table stands to the goal: which of its rules are there."""
    there = {_key(rule) for rule in parsed(saved)}
    return Seen(
        tuple(
            Finding(
                "met" if (_key(rule) in there) == goal.present else "unmet",
                _line(goal, rule, there=_key(rule) in there),
            )
            for rule in goal.rules
        )
    )


def restore_input(saved: str, goal: RulesGoal) -> str:
    """What brings the table to the goal, for `iptables-restore --noflush`; "" where nothing is to be done."""
    changes = tuple(_insertions(saved, goal) if goal.present else _deletions(saved, goal))
    return "\n".join([f"*{goal.table}", *changes, "COMMIT", ""]) if changes else ""


def is_bare(saved: str) -> bool:
    """Whether a table holds built-in chains that accept, and nothing else."""
    lines = [line for line in saved.splitlines() if line and line[0] not in "#*"]
    return all(line.startswith(":") and " ACCEPT " in line for line in lines if line != "COMMIT")


def _insertions(saved: str, goal: RulesGoal) -> Iterator[str]:
    """Missing rules back to where they were, from the top, so that each finds its position."""
    there = parsed(saved)
    keys = {_key(rule) for rule in there}
    lengths = {chain: sum(r.chain == chain for r in there) for chain in {r.chain for r in there}}
    for rule in sorted(goal.rules, key=lambda r: r.position):
        if _key(rule) not in keys:
            lengths[rule.chain] = lengths.get(rule.chain, 0) + 1
            yield f"-I {rule.chain} {min(rule.position, lengths[rule.chain])} {rule.spec}"


def _deletions(saved: str, goal: RulesGoal) -> Iterator[str]:
    keys = {_key(rule) for rule in goal.rules}
    return (f"-D {rule.chain} {rule.spec}" for rule in parsed(saved) if _key(rule) in keys)


def _key(rule: Rule) -> tuple[str, ...]:
    return (rule.chain, *shlex.split(rule.spec))


def _line(goal: RulesGoal, rule: Rule, *, there: bool) -> str:
    text = f"{goal.node}: {goal.tool} -t {goal.table} -A {rule.chain} {rule.spec}"
    return text if there else f"{text}: absent"
