"""The account of a run: phases, signals, the run folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from clusters.errors import InterruptedRunError, SetupError, UsageError
from clusters.providers.base import ClusterSpec
from suites.child import call
from suites.cli.boundary import Boundary
from suites.console import Console
from suites.interrupts import Interrupts
from suites.phases import Phases, UnexpectedError
from suites.record import Record, RunRequest
from suites.report.folder import RunFolder, read_verdict
from suites.report.run_document import run_document
from suites.scenarios import SCENARIOS


@pytest.fixture
def record() -> Record:
    """A run that has only just begun."""
    return Record(
        request=RunRequest(
            scenario=SCENARIOS["healthy"],
            run_id="run-1",
            seed=1,
            spec=ClusterSpec(name="run-1"),
            words=("run", "healthy", "--seed", "1"),
        )
    )


def _signal(number: signal.Signals) -> None:
    """Send a signal to this process; it is handled before the next line of Python runs."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_raises_and_later_ones_do_not(number: signal.Signals) -> None:
    """A second Ctrl-C must not skip the clean-up that the first has started."""
    interrupts = Interrupts()

    with interrupts.installed():
        with pytest.raises(KeyboardInterrupt, match=number.name):
            _signal(number)
        _signal(number)
        _signal(signal.SIGTERM)

    assert str(interrupts.acknowledge()) == f"interrupted by {number.name}"


def test_a_signal_that_somebody_swallowed_is_raised_again_until_acknowledged() -> None:
    """Python drops what a handler raises inside a finalizer, for one."""
    interrupts = Interrupts()

    with interrupts.installed():
        with contextlib.suppress(KeyboardInterrupt):
            _signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.acknowledge()
        interrupts.check()


def test_a_signal_inside_a_shield_is_raised_after_it() -> None:
    """Undo runs to its end; the run still ends as interrupted."""
    done = []
    interrupts = Interrupts()

    with interrupts.installed(), pytest.raises(KeyboardInterrupt):  # noqa: PT012  # the order is the point
        with interrupts.shielded():
            _signal(signal.SIGTERM)
            done.append("undone")
        done.append("never")

    assert done == ["undone"]


def test_a_failure_inside_a_shield_is_not_hidden_by_the_signal() -> None:
    """What clean-up says counts more than that somebody was impatient."""
    interrupts = Interrupts()

    with (  # noqa: PT012  # the order is the point
        interrupts.installed(),
        pytest.raises(SetupError, match="undo broke"),
        interrupts.shielded(),
    ):
        _signal(signal.SIGINT)
        raise SetupError("undo broke")


def test_handlers_are_put_back() -> None:
    """Pytest's own Ctrl-C, for one."""
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().installed():
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before


def test_a_phase_keeps_how_it_ended(record: Record) -> None:
    """Done, failed with its text, interrupted; an unforeseen error becomes an expected one with its trace kept."""
    said = StringIO()
    phases = Phases(
        record=record,
        console=Console(stream=said, live=False),
        interrupts=Interrupts(),
        folder=None,
    )

    with phases.run_phase("one") as note:
        note.detail = "fine"
    with pytest.raises(SetupError), phases.run_phase("two"):
        raise SetupError("no room")
    with pytest.raises(InterruptedRunError), phases.run_phase("three"):
        raise KeyboardInterrupt
    with (
        pytest.raises(UnexpectedError, match="phase four: ZeroDivisionError"),
        phases.run_phase("four"),
    ):
        _ = 1 // 0

    assert [(one.name, one.outcome) for one in record.phases] == [
        ("one", "done"),
        ("two", "failed"),
        ("three", "interrupted"),
        ("four", "failed"),
    ]
    assert record.phases[1].detail == "no room"
    assert "Traceback" in record.phases[3].detail
    assert "one done in" in said.getvalue()


def test_progress_is_only_drawn_on_a_terminal() -> None:
    """A log file holds plain lines; a terminal's half line is cleared before the next one."""
    plain, live = StringIO(), StringIO()
    for stream, on in ((plain, False), (live, True)):
        console = Console(stream=stream, live=on)
        console.progress("50 %")
        console.step("done")
        console.finish()

    assert plain.getvalue() == "done\n"
    assert live.getvalue() == "\r\x1b[K50 %\r\x1b[Kdone\n"


