"""The write-ahead ledger: an append-only file of JSON lines that outlives a crash at any byte."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from clusters.errors import SetupError
from clusters.places import state_dir, storing

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Record = Mapping[str, Json]

_FILE: Final = "ledger.jsonl"


class Ledger:
    """One file of records. Who writes holds the cluster's lock (clusters.lock); reading needs none.

    A record counts once its line, newline included, is on the disk: `append` returns only then. What a crash left
    of a last line is no record; the next append cuts it off, so it never runs into a later one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, cluster: str) -> Self:
        """The ledger of the cluster of that name; the file need not exist. Raises UsageError for an impossible name."""
        return cls(state_dir(cluster) / _FILE)

    def append(self, record: Record) -> None:
        """Add one record and return when it is on the disk.

        Raises SetupError where it cannot be written, a full disk for one; the ledger is then as it was before.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with storing(self.path):
            fd = self._opened()
            try:
                self._write(fd, line)
            finally:
                os.close(fd)

    def replay(self) -> tuple[Record, ...]:
        """All records in the order written; none where there is no file.

        Raises SetupError where a whole line is no record: that is damage, not a crash, and must not be guessed about.
        """
        with storing(self.path):
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                return ()
        lines = data.split(b"\n")[
            :-1
        ]  # what follows the last newline is a line cut short, or nothing
        return tuple(self._parsed(number, line) for number, line in enumerate(lines, 1))

    def size_bytes(self) -> int | None:
        """How long the file is, to notice that it grew without reading it; None where there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return None

    def remove(self) -> None:
        """Delete the file; fine where it is absent. Raises SetupError."""
        with storing(self.path):
            self.path.unlink(missing_ok=True)
            if self.path.parent.is_dir():
                _sync_directory(self.path.parent)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, flags | os.O_CREAT, 0o600)
            _sync_directory(self.path.parent)
            _sync_directory(self.path.parent.parent)
            return fd

    def _write(self, fd: int, line: bytes) -> None:
        """Append after the last whole line; on any error cut back to it."""
        end = _whole_bytes(fd)
        try:
            if os.fstat(fd).st_size != end:
                os.ftruncate(fd, end)
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, end)
            raise

    def _parsed(self, number: int, line: bytes) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            return record
        raise SetupError(
            f"{self.path}, line {number} is no ledger record: nothing was undone from it;"
            " look at the file, and delete it once the cluster is as it should be"
        )


def _whole_bytes(fd: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(fd).st_size
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return size
    return os.pread(fd, size, 0).rfind(b"\n") + 1


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable (fsync(2): a new file's entry needs its own)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
