"""Where graymesh keeps what must outlive a process: one directory per cluster."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusters.errors import SetupError, UsageError

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_HINTS: Final = {
    errno.ENOSPC: "free some space there, or point GRAYMESH_STATE to another disk",
    errno.EDQUOT: "free some of your quota, or point GRAYMESH_STATE to another disk",
    errno.EACCES: "make it writable, or point GRAYMESH_STATE to a directory of yours",
    errno.EPERM: "make it writable, or point GRAYMESH_STATE to a directory of yours",
    errno.EROFS: "point GRAYMESH_STATE to a directory on a writable disk",
    errno.ENOTDIR: "remove the file that stands in the way, or point GRAYMESH_STATE elsewhere",
    errno.EEXIST: "remove the file that stands in the way, or point GRAYMESH_STATE elsewhere",
}


def checked_name(name: str) -> str:
    """The name itself, where it can name a cluster. Raises UsageError: it becomes a path and a socket address."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"cluster name {name!r}: expected 1 to 63 of a-z 0-9 . _ -,"
            " first and last a letter or digit"
        )
    return name


def state_root() -> Path:
    """The directory of all clusters' directories; it need not exist.

    `GRAYMESH_STATE`, else `$XDG_STATE_HOME/graymesh`, else `~/.local/state/graymesh`.
    """
    chosen = os.environ.get("GRAYMESH_STATE")
    if chosen:
        return Path(chosen).absolute()
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The XDG base directory specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".local/state") / "graymesh"


def state_dir(name: str) -> Path:
    """Where the cluster's ledger and lock are; it need not exist. Raises UsageError for an impossible name."""
    return state_root() / checked_name(name)


def make_state_dir(name: str) -> Path:
    """As `state_dir`, and it exists, private to the user. Raises SetupError naming the path and the fix."""
    path = state_dir(name)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if path.is_file():  # not "is no directory": another run may remove it at any moment
                raise
    return path


def remove_state_dir(name: str) -> None:
    """Remove the cluster's directory with all it holds; fine where it is absent. Raises SetupError."""
    path = state_dir(name)
    with storing(path), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def names_with_state() -> tuple[str, ...]:
    """The clusters that have a state directory, running or not, sorted. Raises SetupError if unreadable."""
    root = state_root()
    with storing(root):
        try:
            entries = sorted(root.iterdir())
        except FileNotFoundError:
            return ()
        return tuple(e.name for e in entries if _NAME.fullmatch(e.name) and e.is_dir())


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a SetupError: one line with the path, the reason and the fix."""
    try:
        yield
    except OSError as exc:
        hint = _HINTS.get(exc.errno or 0, "repair it, or point GRAYMESH_STATE elsewhere")
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise SetupError(f"cannot use {exc.filename or path}: {reason}; {hint}") from exc
