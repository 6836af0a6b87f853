"""Nothing is broken, and nothing may be found."""

from __future__ import annotations

from typing import Final

from suites.scenario import Scenario

HEALTHY: Final = Scenario(
    name="healthy",
    summary="nothing is broken: every pair passes twice, nothing is found",
    least_nodes=1,
)
