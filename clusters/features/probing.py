"""All answers about this machine, and the few that must hold before a twin is started."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import Final

from clusters.commands import find_tool
from clusters.errors import SetupError
from clusters.features.feature import Feature, no, yes
from clusters.features.limits import limits, require_descriptors, state_space

_PACKAGES: Final = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
}


def probe() -> tuple[Feature, ...]:
    """Find out everything, by trying where that can be; nothing is left. Takes some tenths of a second."""
    from clusters.features.trials import tried_apart  # noqa: PLC0415  # pulls in all of netlink

    return (
        _linux(),
        *_tools(),
        *tried_apart(),
        state_space(),
        *limits(),
    )


def require_twin(*, places: int) -> None:
    """Make sure, cheaply, that a twin of so many nodes, pods and replicas together is worth starting.

    Raises this process's limit of open files where needed. Raises SetupError: what is missing, and the fix.
    """
    for feature in (_linux(), *_tools(), state_space()):
        if feature.ok is False:
            raise SetupError(f"{feature.name}: {feature.detail} (fix: {feature.fix})")
    require_descriptors(places)


def _linux() -> Feature:
    name, needed_for, seen = "linux", "twin", f"{platform.system()} {platform.release()}"
    if sys.platform == "linux":
        return yes(name, needed_for, seen)
    return no(name, needed_for, seen, "run graymesh on Linux, in a virtual machine where need be")


def _tools() -> Iterator[Feature]:
    for tool, package in _PACKAGES.items():
        yield _tool(tool, "twin", f"install the package {package} (apt-get install {package})")


def _tool(tool: str, needed_for: str, fix: str) -> Feature:
    name, path = f"command {tool}", find_tool(tool)
    return yes(name, needed_for, path) if path else no(name, needed_for, "not found", fix)
