"""A number that a holder raises and its clients see at once, without asking."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

_SIZE_BYTES: Final = mmap.PAGESIZE
_NUMBER: Final = struct.Struct("=Q")


class Counter:
    """The holder's side: shared memory behind a descriptor."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("graymesh-changes", os.MFD_CLOEXEC)
        os.truncate(self.fd, _SIZE_BYTES)
        self._page = mmap.mmap(self.fd, _SIZE_BYTES)

    def increase(self) -> None:
        """One more change."""
        (now,) = _NUMBER.unpack_from(self._page)
        _NUMBER.pack_into(self._page, 0, now + 1)


class CounterView:
    """A client's side; takes the descriptor over."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, _SIZE_BYTES, prot=mmap.PROT_READ)
        os.close(fd)

    def read(self) -> int:
        """How many changes there were."""
        number: int = _NUMBER.unpack_from(self._page)[0]
        return number

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._page.close()
