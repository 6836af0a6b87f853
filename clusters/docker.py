"""The docker command: run it, or say in one line why it cannot be used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from clusters.commands import run_argv
from clusters.errors import ExecTransportError, SetupError

_ASK_S: Final = 30.0


def docker(argv: Sequence[str], *, timeout_s: float = _ASK_S, stdin: str = "") -> str:
    """The standard output of `docker ARGV`. Raises SetupError with the command and what it said where it fails."""
    command = ["docker", *argv]
    try:
        done = run_argv(command, timeout_s=timeout_s, stdin=stdin)
    except ExecTransportError as exc:
        raise SetupError(str(exc)) from exc
    if done.status:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = said[-1] if said else f"status {done.status}"
        raise SetupError(f"`{shlex.join(command)}` failed: {reason}")
    return done.stdout


def unusable() -> str:
    """Why the Docker daemon cannot be used, "" where it can."""
    try:
        docker(["version", "--format", "{{.Server.Version}}"])
    except SetupError as exc:
        return str(exc)
    return ""
