"""What must hold of flannel agents whatever happens to the leases."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from clusters.flannel.generations import GENERATIONS, Generation
from clusters.flannel.plan import Event, learned, live_events, missed_events, operations
from clusters.state import Lease

_generations = st.sampled_from(sorted(GENERATIONS.values(), key=lambda g: g.name))
_nodes = st.integers(0, 4)
_change = st.tuples(
    _nodes, st.one_of(st.none(), st.integers(0, 3))
)  # node, its MAC's number or gone
_histories = st.lists(_change, max_size=20)

Store = dict[str, Lease]


def _lease(node: int, mac: int) -> Lease:
    """Each node keeps its podCIDR and underlay address; MACs are nobody else's."""
    return Lease(
        f"n{node}", f"10.244.{node}.0/24", f"172.18.0.{node}", f"02:00:00:00:0{node}:0{mac}"
    )


def _lived(
    generation: Generation, history: Sequence[tuple[int, int | None]]
) -> tuple[Store, list[Event]]:
    """The lease store after a history, and what a live agent heard of it."""
    store: Store = {}
    heard: list[Event] = []
    for node, mac in history:
        before = store.pop(f"n{node}", None)
        after = None if mac is None else _lease(node, mac)
        if after is not None:
            store[after.node] = after
        heard += live_events(generation, before, after)
    return store, heard


def _entries(generation: Generation, events: Sequence[Event]) -> dict[tuple[str, str], str]:
    """The kernel tables that these events leave: (table, key) → value."""
    tables: dict[tuple[str, str], str] = {}
    for op in (op for event in events for op in operations(generation, event)):
        if op.action == "del":
            tables.pop((op.table, op.key), None)
        elif not (op.exclusive and (op.table, op.key) in tables):
            tables[op.table, op.key] = op.value
    return tables


@given(_generations, _histories)
def test_a_live_agent_believes_what_is_published(
    generation: Generation, history: list[tuple[int, int | None]]
) -> None:
    """However often nodes come, go and change."""
    store, heard = _lived(generation, history)

    assert learned({}, heard) == {lease.pod_cidr: lease for lease in store.values()}


@given(_generations, _histories)
def test_a_live_agents_tables_are_right_and_only_the_fdb_leaks(
    generation: Generation, history: list[tuple[int, int | None]]
) -> None:
    """What makes a healthy twin pass its audit, with residue as notes at most."""
    store, heard = _lived(generation, history)

    tables = _entries(generation, heard)
    wanted = _entries(generation, [Event("added", lease) for lease in store.values()])

    assert wanted.items() <= tables.items()
    assert {table for table, _ in tables.keys() - wanted.keys()} <= {"fdb"}


@given(_generations, _histories, _histories)
def test_catching_up_ends_where_the_generation_sees_no_difference(
    generation: Generation,
    heard: list[tuple[int, int | None]],
    missed: list[tuple[int, int | None]],
) -> None:
    """Kube mode ends with the truth; etcd mode with the truth about which subnets there are."""
    before, _ = _lived(generation, heard)
    known = {lease.pod_cidr: lease for lease in before.values()}
    store, _ = _lived(generation, [*heard, *missed])
    truth = {lease.pod_cidr: lease for lease in store.values()}

    memory = learned(known, missed_events(generation, known, store.values()))

    if generation.snapshot_by_subnet:
        assert memory.keys() == truth.keys()
        assert all(memory[cidr] in {truth[cidr], known.get(cidr)} for cidr in memory)
    else:
        assert memory == truth
    assert missed_events(generation, memory, store.values()) == ()
