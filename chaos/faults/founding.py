"""The fault `founding`: the exact state of the founding incident."""

from __future__ import annotations

import random

from chaos import overlay
from chaos.model import Arguments, Kind, Plan, View
from chaos.parameters import PEERS, VICTIM, apart
from chaos.shapes import new_mac


class Founding:
    """A node reboots silently; the stale peers know its new MAC in the FDB, but keep a neighbour entry with the old one.

    Story: three DNS replicas on nodes B, C, D; node A's device gets a new MAC. B learns it. C and D keep a PERMANENT
    neighbour entry of A's overlay address with the old MAC, while their FDB holds both MACs towards A.
    Signature: as vtep-recreate; and a refresh of the one neighbour entry repairs it, as it did in the incident. Pods on
    A reach the replica on B, not those on C and D; the service address works one time in three.
    Where agents answer misses from memory (l3miss, flannel 0.5 to 0.8) the staleness is in the frozen agents' memory
    and the FDB holds the old MAC alone: the entries come back wrong however often they are deleted.
    Source: catalogue A.0, 1 (variant 1b), 2 (S-G2a).
    """

    name = "founding"
    summary = "the founding incident: new VTEP MAC, chosen peers keep the old one in a PERMANENT neighbour entry"
    kind = Kind.REVERSIBLE
    parameters = (VICTIM, PEERS)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """As vtep-recreate, and the stale peers' FDB gets the new MAC too."""
        apart(self, args)
        taken = [each.mac for each in view.leases]
        return overlay.recreation(
            view,
            args.one("victim"),
            args.many("peers"),
            new_mac(rng, taken),
            fdb_knows_both=not overlay.generation(view).answers_misses,
        )
