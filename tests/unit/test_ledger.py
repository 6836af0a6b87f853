"""The ledger keeps what it acknowledged, whatever happens to its last line."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.errors import SetupError, UsageError
from clusters.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One whose directories do not exist yet."""
    return Ledger(tmp_path / "state" / "fake" / "ledger.jsonl")


def test_records_come_back_in_the_order_written(ledger: Ledger) -> None:
    """Undo runs backwards through them: the order is the meaning."""
    for number in range(3):
        ledger.append({"number": number})

    assert [record["number"] for record in ledger.replay()] == [0, 1, 2]


def test_a_ledger_without_a_file_is_empty(ledger: Ledger) -> None:
    """Nothing was injected yet: that is no error."""
    assert ledger.replay() == ()
    assert ledger.size_bytes() is None


def test_a_torn_last_line_is_no_record(ledger: Ledger) -> None:
    """A crash in the middle of an append: its effect had not begun, so the record need not count."""
    ledger.append({"number": 1})
    with ledger.path.open("ab") as file:
        file.write(b'{"number": 2')

    assert ledger.replay() == ({"number": 1},)


def test_the_append_after_a_torn_line_starts_afresh(ledger: Ledger) -> None:
    """Glued to the torn line, the new record would be lost with it."""
    ledger.append({"number": 1})
    with ledger.path.open("ab") as file:
        file.write(b'{"number": 2')

    ledger.append({"number": 3})

    assert ledger.replay() == ({"number": 1}, {"number": 3})


def test_a_last_line_that_only_lacks_its_newline_is_no_record(ledger: Ledger) -> None:
    """It was not acknowledged; taking it now and losing it at the next append would be two truths."""
    ledger.append({"number": 1})
    with ledger.path.open("ab") as file:
        file.write(json.dumps({"number": 2}).encode())

    seen = ledger.replay()
    ledger.append({"number": 3})

    assert seen == ({"number": 1},)
    assert ledger.replay() == ({"number": 1}, {"number": 3})


@pytest.mark.parametrize("damage", [b"not json\n", b"[1]\n", b"\n", b"\x00\x00\n"])
def test_a_damaged_whole_line_is_refused_with_its_number(ledger: Ledger, damage: bytes) -> None:
    """No crash writes that; to skip it could mean to forget an undo."""
    ledger.append({"number": 1})
    before = ledger.replay()
    with ledger.path.open("ab") as file:
        file.write(damage)

    with pytest.raises(SetupError, match="line 2 is no ledger record"):
        ledger.replay()

    assert before == ({"number": 1},)


def test_a_disk_that_fills_up_in_the_middle_of_a_record_leaves_the_ledger_as_it_was(
    ledger: Ledger,
) -> None:
    """The engine must know that nothing is recorded before it does anything."""
    ledger.append({"number": 1})
    size = ledger.path.stat().st_size

    with _files_limited_to(size + 20), pytest.raises(SetupError, match=r"ledger\.jsonl"):
        ledger.append({"number": 2, "filling": "x" * 100})

    assert ledger.path.stat().st_size == size
    ledger.append({"number": 3})
    assert ledger.replay() == ({"number": 1}, {"number": 3})


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """A state directory that somebody put a file in the place of."""
    (tmp_path / "state").write_text("")

    with pytest.raises(SetupError, match=r"cannot use .*state.*: .*GRAYMESH_STATE") as caught:
        Ledger(tmp_path / "state" / "fake" / "ledger.jsonl").append({"number": 1})

    assert "\n" not in str(caught.value)


def test_an_append_is_on_the_disk_when_it_returns(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable: fsync of the file for each record, of its directories when it is made (fsync(2))."""
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)

    ledger.append({"number": 1})
    first = list(synced)
    synced.clear()
    ledger.append({"number": 2})

    assert first == ["fake", "state", "ledger.jsonl"]
    assert synced == ["ledger.jsonl"]


def test_the_ledger_is_private_to_its_user(ledger: Ledger) -> None:
    """It says what will be run on which node."""
    ledger.append({"number": 1})

    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert ledger.path.parent.stat().st_mode & 0o777 == 0o700


def test_removing_is_idempotent(ledger: Ledger) -> None:
    """A kill between the last record and the removal makes it happen twice."""
    ledger.append({"number": 1})

    ledger.remove()
    ledger.remove()

    assert ledger.replay() == ()


def test_a_cluster_has_its_own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a name that could leave the state directory has none."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path))

    assert Ledger.of("one").path == tmp_path / "one" / "ledger.jsonl"
    with pytest.raises(UsageError, match="cluster name"):
        Ledger.of("../one")


@contextmanager
def _files_limited_to(size_bytes: int) -> Iterator[None]:
    """Writes beyond that fail, after as much as fits, as on a full disk (setrlimit(2), RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
