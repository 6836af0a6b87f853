"""Vantages: network namespaces from which sockets and netlink are opened.

A vantage holds a descriptor of the namespace, so it stays usable (and the namespace alive) until closed.
setns(2) switches the calling thread only; every public function here puts the thread back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """A place's network namespace. `fd` belongs to the cluster handle that gave it; do not close it."""

    place: str
    fd: int


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace of `fd`. Raises OSError."""
    if _libc.setns(fd, kind):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "setns")


def unshare(kinds: int) -> None:
    """Give the calling thread new namespaces of these kinds. Raises OSError."""
    if _libc.unshare(kinds):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "unshare")


@contextlib.contextmanager
def home_kept() -> Iterator[None]:
    """Come back to the network namespace the thread is in now, however many setns calls happen inside."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        setns(home)
        os.close(home)


@contextlib.contextmanager
def inside(vantage: Vantage) -> Iterator[None]:
    """Run the block with the calling thread inside the vantage's namespace."""
    with home_kept():
        setns(vantage.fd)
        yield
