"""Recovering a cluster that is gone; the rest needs one that is there (tests/twin/chaos)."""

from pathlib import Path

import pytest

from chaos.engine import recover, revert
from chaos.fake import FakeCluster
from chaos.fake_bench import Bench
from clusters.errors import ClusterBusyError, SetupError
from clusters.ledger import Ledger
from clusters.lock import held
from clusters.places import state_dir


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State of the test's own."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "state"))


def broken() -> Ledger:
    """A ledger that a cluster which is gone has left."""
    ledger = Ledger.of("fake-and-gone")
    Bench(FakeCluster(), ledger).engine().inject("founding", {"victim": "n0", "peers": "n1"})
    return ledger


def test_a_cluster_that_left_nothing_has_nothing_to_recover() -> None:
    """And nothing is left of having asked."""
    report = recover("fake-and-gone")

    assert report.note == "nothing was left open"
    assert not state_dir("fake-and-gone").exists()


def test_what_was_injected_is_gone_with_its_cluster() -> None:
    """The ledger is removed, with a note; a second time there is nothing."""
    ledger = broken()

    report = recover("fake-and-gone")

    assert "the cluster is gone" in report.note
    assert report.undone == ()
    assert ledger.size_bytes() is None
    assert recover("fake-and-gone").note == "nothing was left open"


def test_a_damaged_ledger_of_a_cluster_that_is_gone_goes_too() -> None:
    """There is nothing that it could be needed for."""
    ledger = broken()
    with ledger.path.open("ab") as file:
        file.write(b"damage\n")

    with pytest.raises(SetupError, match="no ledger record"):
        ledger.replay()
    recover("fake-and-gone")

    assert ledger.size_bytes() is None


def test_a_timer_whose_cluster_is_gone_removes_the_ledger() -> None:
    """It is the last to leave."""
    ledger = broken()
    (line, *_) = ledger.replay()

    revert("fake-and-gone", str(line["id"]))

    assert ledger.size_bytes() is None


def test_while_another_holds_the_lock_nothing_is_recovered() -> None:
    """That process may be in the middle of its own undo."""
    ledger = broken()
    (line, *_) = ledger.replay()

    with held("fake-and-gone", "run r-1"):
        with pytest.raises(ClusterBusyError, match="run r-1"):
            recover("fake-and-gone")
        with pytest.raises(ClusterBusyError, match="run r-1"):
            revert("fake-and-gone", str(line["id"]))

    assert ledger.size_bytes()
