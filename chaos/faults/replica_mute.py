"""The fault `replica-mute`: a DNS replica's process stands still, its port stays open."""

from __future__ import annotations

import random

from chaos import claims
from chaos.model import Arguments, Kind, Parameter, Plan, ReplicaGoal, Step, View
from clusters.errors import UsageError


class ReplicaMute:
    """One DNS replica takes queries and never answers: up for everybody, dead for who asks.

    Story: the process is wedged or starved. Its port is open, so nothing is refused; its node and pod are healthy.
    Signature: one column of the matrix: from every node that replica's answers time out, over UDP and TCP; ping to its
    address passes; the service address fails one time in the number of replicas.
    Source: catalogue 48; measured on real nodes (scenario d1: a paused node still answers ping).
    """

    name = "replica-mute"
    summary = "a DNS replica takes queries and never answers"
    kind = Kind.REVERSIBLE
    parameters = (Parameter(name="replica", expected="a DNS replica", takes="replica"),)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Stop the replica's process in its tracks; undo lets it go on, or whatever it was before."""
        replica = args.one("replica")
        was = view.replica_mode(replica)
        if was != "serving":
            raise UsageError(f"fault {self.name}: replica {replica} is {was}, not serving")
        return Plan(
            claims=(claims.replica(replica),),
            steps=(
                Step(
                    do=ReplicaGoal(replica=replica, mode="mute"),
                    undo=ReplicaGoal(replica=replica, mode=was),
                ),
            ),
        )
