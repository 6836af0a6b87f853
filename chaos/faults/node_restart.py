"""The fault `node-restart`: a node goes down and comes up again."""

from __future__ import annotations

import random

from chaos import rebirth
from chaos.model import Arguments, Kind, Plan, View
from chaos.parameters import VICTIM


class NodeRestart:
    """A node restarts: its namespace, devices, connection tracking and /run are made anew, its pods come back.

    Story: the VTEP MAC changes or stays, as the flannel generation has it. With live peers everything heals; what
    generations without a kept MAC leave behind is an old forwarding entry on every peer.
    Signature: the node's row and column go dark, then recover; its boot id is another.
    Source: catalogue A.3 to A.5; measured on flannel 0.28.10 (scenario c1: 21 s on real nodes).
    """

    name = "node-restart"
    summary = "a node is restarted; its VTEP MAC changes or stays as the flannel generation has it"
    kind = Kind.HEALING
    parameters = (VICTIM,)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Restart the node; undo sees to it that it and its peers are well."""
        return rebirth.plan(view, args.one("victim"), "restart")
