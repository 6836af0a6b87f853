"""All answers about this machine, and the few that must hold before a twin is started."""

from __future__ import annotations

import platform
import socket
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
_DOCKER_SOCKET: Final = "/var/run/docker.sock"
_DOCKER_S: Final = 0.3


def probe() -> tuple[Feature, ...]:
    """Find out everything, by trying where that can be; nothing is left. Takes some tenths of a second."""
    from clusters.features.trials import tried_apart  # noqa: PLC0415  # pulls in all of netlink

    return (
        _linux(),
        *_tools(),
        *tried_apart(),
        state_space(),
        *limits(),
        _docker_client(),
        _docker_daemon(),
        _kind(),
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


def _kind() -> Feature:
    return _tool("kind", "kind", "install kind (go install sigs.k8s.io/kind@latest)")


def _docker_client() -> Feature:
    return _tool("docker", "kind", "install docker (apt-get install docker.io)")


def _docker_daemon() -> Feature:
    """Asked on its socket: the client would try for two seconds."""
    name, needed_for = "docker daemon", "kind"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_DOCKER_S)
        try:
            sock.connect(_DOCKER_SOCKET)
            sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            answer = sock.recv(64)
        except PermissionError:
            fix = "add yourself to the group docker (usermod -aG docker USER), then log in again"
            return no(name, needed_for, f"{_DOCKER_SOCKET}: Permission denied", fix)
        except OSError as exc:
            fix = "start it (systemctl start docker, or dockerd)"
            return no(name, needed_for, f"{_DOCKER_SOCKET}: {exc.strerror or exc}", fix)
    if answer.startswith(b"HTTP/") and b" 200 " in answer:
        return yes(name, needed_for, "answers")
    fix = "restart it (systemctl restart docker)"
    return no(name, needed_for, "does not answer as docker does", fix)
