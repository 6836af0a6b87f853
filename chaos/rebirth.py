"""Building block of the faults that restart or recreate a node. Pure."""

from __future__ import annotations

from typing import Literal

from chaos import claims
from chaos.model import HealthGoal, Plan, RebirthGoal, ReplicaGoal, Step, View


def plan(view: View, victim: str, how: Literal["restart", "recreate"]) -> Plan:
    """The node is made anew; undo makes it and its peers healthy and gives its replicas their mode back."""
    replicas = [each.name for each in view.inventory.replicas if each.node == victim]
    moved = claims.every_vip(view.inventory) if how == "recreate" else ()
    return Plan(
        claims=tuple(dict.fromkeys((*claims.whole_node(view.inventory, victim), *moved))),
        steps=(
            *(
                Step(undo=ReplicaGoal(replica=name, mode=view.replica_mode(name)))
                for name in replicas
            ),
            Step(
                do=RebirthGoal(node=victim, how=how, boot_id=view.boot_id(victim)),
                undo=HealthGoal(node=victim),
            ),
        ),
    )
