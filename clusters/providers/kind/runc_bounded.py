#!/usr/bin/env python3
"""OCI runtime in front of runc that asks for no capability which this host's bounding set lacks.

`docker run --privileged` asks for every capability the kernel knows; where the daemon's own bounding set lacks one,
runc ends with "unable to apply caps". Runs with the system's Python alone: nothing of graymesh is imported.
Capability numbers are those of linux/capability.h; the arguments are runc's command line as containerd gives them.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
    " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO"
    " SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME"
    " SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG"
    " WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())


def bounding_mask(status: str) -> int:
    """The CapBnd line of /proc/PID/status as a bit mask."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["CapBnd"], 16)


def lacking(mask: int, last: int) -> tuple[str, ...]:
    """Capabilities up to number `last` (the kernel's newest) that are not in the mask."""
    return tuple(name for bit, name in enumerate(CAPABILITIES[: last + 1]) if not mask >> bit & 1)


def bounded(process: dict[str, object], absent: Sequence[str]) -> dict[str, object]:
    """An OCI process description without the absent capabilities."""
    wanted = process.get("capabilities")
    if not isinstance(wanted, dict):
        return process
    kept = {kind: [name for name in names if name not in absent] for kind, names in wanted.items()}
    return {**process, "capabilities": kept}


def host_lacks() -> tuple[str, ...]:
    """Capabilities that this kernel has and this process can never get."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return lacking(bounding_mask(status), last)


def _rewrite(path: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))))


def _after(argv: Sequence[str], flags: Sequence[str]) -> str | None:
    for flag, value in itertools.pairwise(argv):
        if flag in flags:
            return value
    return next((a.split("=", 1)[1] for a in argv for f in flags if a.startswith(f"{f}=")), None)


def main(argv: Sequence[str]) -> None:
    """Bound what runc is about to read, then become runc. Never returns."""
    absent = host_lacks()
    if {"create", "run"} & set(argv):
        config = Path(_after(argv, ("--bundle", "-b")) or ".") / "config.json"
        _rewrite(config, lambda spec: {**spec, "process": bounded(_process(spec), absent)})
    process = _after(argv, ("--process", "-p")) if "exec" in argv else None
    if process is not None:
        _rewrite(Path(process), lambda spec: bounded(spec, absent))
    os.execvp("runc", ["runc", *argv])  # noqa: S606  # no shell is wanted


def _process(spec: dict[str, object]) -> dict[str, object]:
    process = spec["process"]
    if not isinstance(process, dict):
        raise SystemExit("runc-bounded: config.json has no process")
    return process


if __name__ == "__main__":
    main(sys.argv[1:])
