"""The short way to say that a packet arrives: nothing on its direct way differs from what it should be."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes import defects
from probes.tables import Tables, family_of
from probes.truth import End, Owner, Truth


@dataclass(frozen=True, slots=True)
class Textbook:
    """Answers for one truth; remembers what it looked up."""

    truth: Truth
    _nodes: dict[tuple[str, str], bool] = field(default_factory=dict)
    _pods: dict[End, bool] = field(default_factory=dict)
    _peers: dict[tuple[str, End], bool] = field(default_factory=dict)

    def arrives(self, src: End, dst: End) -> bool:
        """Whether everything between the two, both ways, is as it should be. False says nothing."""
        family = family_of(dst.ip)
        if src.node == dst.node:
            return self._node(src.node, family)
        return (
            self.knows(src.node, dst)
            and self.knows(dst.node, src)
            and self._node(src.node, family)
            and self._node(dst.node, family)
            and self._pod(src)
            and self._pod(dst)
        )

    def _node(self, name: str, family: str) -> bool:
        known = self._nodes.get((name, family))
        if known is None:
            own = self.truth.owner(name, family)
            tables = self.truth.tables.get(name)
            alike = [o for o in self.truth.owners.values() if o.mac == own.mac]
            known = (
                tables is not None
                and next(defects.of_node(self.truth, tables, own), None) is None
                and _alone(tables, own)
                and len(alike) == 1
            )
            self._nodes[name, family] = known
        return known

    def _pod(self, end: End) -> bool:
        known = self._pods.get(end)
        if known is None:
            own = self.truth.owner(end.node, family_of(end.ip))
            found = defects.of_pod(self.truth, self.truth.tables[end.node], own, end.ip)
            known = self._pods[end] = next(found, None) is None
        return known

    def knows(self, name: str, end: End) -> bool:
        """Whether a node keeps exactly the entries that lead to another node's pod."""
        known = self._peers.get((name, end))
        if known is None:
            family = family_of(end.ip)
            own, peer = self.truth.owner(name, family), self.truth.owner(end.node, family)
            tables = self.truth.tables.get(name)
            known = tables is not None and _knows(self.truth, tables, own, peer, end.ip)
            self._peers[name, end] = known
        return known


def _alone(tables: Tables, own: Owner) -> bool:
    """Whether no other device takes the overlay's frames."""
    family = family_of(own.underlay)
    return [
        link.name
        for link in tables.links.values()
        if (link.vni, link.vxlan_port) == (own.vni, own.port)
        and family_of(link.vxlan_local or own.underlay) == family
    ] == [own.device]


def _knows(truth: Truth, tables: Tables, own: Owner, peer: Owner, ip: str) -> bool:
    """Whether the node keeps exactly the entries about the peer that lead to its pod."""
    next_hop, gateway = (ip, "") if truth.per_pod else (peer.gateway, peer.gateway)
    return (
        tables.route(ip) == ("unicast", ((gateway, own.device),))
        and peer.mac is not None
        and tables.mac(own.device, next_hop) == peer.mac
        and tables.fdb.get((own.device, peer.mac)) == (peer.underlay,)
        and tables.route(peer.underlay) == ("unicast", (("", own.underlay_device),))
        and peer.underlay_mac is not None
        and tables.mac(own.underlay_device, peer.underlay) == peer.underlay_mac
        and ip not in tables.local
    )
