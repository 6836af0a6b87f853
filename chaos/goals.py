"""Goals read back and brought about: the one place where chaos acts on a cluster."""

from __future__ import annotations

import contextlib
from typing import Final, assert_never

from chaos import filters, health, tables
from chaos.model import (
    AgentGoal,
    Goal,
    HealthGoal,
    RebirthGoal,
    ReplicaGoal,
    RulesGoal,
    Slot,
    TablesGoal,
    VtepGoal,
)
from chaos.tables import Finding, Seen, Standing, Write, seen
from chaos.world import World
from clusters.errors import ClusterGoneError, DeadlineExceededError, ExecTransportError
from clusters.waiting import Deadline, poll_until

_HEALING_ROUNDS: Final = 3
_HEALING_S: Final = 5.0  # an agent writes its entries within a second of its start


def look(goal: Goal, world: World) -> Seen:
    """Read back how the cluster stands to the goal; changes nothing."""
    match goal:
        case TablesGoal():
            return tables.look(world.tables.read(goal.node), goal)
        case VtepGoal():
            return tables.look_vtep(_vtep_mac(goal, world), goal)
        case RulesGoal():
            return filters.look(world.saved_rules(goal.node, goal.tool, goal.table), goal)
        case HealthGoal():
            found = tuple(Finding("unmet", each.text) for each in _complaints(goal, world))
            return Seen(found or (Finding("met", f"{goal.node}: healthy"),))
        case _:
            return _look_at_api(goal, world)


def bring(goal: Goal, world: World) -> None:
    """Bring the cluster to the goal; nothing is done where it is there already, nor to what is somebody else's.

    Raises what the cluster raises (ClusterGoneError, ExecTransportError, SetupError); then some of it may be done.
    """
    match goal:
        case TablesGoal():
            world.tables.write(goal.node, tables.writes(world.tables.read(goal.node), goal))
        case HealthGoal():
            _heal(goal, world)
        case RulesGoal():
            _bring_rules(goal, world)
        case _:
            if look(goal, world).standing == "unmet":
                _act(goal, world)


def _look_at_api(goal: AgentGoal | ReplicaGoal | RebirthGoal, world: World) -> Seen:
    match goal:
        case AgentGoal():
            frozen = goal.node in world.frozen_agents()
            word = "frozen" if frozen else "running"
            return seen(_met(frozen == goal.frozen), f"{goal.node}: agent {word}")
        case ReplicaGoal():
            mode = world.replicas.replica_mode(goal.replica)
            return seen(_met(mode == goal.mode), f"{goal.replica}: {mode}")
        case RebirthGoal():
            boot_id = world.lifecycle.boot_id(goal.node)
            return seen(_met(boot_id != goal.boot_id), f"{goal.node}: boot id {boot_id}")
        case _:
            assert_never(goal)


def _act(goal: VtepGoal | AgentGoal | ReplicaGoal | RebirthGoal, world: World) -> None:
    match goal:
        case VtepGoal(mac=None):
            world.tables.write(goal.node, (Write(Slot("link", goal.device, ""), None, None),))
        case VtepGoal():
            world.agents.renew_vtep(goal.node, goal.mac)
        case AgentGoal(frozen=True):
            world.agents.freeze_agent(goal.node)
        case AgentGoal():
            world.agents.thaw_agent(goal.node)
        case ReplicaGoal():
            world.replicas.set_replica_mode(goal.replica, goal.mode)
        case RebirthGoal(how="restart"):
            world.lifecycle.restart_node(goal.node)
        case RebirthGoal():
            world.lifecycle.recreate_node(goal.node)
        case _:
            assert_never(goal)


def _vtep_mac(goal: VtepGoal, world: World) -> str | None:
    link = world.tables.read(goal.node).links.get(goal.device)
    return link.mac if link else None


def _bring_rules(goal: RulesGoal, world: World) -> None:
    saved = world.saved_rules(goal.node, goal.tool, goal.table)
    text = filters.restore_input(saved, goal)
    if text:
        # One restore, so that no packet meets half of the rules.
        world.run(goal.node, f"{goal.tool}-restore", "-w", "--noflush", stdin=text)
    if goal.fresh_table and not goal.present:
        _drop_bare_table(goal, world)


def _drop_bare_table(goal: RulesGoal, world: World) -> None:
    """Remove the table that came with the rule. Where that cannot be done it stays, empty: no packet notices."""
    saved = world.saved_rules(goal.node, goal.tool, goal.table)
    if saved and filters.is_bare(saved):
        family = "ip" if goal.tool == "iptables" else "ip6"
        with contextlib.suppress(ExecTransportError):
            world.cluster.run(goal.node, ("nft", "delete", "table", family, goal.table))


def _complaints(goal: HealthGoal, world: World) -> tuple[health.Complaint, ...]:
    state = world.tables.read_all()
    return health.complaints(state, world.cluster.leases(), goal.node)


def _heal(goal: HealthGoal, world: World) -> None:
    """Start agents anew where entries are wrong, and nodes that cannot be read, until all is right."""
    for _ in range(_HEALING_ROUNDS):
        found = _complaints(goal, world)
        if not found:
            return
        unreadable = world.tables.read_all().unreadable
        for node in sorted({each.node for each in found}):
            if node not in unreadable:
                world.agents.thaw_agent(node)
                world.agents.restart_agent(node)
                continue
            with contextlib.suppress(ClusterGoneError):  # it is on its way up already
                world.lifecycle.restart_node(node)
        with contextlib.suppress(
            DeadlineExceededError
        ):  # the next round, or the read-back, says what is left
            poll_until(
                lambda: look(goal, world).standing == "met",
                awaited=f"node {goal.node} to be healthy",
                deadline=Deadline.after(_HEALING_S),
            )


def _met(yes: bool) -> Standing:  # noqa: FBT001  # the question stands at the call
    return "met" if yes else "unmet"
