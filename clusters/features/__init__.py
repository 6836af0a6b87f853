"""What this machine can run: tried for real, each answer with its reason and, for a "no", the fix."""

from __future__ import annotations

from clusters.features.feature import Feature
from clusters.features.probing import probe, require_twin

__all__ = ["Feature", "probe", "require_twin"]
