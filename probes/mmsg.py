"""Many datagrams in one system call: sendmmsg(2) and recvmmsg(2) over preallocated numpy memory.

The headers are laid out as on every 64-bit Linux (`struct mmsghdr` in <bits/socket.h>); a call costs about
a microsecond of Python whatever the number of datagrams, and lets other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Final

import numpy as np
import numpy.typing as npt

SO_TIMESTAMPNS: Final = 35  # <asm-generic/socket.h>; not in the socket module
MSG_DONTWAIT: Final = 0x40
CONTROL_BYTES: Final = 64

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SOCKADDR_IN: Final = np.dtype(
    [("family", "<u2"), ("port", ">u2"), ("address", ">u4"), ("zero", "V8")]
)
_MMSGHDR: Final = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "len"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_IOVEC: Final = np.dtype([("base", "u8"), ("len", "u8")])
_STAMP: Final = np.dtype(
    {
        "names": ["level", "type", "sec", "nsec"],
        "formats": ["i4", "i4", "i8", "i8"],
        "offsets": [8, 12, 16, 24],
        "itemsize": CONTROL_BYTES,
    }
)

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_void_p,
)


class Outbox:
    """Slots for outgoing datagrams of one size. `payload` and `names` are filled by the caller, then sent."""

    def __init__(self, slots: int, size: int) -> None:
        self.slots = slots
        self.payload: U8 = np.zeros((slots, size), np.uint8)
        self.names = np.zeros(slots, SOCKADDR_IN)
        self.names["family"] = socket.AF_INET
        self._iov = np.zeros(slots, _IOVEC)
        self._iov["base"] = _addresses(self.payload)
        self._iov["len"] = size
        self._headers = np.zeros(slots, _MMSGHDR)
        self._headers["name"] = _addresses(self.names)
        self._headers["namelen"] = SOCKADDR_IN.itemsize
        self._headers["iov"] = _addresses(self._iov)
        self._headers["iovlen"] = 1
        self._base = self._headers.ctypes.data

    def send(self, fd: int, start: int, stop: int) -> int:
        """Send slots `start` to `stop` without blocking; return how many left.

        Fewer than asked means that the next one has an error: a further call from there raises it as OSError.
        """
        sent: int = _sendmmsg(
            fd, self._base + start * _MMSGHDR.itemsize, stop - start, MSG_DONTWAIT
        )
        if sent < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "sendmmsg")
        return sent


class Inbox:
    """Slots for incoming datagrams with their kernel receive times."""

    def __init__(self, slots: int, size: int) -> None:
        self.slots = slots
        self.payload: U8 = np.zeros((slots, size), np.uint8)
        self.names = np.zeros(slots, SOCKADDR_IN)
        self._stamps = np.zeros(slots, _STAMP)
        self._iov = np.zeros(slots, _IOVEC)
        self._iov["base"] = _addresses(self.payload)
        self._iov["len"] = size
        self._headers = np.zeros(slots, _MMSGHDR)
        self._headers["name"] = _addresses(self.names)
        self._headers["iov"] = _addresses(self._iov)
        self._headers["iovlen"] = 1
        self._headers["control"] = _addresses(self._stamps)
        self._base = self._headers.ctypes.data
        self._filled = slots

    def receive(self, fd: int) -> int:
        """Take what is queued, up to the number of slots; 0 when nothing is there.

        A queued error of the socket (an ICMP error on a UDP socket) is taken off and counts as nothing.
        """
        used = self._headers[: self._filled]  # the kernel writes the lengths back: reset those used
        used["namelen"] = SOCKADDR_IN.itemsize
        used["controllen"] = CONTROL_BYTES
        got: int = _recvmmsg(fd, self._base, self.slots, MSG_DONTWAIT, None)
        self._filled = max(got, 0)
        if got < 0 and ctypes.get_errno() in {errno.EBADF, errno.EFAULT, errno.EINVAL}:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "recvmmsg")
        return self._filled

    def lengths(self, count: int) -> npt.NDArray[np.uint32]:
        """The sizes of the first `count` datagrams in bytes."""
        found: npt.NDArray[np.uint32] = self._headers["len"][:count]
        return found

    def times_ns(self, count: int, now_ns: int) -> I64:
        """When the kernel received each of them (CLOCK_REALTIME); `now_ns` where it gave no time."""
        stamps = self._stamps[:count]
        times: I64 = stamps["sec"] * 1_000_000_000 + stamps["nsec"]
        known = (stamps["type"] == SO_TIMESTAMPNS) & (self._headers["controllen"][:count] >= 32)
        return np.where(known, times, now_ns)


def _addresses(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """The memory address of every row of `array`."""
    step = array.strides[0]
    return np.uint64(array.ctypes.data) + np.arange(len(array), dtype=np.uint64) * np.uint64(step)
