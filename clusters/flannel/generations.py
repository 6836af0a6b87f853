"""The flannel generations as data: what each keeps in the kernel, when it writes, what it forgets.

Read from flannel's source by tag (v0.5.0 … v0.28.9) and reproduced on a kernel; see docs/ for the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One way in which flanneld programs the kernel.

    overlay_route: one route for the cluster network, instead of one per peer via the peer's `.0`.
    answers_misses: neighbours are written per pod address when the kernel asks (`app_solicit`),
        REACHABLE, from the agent's memory; otherwise one PERMANENT neighbour per peer.
    fdb_exclusive: the FDB is written with create|exclusive and the error is not looked at,
        so an entry of that MAC with another destination stays wrong; otherwise create|replace.
    keeps_mac: a device made anew takes the MAC from the node's lease (Node annotation), where there is one.
    watches_device: RTM_DELLINK of the own device makes it come back, without any peer's entries.
    snapshot_by_subnet: what was missed is caught up by comparing subnets alone (etcd mode), so a changed
        MAC or underlay address of a known subnet is not seen; otherwise old and new attributes of each
        node are compared (the informer of kube mode), so only a changed podCIDR is not seen.
    equal_lease_is_event: publishing an unchanged lease is an event for live peers (an etcd write);
        otherwise equal annotations are no event.
    """

    name: str
    tags: str
    overlay_route: bool = False
    answers_misses: bool = False
    fdb_exclusive: bool = False
    keeps_mac: bool = False
    watches_device: bool = False
    snapshot_by_subnet: bool = False
    equal_lease_is_event: bool = False


GENERATIONS: Final[Mapping[str, Generation]] = MappingProxyType(
    {
        "l3miss": Generation(
            name="l3miss",
            tags="v0.5.0 to v0.8.0",
            overlay_route=True,
            answers_misses=True,
            fdb_exclusive=True,
            snapshot_by_subnet=True,
            equal_lease_is_event=True,
        ),
        "static": Generation(name="static", tags="v0.9.0 to v0.24.0"),
        "persistent": Generation(
            name="persistent", tags="since v0.24.1", keeps_mac=True, watches_device=True
        ),
    }
)
