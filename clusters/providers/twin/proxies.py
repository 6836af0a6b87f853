"""Writes the VIP's rules on the nodes of a twin, as kube-proxy would."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final

from clusters import service_vip
from clusters.commands import run_argv
from clusters.errors import GraymeshError, SetupError
from clusters.providers.twin.layout import VIP
from clusters.providers.twin.processes import Started, in_parallel

_PATIENCE_S: Final = 20.0


def sync(netns_fds: Mapping[str, int], targets: Sequence[str], *, fresh: bool = False) -> Started:
    """Start writing the rules of these nodes, whatever is there now; `fresh` namespaces are known to be empty."""
    return in_parallel(
        [
            functools.partial(_sync, node, netns_fd, tuple(targets), fresh=fresh)
            for node, netns_fd in netns_fds.items()
        ]
    )


def _sync(node: str, netns_fd: int, targets: Sequence[str], *, fresh: bool) -> None:
    saved = "" if fresh else _run(node, netns_fd, ["iptables-save"])
    rules = service_vip.render(VIP, targets, saved=saved)
    _run(node, netns_fd, ["iptables-restore", "--noflush"], rules)


def _run(node: str, netns_fd: int, argv: list[str], stdin: str = "") -> str:
    try:
        done = run_argv(argv, netns_fd=netns_fd, timeout_s=_PATIENCE_S, stdin=stdin)
    except GraymeshError as exc:
        raise SetupError(f"{node}: {exc} (fix: install iptables)") from exc
    if done.status:
        said = " ".join(done.stderr.split())
        raise SetupError(f"{node}: `{' '.join(argv)}` ended with {done.status}: {said}")
    return done.stdout
