"""One of several DNS replicas does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from clusters.topology import Inventory
from suites.scenario import Breakage, Effect, Occurrence, Scenario


def _replica(inventory: Inventory, rng: Random) -> Mapping[str, str]:
    return {"replica": rng.choice([one.name for one in inventory.replicas])}


def _silent(seen: Occurrence) -> Effect:
    return Effect(causes=frozenset({"replica-down"}), replicas=frozenset({seen.params["replica"]}))


ONE_REPLICA_DOWN: Final = Scenario(
    name="one-replica-down",
    summary="one DNS replica has stopped: its column fails, the service address in part",
    breaks=Breakage(fault="replica-stop", choose=_replica, effect=_silent),
)
