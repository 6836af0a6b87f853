"""Running commands: results, errors, time-outs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.commands import exec_argv, find_tool, run_argv
from clusters.errors import DeadlineExceededError, ExecTransportError
from clusters.waiting import Deadline, poll_until

PATIENCE_S = 10.0


def test_a_command_s_output_input_and_status_come_through() -> None:
    """A non-zero status is a result, not an error."""
    done = run_argv(
        ["sh", "-c", "cat; echo oops >&2; exit 3"], timeout_s=PATIENCE_S, stdin="hello ü"
    )

    assert (done.status, done.stdout, done.stderr) == (3, "hello ü", "oops\n")
    assert done.argv[0] == "sh"


def test_death_by_a_signal_is_128_plus_its_number() -> None:
    """As a shell has it."""
    assert run_argv(["sh", "-c", "kill -9 $$"], timeout_s=PATIENCE_S).status == 137


def test_a_command_that_reads_no_input_is_no_error() -> None:
    """The pipe breaks; that is the command's affair."""
    assert run_argv(["true"], timeout_s=PATIENCE_S, stdin="x" * 1_000_000).status == 0


def test_output_that_is_no_text_is_kept_readable() -> None:
    """Commands in a user's pod print what they like."""
    done = run_argv(["printf", r"a\377b"], timeout_s=PATIENCE_S)

    assert done.stdout == "a�b"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["no-such-program-here", "x"], "`no-such-program-here x`: No such file or directory"),
        (["/etc"], "`/etc`: Permission denied"),
        (["true", "a\0b"], "null byte"),
        (["true", "x" * 10_000_000], "Argument list too long"),
    ],
)
def test_what_cannot_be_started_says_why(argv: list[str], reason: str) -> None:
    """Could not ask is not a result."""
    with pytest.raises(ExecTransportError, match=reason):
        run_argv(argv, timeout_s=PATIENCE_S)


def test_no_shell_comes_between() -> None:
    """Words arrive as they are."""
    done = run_argv(["printf", "%s|", "$HOME", "a b", ";"], timeout_s=PATIENCE_S)

    assert done.stdout == "$HOME|a b|;|"


def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    """The error says what, for how long, and what it last said; no process stays."""
    pid_file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid_file}; echo almost there; wait"

    with pytest.raises(DeadlineExceededError, match=r"within 0\.3 s.*last said: 'almost there'"):
        run_argv(["sh", "-c", script], timeout_s=0.3)

    pid = int(pid_file.read_text())
    poll_until(
        lambda: not Path(f"/proc/{pid}").exists(),
        awaited="the grandchild to be gone",
        deadline=Deadline.after(PATIENCE_S),
    )


def test_a_grandchild_that_left_the_group_does_not_hold_up_the_error(tmp_path: Path) -> None:
    """It keeps the pipes open; waiting for it would break the time-out's promise."""
    pid_file = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 60' & wait"
    deadline = Deadline.after(PATIENCE_S)

    with pytest.raises(DeadlineExceededError, match="last said: nothing"):
        run_argv(["sh", "-c", script], timeout_s=0.3)

    assert deadline.left_s() > PATIENCE_S - 5
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_system_directories_are_searched_although_path_lacks_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ordinary user's PATH often has no sbin, where ip and iptables are."""
    monkeypatch.setenv("PATH", "/nowhere")

    assert run_argv(["iptables-save", "--version"], timeout_s=PATIENCE_S).status == 0
    assert find_tool("iptables-save")
    assert find_tool("no-such-program-here") is None
    with pytest.raises(ExecTransportError):
        run_argv(["iptables-save"], timeout_s=PATIENCE_S, env={"PATH": "/nowhere"})


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -15 $$", 143)])
def test_exec_passes_streams_and_status_through(
    script: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """`graymesh exec` is transparent."""
    assert exec_argv(["sh", "-c", f"echo out; echo err >&2; {script}"]) == status
    assert capfd.readouterr() == ("out\n", "err\n")


def test_exec_of_what_does_not_exist_is_a_transport_error_and_leaves_signals_alone() -> None:
    """Signals that were blocked for the wait must not stay blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with pytest.raises(ExecTransportError, match="No such file or directory"):
        exec_argv(["no-such-program-here"])

    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


EXEC = "import sys; from clusters.commands import exec_argv; sys.exit(exec_argv(sys.argv[1:]))"
COUNT = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
count, patience_s = 0, 5.0
while signal.sigtimedwait([signal.SIGINT], patience_s):
    count, patience_s = count + 1, 0.3
    print("got", count, flush=True)
sys.exit(40 + count)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sent_to_exec_reaches_the_command(sent: signal.Signals) -> None:
    """Whoever stops graymesh stops the command, and gets its status."""
    script = f"trap 'exit 9' {sent.name[3:]}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-c", EXEC, "sh", "-c", script], stdout=subprocess.PIPE
    ) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == b"ready\n"

        outer.send_signal(sent)

        assert outer.wait(PATIENCE_S) == 9


def test_ctrl_c_on_the_terminal_reaches_the_command_once() -> None:
    """The terminal gives it to the whole group; forwarding would double it, and two mean "at once" to many programs."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", EXEC, sys.executable, "-c", COUNT])  # noqa: S606

    said = b""
    for wanted in (b"ready", b"got 1", b"got 2"):
        while wanted not in said:
            said += os.read(terminal, 1000)
        os.write(terminal, b"\x03")

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 43
    os.close(terminal)
