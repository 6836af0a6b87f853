"""Building blocks of the faults about overlay devices: what is programmed where, before, during and after. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chaos import claims
from chaos.model import AgentGoal, Goal, Plan, Slot, Step, TablesGoal, View, VtepGoal, Want
from chaos.tables import entries, fdb, programmed, slots
from clusters.errors import UsageError
from clusters.flannel.generations import GENERATIONS, Generation
from clusters.state import Lease


def generation(view: View) -> Generation:
    """The flannel generation of the cluster's agents."""
    return GENERATIONS[view.inventory.dialect]


def device(view: View, node: str) -> str:
    """The name of the node's overlay device."""
    return view.inventory.node(node).vtep.device


def lease(view: View, node: str) -> Lease:
    """What the node has published. Raises UsageError where it has not (yet)."""
    for each in view.leases:
        if each.node == node:
            return each
    raise UsageError(f"node {node} has published no lease: its agent never started")


def live_mac(view: View, node: str) -> str:
    """The MAC of the node's overlay device. Raises UsageError where it has none."""
    link = view.state.nodes[node].links.get(device(view, node))
    if link is None:
        raise UsageError(f"node {node} has no {device(view, node)} now")
    return link.mac


def recreation(
    view: View, victim: str, stale: Sequence[str], new: str, *, fdb_knows_both: bool
) -> Plan:
    """The victim's device comes back with the MAC `new`; the agents of `stale` miss it.

    With `fdb_knows_both` the forwarding entry of the new MAC is on the stale nodes nevertheless.
    """
    old, published = live_mac(view, victim), lease(view, victim)
    renewed = published._replace(mac=new)
    fresh = [peer for peer in claims.peers(view.inventory, victim) if peer not in stale]
    both = {fdb(device(view, victim), new): f"{published.underlay} permanent"}
    added = [
        _holds(view, peer, both) for peer in stale if fdb_knows_both
    ]  # written beside the agent, which is frozen
    forgotten = [
        _cache_without(view, peer, old) for peer in fresh if generation(view).answers_misses
    ]
    return Plan(
        claims=(
            claims.vtep(victim),
            claims.agent(victim),
            *map(claims.agent, stale),
            *claims.own_tables(view.inventory, victim),
            *claims.about(view.inventory, victim),
        ),
        steps=(
            Step(undo=own_entries(view, victim)),
            *(
                Step(undo=_entries_about(view, peer, published, renewed))
                for peer in (*stale, *fresh)
            ),
            *(_frozen(view, peer) for peer in stale),
            Step(
                do=VtepGoal(node=victim, device=device(view, victim), mac=new),
                undo=VtepGoal(node=victim, device=device(view, victim), mac=old, ours=(new, None)),
            ),
            *map(_only_done, added),
            *map(_only_done, forgotten),
        ),
        expect=(
            VtepGoal(node=victim, device=device(view, victim), mac=new),
            *(AgentGoal(node=peer, frozen=True) for peer in stale),
            *(_stale(view, peer, published, new, added=fdb_knows_both) for peer in stale),
            *(_holds(view, peer, _programmed(view, peer, renewed)) for peer in fresh),
        ),
    )


def own_entries(view: View, node: str) -> TablesGoal:
    """Everything on the node's overlay device as it is now, for after it was made anew.

    What the kernel caches by itself where the agent answers misses is left out: it comes back by itself.
    """
    name = device(view, node)
    before = slots(view.state.nodes[node], name, cached=not generation(view).answers_misses)
    agent = {
        slot: text
        for each in view.leases
        if each.node != node
        for slot, text in programmed(view.inventory.dialect, each, name).items()
    }
    wants = (
        Want(slot, before.get(slot), _ours(slot, agent.get(slot)))
        for slot in dict.fromkeys((*before, *agent))
    )
    return TablesGoal(node=node, device=name, wants=tuple(wants))


def _ours(slot: Slot, by_agent: str | None) -> tuple[str | None, ...] | None:
    """A device made anew is ours with its addresses; an entry is, where it is gone or as the agent writes it."""
    return None if slot.table in {"link", "addr"} else (None, by_agent)


def _entries_about(view: View, peer: str, published: Lease, renewed: Lease) -> TablesGoal:
    """What the peer held about the victim, for after its agent wrote both MACs."""
    before = entries(view.state.nodes[peer])
    old, new = _programmed(view, peer, published), _programmed(view, peer, renewed)
    wants = tuple(
        Want(slot, before.get(slot), (old.get(slot), new.get(slot)))
        for slot in dict.fromkeys((*old, *new))
    )
    return TablesGoal(node=peer, device=device(view, peer), wants=wants, purge=(renewed.mac,))


def _stale(view: View, peer: str, published: Lease, new: str, *, added: bool) -> TablesGoal:
    """The peer still holds what it held, and of the new MAC nothing, or the forwarding entry alone."""
    before = entries(view.state.nodes[peer])
    kept = {slot: before.get(slot) for slot in _programmed(view, peer, published)}
    entry = f"{published.underlay} permanent" if added else None
    return _holds(view, peer, kept | {fdb(device(view, peer), new): entry})


def _programmed(view: View, peer: str, of: Lease) -> dict[Slot, str]:
    """As tables.programmed, with routes as they are before where they are alike: an agent's protocol number is its own."""
    before = entries(view.state.nodes[peer])
    written = programmed(view.inventory.dialect, of, device(view, peer))
    return {
        slot: now
        if slot.table == "route" and (now := before.get(slot, "")).startswith(text)
        else text
        for slot, text in written.items()
    }


def _holds(view: View, node: str, values: dict[Slot, str] | dict[Slot, str | None]) -> TablesGoal:
    wants = tuple(Want(slot, text) for slot, text in values.items())
    return TablesGoal(node=node, device=device(view, node), wants=wants)


def _cache_without(view: View, peer: str, old: str) -> TablesGoal:
    """The kernel forgets the neighbours it cached with the old MAC, as it would by itself within a minute.

    The forwarding entry of the old MAC stays, as that generation leaves it.
    """
    slot = fdb(device(view, peer), old)
    kept = Want(slot, entries(view.state.nodes[peer]).get(slot))
    return TablesGoal(node=peer, device=device(view, peer), wants=(kept,), purge=(old,))


def _frozen(view: View, peer: str) -> Step:
    was = peer in view.frozen_agents
    return Step(do=AgentGoal(node=peer, frozen=True), undo=AgentGoal(node=peer, frozen=was))


def _only_done(goal: Goal) -> Step:
    """A step whose undo is part of the entries to be restored."""
    return Step(do=goal)
