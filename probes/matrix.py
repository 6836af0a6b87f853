"""What was seen as grids: nodes by replicas, nodes by nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from clusters.topology import Inventory
from probes.model import VIP, Observation, PairResult, State

PINNED: Final = "vip-pinned"  # its own column: one pinned flow says 0 % or 100 %
_DIRECT: Final = frozenset({"icmp", "dns-udp", "dns-tcp"})
_MARKS: Final = np.array(["?", ".", "?", "X", "-"])
_NOTHING, _EXEMPT = 0, 4
_WEIGHT: Final = {State.PASS: 1, State.UNKNOWN: 2, State.FAIL: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One grid of marks.

    "X" where any pair of the cell fails, "." where all pass, "?" where any is unknown or nothing was measured, "-"
    where nothing is expected (a node to itself, a replica that is not ready).
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[str, ...]  # one string per row, one character per column

    def cell(self, row: str, column: str) -> str:
        """The mark of one cell. Raises ValueError for a name that is not there."""
        return self.cells[self.rows.index(row)][self.columns.index(column)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows are all nodes of the inventory, columns all its replicas and the VIP, whatever was found.

    `oneway` and `icmp` are nodes by nodes (row: where the probe starts), None where that was not probed.
    """

    replicas: Table
    oneway: Table | None = None
    icmp: Table | None = None


def grid(inventory: Inventory, observation: Observation) -> Grid:
    """The grids of one observation."""
    by_protocol: dict[str, list[PairResult]] = {}
    for result in observation.pairs:
        by_protocol.setdefault(result.pair.protocol, []).append(result)
    return Grid(
        replicas=_replicas(inventory, by_protocol),
        oneway=_nodes(inventory, by_protocol.get("oneway", ())),
        icmp=_nodes(inventory, by_protocol.get("icmp", ())),
    )


def _replicas(inventory: Inventory, by_protocol: Mapping[str, Sequence[PairResult]]) -> Table:
    columns = [replica.name for replica in inventory.replicas]
    columns += [VIP, PINNED] if PINNED in by_protocol else [VIP]
    place = {name: number for number, name in enumerate(columns)}
    rows = _row_of(inventory)
    weights = _empty(len(inventory.nodes), len(columns))
    for protocol, results in by_protocol.items():
        if protocol in _DIRECT:
            named = [(result, place.get(result.pair.dst)) for result in results]
        elif protocol in {VIP, PINNED}:
            named = [(result, place[protocol]) for result in results]
        else:
            continue
        _mark(weights, [(rows[r.pair.src], column, r) for r, column in named if column is not None])
    for replica in inventory.replicas:
        if not replica.ready:
            weights[:, place[replica.name]] = _EXEMPT
    return _table(tuple(node.name for node in inventory.nodes), tuple(columns), weights)


def _nodes(inventory: Inventory, results: Iterable[PairResult]) -> Table | None:
    rows = _row_of(inventory)
    marks = [(rows[r.pair.src], rows[r.pair.dst], r) for r in results]
    if not marks:
        return None
    names = tuple(node.name for node in inventory.nodes)
    weights = _empty(len(names), len(names))
    _mark(weights, marks)
    own = weights.diagonal()
    np.fill_diagonal(weights, np.where(own == _NOTHING, _EXEMPT, own))
    return _table(names, names, weights)


_Weights = np.ndarray[tuple[int, int], np.dtype[np.int8]]


def _empty(rows: int, columns: int) -> _Weights:
    return np.zeros((rows, columns), np.int8)


def _row_of(inventory: Inventory) -> dict[str, int]:
    """The row of every pod's and replica's node."""
    numbers = {node.name: number for number, node in enumerate(inventory.nodes)}
    return {pod.name: numbers[pod.node] for pod in (*inventory.pods, *inventory.replicas)}


def _mark(weights: _Weights, marks: Sequence[tuple[int, int, PairResult]]) -> None:
    """Give each cell the heaviest of its results: fail over unknown over pass."""
    if marks:
        rows, columns, results = zip(*marks, strict=True)
        np.maximum.at(weights, (list(rows), list(columns)), [_WEIGHT[r.state] for r in results])


def _table(rows: tuple[str, ...], columns: tuple[str, ...], weights: _Weights) -> Table:
    return Table(
        rows=rows,
        columns=columns,
        cells=tuple("".join(line) for line in _MARKS[weights].tolist()),
    )
