"""Removal of a kind cluster, whole or half-made: containers, volumes, network, kubeconfig."""

from __future__ import annotations

import contextlib
from typing import Final

from clusters.docker import docker
from clusters.errors import SetupError
from clusters.providers.kind import identity
from clusters.providers.kind.kubeconfig import kubeconfig_path

_REMOVE_S: Final = 120.0


def remove(name: str) -> None:
    """Remove everything of a cluster whose network is ours; the network goes last, so a second try finds it.

    Raises SetupError; what is gone is gone, and calling again goes on.
    """
    nodes = identity.containers(name)
    if nodes:
        docker(["rm", "--force", "--volumes", *nodes], timeout_s=_REMOVE_S)
    kubeconfig_path(name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the ledger may be there as well
        kubeconfig_path(name).parent.rmdir()
    _remove_network(identity.network_of(name))


def _remove_network(network: str) -> None:
    try:
        docker(["network", "rm", network])
    except SetupError:
        left = docker(["network", "ls", f"--filter=name=^{network}$", "--format={{.Name}}"])
        if left.strip():
            raise
