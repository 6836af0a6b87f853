"""Which faults there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chaos.faults.founding import Founding
from chaos.faults.node_recreate import NodeRecreate
from chaos.faults.node_restart import NodeRestart
from chaos.faults.peer_entry import PeerEntry
from chaos.faults.replica_mute import ReplicaMute
from chaos.faults.replica_stop import ReplicaStop
from chaos.faults.underlay_drop import UnderlayDrop
from chaos.faults.vip_rules_missing import VipRulesMissing
from chaos.faults.vtep_delete import VtepDelete
from chaos.faults.vtep_recreate import VtepRecreate
from chaos.model import Fault

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "founding": Founding(),
        "node-recreate": NodeRecreate(),
        "node-restart": NodeRestart(),
        "peer-entry": PeerEntry(),
        "replica-mute": ReplicaMute(),
        "replica-stop": ReplicaStop(),
        "underlay-drop": UnderlayDrop(),
        "vip-rules-missing": VipRulesMissing(),
        "vtep-delete": VtepDelete(),
        "vtep-recreate": VtepRecreate(),
    }
)
