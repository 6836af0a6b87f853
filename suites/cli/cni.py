"""`--cni flannel:VERSION` to the dialect that this version speaks."""

from __future__ import annotations

import re
from typing import Final

from clusters.errors import UsageError

_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
# The first version of each dialect, newest first (docs/concepts.md, "What the twin is").
_SINCE: Final = (((0, 24, 1), "persistent"), ((0, 9, 0), "static"), ((0, 5, 0), "l3miss"))


def dialect_of(cni: str) -> str | None:
    """The dialect of a `--cni` value; None where it names no version. Raises UsageError."""
    name, colon, version = cni.partition(":")
    found = _VERSION.fullmatch(version)
    if name != "flannel" or (colon and not found):
        raise UsageError(f"--cni: expected flannel or flannel:VERSION (as in v0.28.4), got {cni!r}")
    if not found:
        return None
    number = tuple(int(part or 0) for part in found.groups())
    for first, dialect in _SINCE:
        if number >= first:
            return dialect
    raise UsageError(f"--cni: expected flannel v0.5.0 or later, got {cni!r}")
