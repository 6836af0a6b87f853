"""The user's cache folder: results of build steps, kept under their keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clusters import waiting
from clusters.errors import SetupError
from clusters.node_image.steps import Step

_OTHER_BUILD_S: Final = 3600.0


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/graymesh/node-image`, default `~/.cache/graymesh/node-image`; it need not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "graymesh/node-image"


def place(step: Step) -> Path:
    """Where the step's result is kept, there or not."""
    return cache_root() / f"{step.name}-{step.key}"


def kept(step: Step) -> bool:
    """Whether the result is there, whole: it appears by one rename."""
    return place(step).is_dir() and step.holds(place(step))


@contextlib.contextmanager
def filling(step: Step) -> Iterator[Path]:
    """An empty directory that becomes the step's result when the block ends well, and goes away when it does not."""
    target = place(step)
    scratch = target.with_name(f"{target.name}.partial")
    with storing():
        discard(scratch)
        scratch.mkdir(parents=True)
    try:
        yield scratch
    except BaseException:
        discard(scratch)
        raise
    with storing():
        discard(target)
        scratch.rename(target)


def discard(path: Path) -> None:
    """Remove a tree of the cache; fine where it is absent."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


@contextlib.contextmanager
def one_build_at_a_time(say: Callable[[str], None]) -> Iterator[None]:
    """Wait for another build by this user to end, then hold the cache. Raises DeadlineExceededError after an hour."""
    with storing():
        cache_root().mkdir(parents=True, exist_ok=True)
        lock = os.open(cache_root() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(lock):
            say("another build of the node image is under way; waiting for it")
            waiting.poll_until(
                lambda: _locked(lock),
                awaited=f"the lock {cache_root() / 'lock'}",
                deadline=waiting.Deadline.after(_OTHER_BUILD_S),
                every_s=0.5,
            )
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Turn an OSError of the block into a SetupError that names the path and the fix."""
    try:
        yield
    except OSError as exc:
        where = exc.filename or cache_root()
        reason = exc.strerror or str(exc)
        raise SetupError(
            f"cannot use the cache at {where}: {reason}; point XDG_CACHE_HOME elsewhere"
        ) from exc
