"""The fault `node-recreate`: a node is replaced by a new one of that name."""

from __future__ import annotations

import random

from chaos import rebirth
from chaos.model import Arguments, Kind, Plan, View
from chaos.parameters import VICTIM


class NodeRecreate:
    """A node is deleted and joins anew: another podCIDR, other pod addresses, another VTEP MAC.

    Story: the Node object is deleted, so even a generation that keeps its MAC starts from nothing; the new node gets
    the next free podCIDR. Peers keep of the old one what their generation does not clean up.
    Signature: as node-restart, and the pods' addresses change; old entries on peers point to nowhere.
    Source: catalogue A.4 ("nothing is reconciled"), 15, 57.
    """

    name = "node-recreate"
    summary = "a node is deleted and joins anew: new podCIDR, new pod addresses, new VTEP MAC"
    kind = Kind.HEALING
    parameters = (VICTIM,)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Recreate the node; undo sees to it that it and its peers are well."""
        return rebirth.plan(view, args.one("victim"), "recreate")
