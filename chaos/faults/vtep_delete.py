"""The fault `vtep-delete`: a node's overlay device is deleted under its live agent."""

from __future__ import annotations

import random

from chaos import claims, overlay
from chaos.model import Arguments, Goal, Kind, Plan, Step, TablesGoal, View, VtepGoal, Want
from chaos.parameters import VICTIM


class VtepDelete:
    """The VXLAN device vanishes (a network restart, a re-plugged NIC), and with it every entry about the peers.

    Story: until flannel 0.27.3 nothing brings the device back. From 0.27.4 on it comes back at once, with its MAC and
    address, and without a single peer entry; the agent logs "recreated successfully".
    Signature: the node's overlay routes are gone; its packets leave by the default route, unencapsulated. What peers
    send arrives and, with strict reverse-path filter, is dropped (TcpExtIPReversePathFilter rises).
    Source: catalogue 19; flannel issues 869, 877, 1348; measured on flannel 0.28.10 (scenario a).
    """

    name = "vtep-delete"
    summary = (
        "a node's VTEP device is deleted; where the agent brings it back, it has no peer entries"
    )
    kind = Kind.REVERSIBLE
    parameters = (VICTIM,)
    providers = ("twin", "kind")

    def plan(self, view: View, args: Arguments, *, tag: str, rng: random.Random) -> Plan:  # noqa: ARG002  # see Fault
        """Delete the device; undo has it made with the same MAC, then restores every entry it had."""
        victim = args.one("victim")
        device, mac = overlay.device(view, victim), overlay.live_mac(view, victim)
        entries = overlay.own_entries(view, victim)
        heard = overlay.generation(view).equal_lease_is_event  # then undo makes the peers write too
        return Plan(
            claims=(
                claims.vtep(victim),
                claims.agent(victim),
                *claims.own_tables(view.inventory, victim),
                *(claims.about(view.inventory, victim) if heard else ()),
            ),
            steps=(
                Step(undo=entries),
                Step(
                    do=VtepGoal(node=victim, device=device, mac=None),
                    undo=VtepGoal(node=victim, device=device, mac=mac, ours=(None,)),
                ),
            ),
            expect=_effect(view, VtepGoal(node=victim, device=device, mac=mac), entries),
        )


def _effect(view: View, device: VtepGoal, entries: TablesGoal) -> tuple[Goal, ...]:
    """No device; where the agent brings it back: the device, and none of the entries."""
    if not overlay.generation(view).watches_device:
        return (VtepGoal(node=device.node, device=device.device, mac=None),)
    gone = tuple(
        Want(want.slot, None)
        for want in entries.wants
        if want.slot.table in {"neigh", "fdb", "route"}
    )
    return (device, TablesGoal(node=device.node, device=device.device, wants=gone))
