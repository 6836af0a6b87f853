"""What graymesh knows a kind cluster by: the labels of its docker network, so that nothing else has to be kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from clusters import places
from clusters.docker import docker
from clusters.errors import SetupError, UsageError
from clusters.providers.base import ClusterSpec

KIND_LABEL: Final = "io.x-k8s.kind.cluster"  # kind's own, on every node container
_CLUSTER: Final = "graymesh.cluster"
_UID: Final = "graymesh.uid"
_LONGEST: Final = 40  # a node's name is a host name: 63 characters with "-control-plane"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A cluster as it was asked for, read back from its labels."""

    name: str
    nodes: int
    pods_per_node: int
    replicas: int
    flannel: str
    image: str
    owner_pid: int | None = None

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names that kind gives: one control plane, then workers."""
        workers = (f"{self.name}-worker{n if n > 1 else ''}" for n in range(1, self.nodes))
        return (f"{self.name}-control-plane", *workers)

    @property
    def network(self) -> str:
        """The docker network that carries the labels."""
        return network_of(self.name)


def network_of(name: str) -> str:
    """The docker network of the cluster of that name."""
    return f"graymesh-{name}"


def checked_name(name: str) -> str:
    """The name itself, where kind accepts it and host names made of it are short enough. Raises UsageError."""
    places.checked_name(name)
    if "_" in name or len(name) > _LONGEST:
        raise UsageError(f"name: on kind, expected at most {_LONGEST} of a-z 0-9 . -, got {name!r}")
    return name


def identity_of(spec: ClusterSpec, *, flannel: str, image: str) -> Identity:
    """The identity of a cluster about to be made."""
    return Identity(
        name=spec.name,
        nodes=spec.nodes,
        pods_per_node=spec.pods_per_node,
        replicas=spec.dns_replicas,
        flannel=flannel,
        image=image,
        owner_pid=spec.owner_pid,
    )


def claim(identity: Identity) -> None:
    """Make the labelled network. Raises SetupError."""
    labels = {
        _CLUSTER: identity.name,
        _UID: str(os.getuid()),
        "graymesh.nodes": str(identity.nodes),
        "graymesh.pods-per-node": str(identity.pods_per_node),
        "graymesh.replicas": str(identity.replicas),
        "graymesh.flannel": identity.flannel,
        "graymesh.image": identity.image,
        "graymesh.owner-pid": str(identity.owner_pid or ""),
    }
    words = [f"--label={key}={value}" for key, value in labels.items()]
    docker(["network", "create", *words, identity.network])


def known() -> tuple[Identity, ...]:
    """Every kind cluster of graymesh that this Docker has, half-made ones too, by name. Raises SetupError."""
    names = docker(["network", "ls", f"--filter=label={_CLUSTER}", "--format={{.ID}}"]).split()
    if not names:
        return ()
    found = docker(["network", "inspect", "--format={{json .Labels}}", *names]).splitlines()
    return tuple(sorted((_read(json.loads(line)) for line in found), key=lambda one: one.name))


def known_or_none() -> tuple[Identity, ...]:
    """As `known`; none where Docker cannot be used."""
    try:
        return known()
    except SetupError:
        return ()


def find(name: str) -> Identity:
    """The identity of that cluster. Raises UsageError where graymesh has none of that name on kind, or no Docker."""
    try:
        identities = known()
    except SetupError as exc:
        raise UsageError(f"name: no kind cluster {name!r} can be looked for: {exc}") from exc
    for identity in identities:
        if identity.name == name:
            return identity
    foreign = containers(name)
    if foreign:
        raise UsageError(f"name: the kind cluster {name!r} was not made by graymesh; left alone")
    raise UsageError(f"name: no kind cluster is called {name!r}")


def containers(name: str) -> tuple[str, ...]:
    """The node containers, running or not, of the kind cluster of that name, whoever made it."""
    argv = ["ps", "--all", f"--filter=label={KIND_LABEL}={name}", "--format={{.Names}}"]
    return tuple(sorted(docker(argv).split()))


def _read(labels: Mapping[str, str]) -> Identity:
    owner = labels.get("graymesh.owner-pid", "")
    return Identity(
        name=labels[_CLUSTER],
        nodes=int(labels.get("graymesh.nodes", "0")),
        pods_per_node=int(labels.get("graymesh.pods-per-node", "0")),
        replicas=int(labels.get("graymesh.replicas", "0")),
        flannel=labels.get("graymesh.flannel", ""),
        image=labels.get("graymesh.image", ""),
        owner_pid=int(owner) if owner else None,
    )
