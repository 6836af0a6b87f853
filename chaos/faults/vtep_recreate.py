"""The fault `vtep-recreate`: a node's overlay device comes back with another MAC, and some peers miss it."""

from __future__ import annotations

import random

from chaos import overlay
from chaos.model import Arguments, Kind, Plan, View
from chaos.parameters import PEERS, VICTIM, apart
from chaos.shapes import new_mac


class VtepRecreate:
    """A node reboots silently; its VXLAN device is made anew with a new MAC, which some peers never learn.

    Story: the victim publishes its new MAC. Peers whose agent is deaf at that moment (frozen, cut from the API, watch
    reset) keep the old MAC in their neighbour and forwarding entries, for ever.
    Signature: frames from the stale peers reach the victim and are dropped there as meant for another host (its
    device's RX otherhost counter rises by each of them); the other direction arrives, so a round trip shows both dead.
    Fresh peers keep a forwarding entry of the old MAC, which does no harm.
    Source: catalogue 1, variant 1a; flannel issues 1036, 1788, 1795, 533; k3s issue 9957.
    """

    name = "vtep-recreate"
    summary = "a node's VTEP gets a new MAC while the agents of chosen peers are frozen"
    kind = Kind.REVERSIBLE
    parameters = (VICTIM, PEERS)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Freeze the peers' agents, renew the victim's device; undo renews it with the old MAC and tidies up."""
        apart(self, args)
        taken = [each.mac for each in view.leases]
        return overlay.recreation(
            view, args.one("victim"), args.many("peers"), new_mac(rng, taken), fdb_knows_both=False
        )
