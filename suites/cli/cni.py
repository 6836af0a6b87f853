"""`--cni flannel:VERSION` to the dialect that this version speaks."""

from __future__ import annotations

import re
from typing import Final

from clusters.errors import UsageError

_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
# The first version of each dialect, newest first (docs/concepts.md, "What the twin is").
_SINCE: Final = (((0, 24, 1), "persistent"), ((0, 9, 0), "static"), ((0, 5, 0), "l3miss"))


def flannel_version(cni: str) -> tuple[int, ...] | None:
    """The version of a `--cni` value; None where it names none. Raises UsageError."""
    name, colon, version = cni.partition(":")
    found = _VERSION.fullmatch(version)
    if name != "flannel" or (colon and not found):
        raise UsageError(f"--cni: expected flannel or flannel:VERSION (as in v0.28.4), got {cni!r}")
    return tuple(int(part or 0) for part in found.groups()) if found else None


def dialect_of(version: tuple[int, ...]) -> str:
    """The dialect that a version speaks. Raises UsageError for one before VXLAN peers were programmed."""
    for first, dialect in _SINCE:
        if version >= first:
            return dialect
    raise UsageError(f"--cni: expected flannel v0.5.0 or later, got {spelled(version)}")


def spelled(version: tuple[int, ...]) -> str:
    """A version as flannel's tags have it."""
    return f"v{'.'.join(str(part) for part in version)}"
