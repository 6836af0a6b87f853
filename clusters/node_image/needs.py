"""What the host must have for a build step: each need with its check, reason and fix."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters import docker
from clusters.commands import run_argv
from clusters.errors import ExecTransportError, SetupError

GO_VERSION: Final = (1, 26)
DISK_GB: Final = 12.0
SMALL_BUILD_S: Final = 120.0
"""A build expected to end within this needs no room worth asking for."""
_ASK_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`missing()` is what is wrong, "" where nothing is."""

    name: str
    missing: Callable[[], str]
    fix: str


def require(needs: Collection[Need]) -> None:
    """Raises SetupError with every missing need and its fix in one line."""
    found = {need.name: (need.missing(), need.fix) for need in needs}
    wrong = [f"{name}: {reason} ({fix})" for name, (reason, fix) in found.items() if reason]
    if wrong:
        raise SetupError(f"cannot build the node image: {'; '.join(wrong)}")


def disk_need(folder: Path) -> Need:
    """Room for the build in the cache folder's file system."""
    return Need(
        name="disk",
        missing=lambda: _disk(folder),
        fix=f"free {DISK_GB:g} GB there, or point XDG_CACHE_HOME to another disk",
    )


def _disk(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    return "" if free_gb >= DISK_GB else f"{free_gb:.1f} GB free at {there}"


def _go() -> str:
    try:
        said = run_argv(["go", "version"], timeout_s=_ASK_S).stdout
    except ExecTransportError as exc:
        return str(exc)
    found = re.search(r"go(\d+)\.(\d+)", said)
    new_enough = found is not None and (int(found[1]), int(found[2])) >= GO_VERSION
    return "" if new_enough else f"found {said.strip() or 'no version'}"


def _program(*names: str) -> Callable[[], str]:
    def missing() -> str:
        absent = [name for name in names if shutil.which(name, path=search_path()) is None]
        return f"not found on PATH: {', '.join(absent)}" if absent else ""

    return missing


def search_path() -> str:
    """PATH with the system programs' folders, which an ordinary user's PATH lacks."""
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


GO: Final = Need(
    name="Go",
    missing=_go,
    fix=f"install Go {'.'.join(map(str, GO_VERSION))} or newer and put it on PATH",
)
COMPILER: Final = Need(
    name="C compiler", missing=_program("gcc"), fix="apt-get install gcc libc6-dev"
)
DEBOOTSTRAP: Final = Need(
    name="debootstrap", missing=_program("debootstrap"), fix="apt-get install debootstrap"
)
ROOT: Final = Need(
    name="root",
    missing=lambda: "" if os.geteuid() == 0 else f"running as user {os.geteuid()}",
    fix="run it with sudo: a Debian root file system is unpacked",
)
DOCKER: Final = Need(
    name="Docker",
    missing=docker.unusable,
    fix="run .setup/docker from the project, or start the Docker daemon",
)
