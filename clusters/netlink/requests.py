"""Every request builder under one name."""

from __future__ import annotations

from clusters.netlink.entries import (
    add_address,
    append_fdb,
    del_address,
    del_fdb,
    del_neigh,
    del_route,
    set_fdb,
    set_neigh,
    set_route,
)
from clusters.netlink.links import (
    Device,
    bridge,
    del_link,
    set_bridge_port,
    set_link,
    veth,
    vxlan,
)

__all__ = [
    "Device",
    "add_address",
    "append_fdb",
    "bridge",
    "del_address",
    "del_fdb",
    "del_link",
    "del_neigh",
    "del_route",
    "set_bridge_port",
    "set_fdb",
    "set_link",
    "set_neigh",
    "set_route",
    "veth",
    "vxlan",
]
