"""What `graymesh doctor` says about kind on this machine: Docker, its rights, its runtime, the node image."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from clusters import node_image
from clusters.commands import find_tool
from clusters.docker import docker
from clusters.errors import SetupError
from clusters.features.feature import Feature, no, unknown, yes
from clusters.node_image.needs import DISK_GB
from clusters.providers.kind.runc_bounded import host_lacks

_FOR: Final = "kind"
_PREPARE: Final = "run .setup/docker from the project's folder, as root"
_SOCKET: Final = Path("/var/run/docker.sock")
_NODES_GB: Final = 6.0  # four nodes' writable layers and volumes
_BUILDERS: Final = ("go", "debootstrap", "gcc")


def facts() -> tuple[Feature, ...]:
    """Find out everything about Docker and kind; nothing is changed. Takes some tenths of a second.

    Where the daemon cannot be asked, what only it knows is unknown.
    """
    client = _client()
    if not client.ok:
        return (client, _root(), *_without_daemon("the docker command is absent"))
    try:
        info: Mapping[str, object] = json.loads(docker(["info", "--format={{json .}}"]))
    except (SetupError, ValueError) as exc:
        return (client, _root(), no("docker daemon", _FOR, *_unreachable(str(exc))))
    if info.get("ServerErrors"):
        return (client, _root(), no("docker daemon", _FOR, *_unreachable(_errors(info))))
    return (client, _root(), *_of_daemon(info))


def _client() -> Feature:
    path = find_tool("docker")
    if path:
        return yes("docker command", _FOR, path)
    return no("docker command", _FOR, "not found", _PREPARE)


def _root() -> Feature:
    if os.geteuid() == 0:
        return yes("root for kind", _FOR, "yes")
    detail = "pods' namespaces are entered from the host"
    return no("root for kind", _FOR, detail, "run graymesh with sudo for kind clusters")


def _without_daemon(reason: str) -> tuple[Feature, ...]:
    return (unknown("docker daemon", _FOR, reason),)


def _unreachable(said: str) -> tuple[str, str]:
    if _SOCKET.exists() and not os.access(_SOCKET, os.R_OK | os.W_OK):
        return (
            f"{_SOCKET}: Permission denied",
            "add yourself to the group docker (usermod -aG docker USER), then log in again",
        )
    return said, f"start it (systemctl start docker), or {_PREPARE}"


def _errors(info: Mapping[str, object]) -> str:
    said = info.get("ServerErrors")
    return str(said[0]) if isinstance(said, list) and said else str(said)


def _of_daemon(info: Mapping[str, object]) -> Iterator[Feature]:
    yield yes("docker daemon", _FOR, f"{info.get('ServerVersion')} answers")
    yield privileged(host_lacks(), str(info.get("DefaultRuntime")))
    yield cgroup(str(info.get("CgroupVersion") or ""), str(info.get("CgroupDriver") or ""))
    yield _disk(Path(str(info.get("DockerRootDir") or "/")))
    yield _image()


def privileged(absent: tuple[str, ...], runtime: str) -> Feature:
    """Whether privileged containers start: not where the bounding set lacks what runc asks for."""
    name = "docker --privileged"
    if not absent:
        return yes(name, _FOR, "every capability is there")
    lacks = f"the bounding set lacks {', '.join(absent)}"
    if runtime.endswith("-bounded"):
        return yes(name, _FOR, f"{lacks}; the runtime {runtime} does not ask for it")
    fix = f"{_PREPARE}; where a daemon runs already, make runc-bounded its default runtime"
    return no(name, _FOR, f"{lacks}, and the runtime {runtime} asks for all", fix)


def cgroup(version: str, driver: str) -> Feature:
    """Which cgroups the daemon has; kubelet runs on both."""
    if version in {"1", "2"}:
        return yes("docker cgroup", _FOR, f"version {version}, driver {driver}")
    fix = "mount cgroups (apt-get install cgroupfs-mount, then cgroupfs-mount)"
    return no("docker cgroup", _FOR, "the daemon names no cgroup version", fix)


def _disk(folder: Path) -> Feature:
    try:
        free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError as exc:
        return unknown("docker disk", _FOR, f"{folder}: {exc.strerror}")
    detail = f"{free_gb:.0f} GB free at {folder}"
    if free_gb >= _NODES_GB:
        return yes("docker disk", _FOR, detail)
    return no("docker disk", _FOR, detail, f"free {_NODES_GB:g} GB there (docker system prune)")


def _image() -> Feature:
    images = node_image.list_images()
    if images:
        return yes("node image", _FOR, ", ".join(built.image for built in images))
    absent = [tool for tool in _BUILDERS if not find_tool(tool)]
    if not absent:
        return yes("node image", _FOR, "none yet; it can be built here (graymesh node-image build)")
    return no(
        "node image",
        _FOR,
        f"none, and to build one {', '.join(absent)} is absent",
        f"give a published one with --image, or install {', '.join(absent)} ({DISK_GB:g} GB of disk)",
    )
