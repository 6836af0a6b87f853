"""Every scenario by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from suites.scenario import Scenario
from suites.scenarios.founding import FOUNDING, FOUNDING_L3MISS, FOUNDING_VICTIM_HAS_REPLICA
from suites.scenarios.healthy import HEALTHY
from suites.scenarios.nodes import NODE_RECREATE, NODE_RESTART
from suites.scenarios.replicas import ONE_REPLICA_DOWN
from suites.scenarios.underlay import ONE_WAY_DROP
from suites.scenarios.vip import VIP_ONLY
from suites.scenarios.vtep import VTEP_DELETED

__all__ = ["SCENARIOS"]

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        one.name: one
        for one in (
            HEALTHY,
            FOUNDING,
            FOUNDING_VICTIM_HAS_REPLICA,
            FOUNDING_L3MISS,
            NODE_RESTART,
            NODE_RECREATE,
            ONE_REPLICA_DOWN,
            ONE_WAY_DROP,
            VIP_ONLY,
            VTEP_DELETED,
        )
    }
)
