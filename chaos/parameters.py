"""Checking the `key=value` parameters of a fault against what it takes and what the cluster has. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from chaos.model import Arguments, Fault, Parameter
from clusters.errors import UsageError
from clusters.topology import Inventory

_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SHOWN: Final = 12  # names listed in an error before it is cut short

VICTIM: Final = Parameter(name="victim", expected="the node that it happens to", takes="node")
PEERS: Final = Parameter(
    name="peers", expected="nodes other than the victim, as a,b", takes="nodes"
)


def parsed(fault: Fault, params: Mapping[str, str], inventory: Inventory) -> Arguments:
    """The parameters as checked values. Raises UsageError naming the field, what was expected and what there is."""
    known = {parameter.name: parameter for parameter in fault.parameters}
    for name in params:
        if name not in known:
            raise _wrong(fault, f"unknown parameter {name!r}; it takes {_listed(known)}")
    values = {}
    for parameter in fault.parameters:
        text = params.get(parameter.name, parameter.default)
        if text is not None:
            values[parameter.name] = _value(fault, parameter, text, inventory)
        elif parameter.required:
            allowed = _allowed(parameter, inventory)
            raise _wrong(
                fault, f"{parameter.name}= is missing: expected {parameter.expected}{allowed}"
            )
    return Arguments(values)


def apart(fault: Fault, args: Arguments, one: str = VICTIM.name, many: str = PEERS.name) -> None:
    """Raise UsageError where a node is among those it should be set against."""
    name = args.one(one)
    if name in args.many(many):
        raise _wrong(fault, f"{many}={','.join(args.many(many))}: {name} is the {one} itself")


def _value(fault: Fault, parameter: Parameter, text: str, inventory: Inventory) -> tuple[str, ...]:
    values = tuple(text.split(",")) if parameter.takes == "nodes" else (text,)
    names = _names(parameter, inventory)
    fits = all(v in names for v in values) if names else _fits(parameter, text)
    if not fits or len(set(values)) != len(values):
        again = ", each once" if fits else ""
        allowed = _allowed(parameter, inventory)
        raise _wrong(
            fault, f"{parameter.name}={text}: expected {parameter.expected}{again}{allowed}"
        )
    return values


def _fits(parameter: Parameter, text: str) -> bool:
    return bool(_MAC.fullmatch(text)) if parameter.takes == "mac" else bool(text)


def _names(parameter: Parameter, inventory: Inventory) -> Sequence[str]:
    match parameter.takes:
        case "node" | "nodes":
            return [node.name for node in inventory.nodes]
        case "replica":
            return [replica.name for replica in inventory.replicas]
        case "choice":
            return parameter.choices
        case "mac" | "text":
            return ()


def _allowed(parameter: Parameter, inventory: Inventory) -> str:
    names = _names(parameter, inventory)
    if not names or parameter.takes == "choice":  # a choice's expectation names them all
        return ""
    return f" (there are: {_listed(names)})"


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return f"{shown}, … ({len(names)} in all)" if len(names) > _SHOWN else shown or "none"


def _wrong(fault: Fault, text: str) -> UsageError:
    return UsageError(f"fault {fault.name}: {text}")
