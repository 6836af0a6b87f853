"""The fault `replica-stop`: a DNS replica's process ends, its endpoint stays published."""

from __future__ import annotations

import random

from chaos import claims
from chaos.model import Arguments, Kind, Parameter, Plan, ReplicaGoal, Step, View
from clusters.errors import UsageError


class ReplicaStop:
    """One DNS replica is gone while its endpoint is still published.

    Story: the process died; until the endpoint is taken out, every node's rules still send it its share.
    Signature: one column of the matrix: from every node that replica refuses (port closed), ping to its address passes,
    the service address fails one time in the number of replicas.
    Source: catalogue 48 and 42 (the time until the endpoints follow).
    """

    name = "replica-stop"
    summary = "a DNS replica's process ends while its endpoint stays published"
    kind = Kind.REVERSIBLE
    parameters = (Parameter(name="replica", expected="a DNS replica", takes="replica"),)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Stop the replica; undo starts it, or whatever it was before."""
        replica = args.one("replica")
        was = view.replica_mode(replica)
        if was == "stopped":
            raise UsageError(f"fault {self.name}: replica {replica} is stopped already")
        return Plan(
            claims=(claims.replica(replica),),
            steps=(
                Step(
                    do=ReplicaGoal(replica=replica, mode="stopped"),
                    undo=ReplicaGoal(replica=replica, mode=was),
                ),
            ),
        )
