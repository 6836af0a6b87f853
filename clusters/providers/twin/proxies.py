"""Writes the VIP's rules on the nodes of a twin, as kube-proxy would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from clusters import service_vip
from clusters.commands import run_argv
from clusters.errors import GraymeshError, SetupError
from clusters.providers.twin.layout import VIP

_PATIENCE_S: Final = 20.0


def sync(node: str, netns_fd: int, targets: Sequence[str], *, fresh: bool = False) -> None:
    """Write the rules, whatever is there now; a `fresh` namespace is known to be empty. Raises SetupError."""
    saved = "" if fresh else _run(node, netns_fd, ["iptables-save"])
    rules = service_vip.render(VIP, targets, saved=saved)
    _run(node, netns_fd, ["iptables-restore", "--noflush"], rules)


def sync_fresh(netns_fds: Mapping[str, int], targets: Sequence[str]) -> None:
    """Write the rules of nodes that have none. Raises SetupError."""
    for node, netns_fd in netns_fds.items():
        sync(node, netns_fd, targets, fresh=True)


def _run(node: str, netns_fd: int, argv: list[str], stdin: str = "") -> str:
    try:
        done = run_argv(argv, netns_fd=netns_fd, timeout_s=_PATIENCE_S, stdin=stdin)
    except GraymeshError as exc:
        raise SetupError(f"{node}: {exc} (fix: install iptables)") from exc
    if done.status:
        said = " ".join(done.stderr.split())
        raise SetupError(f"{node}: `{' '.join(argv)}` ended with {done.status}: {said}")
    return done.stdout