def test_a_closed_stderr_does_not_end_anything() -> None:
    """A run that has something to undo must not die of a log line."""
    stream = StringIO()
    stream.close()

    Console(stream=stream, live=True).step("still here")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("bad\nname"), 2, "graymesh: bad name\n"),
        (KeyboardInterrupt(), 130, "graymesh: interrupted\n"),
        (
            OSError(28, "No space left on device", "x"),
            4,
            "graymesh: the system refused: [Errno 28]",
        ),
        (KeyError("x"), 4, "graymesh: internal error: KeyError('x') at test_running.py:"),
    ],
)
def test_whatever_ends_a_verb_is_one_line_with_an_exit_code(
    error: BaseException, code: int, line: str
) -> None:
    """Never a traceback, unless one is asked for."""
    said = StringIO()
    boundary = Boundary(console=Console(stream=said, live=False))
    with boundary:
        raise error

    assert boundary.exit_code == code
    assert said.getvalue().startswith(line)
    assert said.getvalue().count("\n") == 1
    loud = StringIO()
    with Boundary(console=Console(stream=loud, live=False), debug=True):
        raise error
    assert "Traceback" in loud.getvalue()


def test_a_run_folder_holds_all_forms_events_and_evidence(tmp_path: Path, record: Record) -> None:
    """And `report` shows it again."""
    folder = RunFolder(tmp_path / "out", "run-1")
    folder.event("phase-begins", phase="control")
    folder.evidence("tables-before", {"nodes": {}})
    document = run_document(record)
    folder.finish(document)

    names = {str(one.relative_to(folder.path)) for one in folder.path.rglob("*") if one.is_file()}
    assert names == {
        "events.jsonl",
        "evidence/tables-before.json",
        "junit.xml",
        "report.txt",
        "verdict.json",
    }
    (event,) = (folder.path / "events.jsonl").read_text().splitlines()
    assert json.loads(event)["event"] == "phase-begins"
    assert read_verdict(folder.path) == document
    assert folder.incomplete is None


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Only a new, an empty or an earlier run's directory is taken."""
    RunFolder(tmp_path / "mine", "run-1")
    RunFolder(tmp_path / "mine", "run-2")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("")

    with pytest.raises(UsageError, match="holds other files"):
        RunFolder(tmp_path / "theirs", "run-1")
    with pytest.raises(UsageError, match="--out: cannot write"):
        RunFolder(tmp_path / "theirs" / "thesis.tex", "run-1")
    assert [one.name for one in (tmp_path / "theirs").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Invalid JSON"),
        (b'{"schema": "graymesh/verdict/1"', "Invalid JSON"),
        (b'{"schema": "graymesh/verdict/2"}', "schema: Input should be 'graymesh/verdict/1'"),
        (b"[1, 2]", "Input should be"),
        (b"\xff\xfe", "Invalid JSON"),
    ],
)
def test_a_damaged_run_folder_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes, says: str
) -> None:
    """Truncated, of a newer schema, or no document at all."""
    (tmp_path / "verdict.json").write_bytes(content)

    with pytest.raises(UsageError, match="is no graymesh/verdict/1 document") as caught:
        read_verdict(tmp_path)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_call_reads_the_document_and_keeps_what_was_said() -> None:
    """A child's stdout is its document; its exit code passes through."""
    good = call(["list", "scenarios"], quiet=True)
    bad = call(["run", "nosuch"], quiet=True)

    assert good.exit_code == 0
    assert good.document["schema"] == "graymesh/scenarios/1"
    assert bad.exit_code == 2
    assert "unknown scenario 'nosuch'" in bad.said
    with pytest.raises(SetupError, match="unknown verb 'nosuch'"):
        call(["nosuch"], quiet=True)


def test_the_command_is_found_whatever_directory_it_is_called_from(tmp_path: Path) -> None:
    """A user's own package called `clusters` does not get in the way."""
    (tmp_path / "clusters.py").write_text("raise RuntimeError('not me')\n")
    script = (
        "from suites.child import call; print(call(['list', 'scenarios'], quiet=True).exit_code)"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "0\n"
