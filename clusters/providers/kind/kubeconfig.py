"""Each kind cluster's own kubeconfig, in its state directory; the user's is never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clusters import node_image
from clusters.commands import run_argv
from clusters.errors import ClusterGoneError
from clusters.places import make_state_dir, state_dir

_EXPORT_S: Final = 30.0


def kubeconfig_path(name: str) -> Path:
    """Where the cluster's kubeconfig is; it need not exist."""
    return state_dir(name) / "kubeconfig"


def ensured(name: str) -> Path:
    """The cluster's kubeconfig, written anew by kind where it has gone. Raises ClusterGoneError."""
    target = kubeconfig_path(name)
    if target.exists():
        return target
    make_state_dir(name)
    kind = node_image.kind_program(lambda _line: None)
    argv = [str(kind), "export", "kubeconfig", "--name", name, "--kubeconfig", str(target)]
    done = run_argv(argv, timeout_s=_EXPORT_S)
    if done.status:
        raise ClusterGoneError(f"kind has no kubeconfig of {name}: {done.stderr.strip()}")
    return target
