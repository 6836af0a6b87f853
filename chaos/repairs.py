"""Which table entries a repair command is about, and how to put back what they held. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chaos.model import Slot, TablesGoal, Want
from chaos.records import Command, Repairing
from chaos.tables import everything
from clusters.state import NodeState

Entries = tuple[tuple[Slot, str], ...]


def entries_named(node: NodeState, commands: Iterable[Command]) -> Entries:
    """What the node's entries hold whose key is a word of one of its commands."""
    words = {word for command in commands if command.node == node.node for word in command.argv}
    return tuple((slot, text) for slot, text in everything(node).items() if _key(slot) in words)


def restoration(repairing: Repairing, nodes: Iterable[NodeState]) -> Iterator[TablesGoal]:
    """Goals that give every named entry back what it held before the repair, whatever it holds now."""
    commands = (*repairing.repairs, *repairing.breaks)
    for node in nodes:
        before = dict(repairing.before[node.node])
        named = dict.fromkeys((*before, *dict(entries_named(node, commands))))
        wants = tuple(Want(slot, before.get(slot)) for slot in named)
        yield TablesGoal(node=node.node, wants=wants)


def _key(slot: Slot) -> str:
    """The word by which `ip` and `bridge` name the entry."""
    return slot.key.partition(" ")[0].partition("@")[0]
