"""Where state is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.errors import SetupError, UsageError
from clusters.places import (
    checked_name,
    make_state_dir,
    names_with_state,
    remove_state_dir,
    state_dir,
    storing,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    for name in ("GRAYMESH_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_most_particular_setting_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own variable over the desktop's over the default."""
    assert state_dir("c1") == home / ".local/state/graymesh/c1"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "xdg"))
    assert state_dir("c1") == home / "xdg/graymesh/c1"
    monkeypatch.setenv("GRAYMESH_STATE", str(home / "ours"))
    assert state_dir("c1") == home / "ours/c1"


def test_a_relative_xdg_directory_is_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG specification says so."""
    monkeypatch.setenv("XDG_STATE_HOME", "relative")

    assert state_dir("c1") == home / ".local/state/graymesh/c1"


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "/etc", "A", "-a", "a-", "a b", "ä", "x" * 64, "a\n"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    """It becomes a path that `down` removes, and a socket address."""
    with pytest.raises(UsageError, match="cluster name"):
        state_dir(name)


@pytest.mark.parametrize("name", ["default", "a", "nightly-2026.01_x", "x" * 63])
def test_usual_names_are_taken(name: str) -> None:
    """The control of the test above."""
    assert checked_name(name) == name


def test_the_directory_is_made_listed_and_removed(home: Path) -> None:
    """Asking for the path makes nothing; a second making or removing is fine."""
    assert names_with_state() == ()
    state_dir("c1")
    assert not (home / ".local").exists()

    path = make_state_dir("c1")
    (make_state_dir("c1") / "ledger").write_text("x")
    assert path.stat().st_mode & 0o777 == 0o700
    assert names_with_state() == ("c1",)

    remove_state_dir("c1")
    remove_state_dir("c1")
    assert names_with_state() == ()


def test_a_file_in_the_way_is_one_line_with_the_path_and_the_fix(home: Path) -> None:
    """Nobody should have to read a traceback to free a path."""
    (home / ".local").write_text("in the way")

    with pytest.raises(SetupError, match=r"\.local\S*: Not a directory; remove the file") as caught:
        make_state_dir("c1")

    assert "\n" not in str(caught.value)


def test_a_file_in_the_directory_s_own_place_is_told_too() -> None:
    """An existing directory is fine, an existing file is not."""
    make_state_dir("c1").parent.joinpath("c2").write_text("in the way")

    make_state_dir("c1")
    with pytest.raises(SetupError, match=r"graymesh/c2: File exists; remove the file"):
        make_state_dir("c2")


def test_errors_of_other_kinds_pass() -> None:
    """Only what the file system says is turned."""
    with pytest.raises(ZeroDivisionError), storing(Path("x")):
        raise ZeroDivisionError
