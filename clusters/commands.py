"""Commands run inside namespaces; the only importer of subprocess in this package."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from clusters import netns
from clusters.errors import DeadlineExceededError, ExecTransportError
from clusters.providers.base import Completed

_SBIN: Final = (
    "/usr/local/sbin:/usr/sbin:/sbin"  # where ip and iptables are, often not on a user's PATH
)
_DRAIN_S: Final = 0.5  # how long the pipes of a killed group may take to close
_SAID_CHARS: Final = 200
_FORWARDED: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_FROM_KERNEL: Final = 0x80  # si_code SI_KERNEL: typed on the terminal, so the child has had it too


def find_tool(name: str) -> str | None:
    """The path of a program as the commands here would find it; None where there is none."""
    return shutil.which(name, path=_environment()["PATH"])


def run_argv(
    argv: Sequence[str],
    *,
    netns_fd: int | None = None,
    mountns_fd: int | None = None,
    timeout_s: float,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a command to its end inside these namespaces, without a shell; a non-zero status is a result.

    A command that died of signal n has status 128 + n. `env` replaces this process's environment. Raises ExecTransportError where it cannot be started and
    DeadlineExceededError after `timeout_s`; then its process group has been killed.
    """
    with _spawned(argv), _inside(netns_fd):
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # Between fork and exec this calls setns and chdir only: no lock another thread could hold.
            preexec_fn=_entering(mountns_fd),  # noqa: PLW1509
            env=_environment() if env is None else env,
        )
    try:
        out, err = process.communicate(stdin.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise _overdue(argv, timeout_s, _killed(process)) from None
    finally:
        if process.poll() is None:  # interrupted: nothing outlives its block
            _killed(process)
    return Completed(
        argv=tuple(argv),
        status=_shell_status(process.returncode),
        stdout=out.decode(errors="replace"),
        stderr=err.decode(errors="replace"),
    )


def exec_argv(
    argv: Sequence[str],
    *,
    netns_fd: int | None = None,
    mountns_fd: int | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a command on this process's own terminal and streams; its exit status as a shell has it.

    SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the command, and this process lives until the command ends. For the main
    thread. Raises ExecTransportError where it cannot be started.
    """
    watched = _FORWARDED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        with _spawned(argv), _inside(netns_fd):
            process = subprocess.Popen(
                list(argv),
                preexec_fn=functools.partial(_unblock, before, _entering(mountns_fd)),  # noqa: PLW1509
                env=_environment() if env is None else env,
            )
        return _shell_status(_attended(process, watched))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """This process's environment, with the system directories at the end of PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"}


def _attended(process: subprocess.Popen[bytes], watched: frozenset[signal.Signals]) -> int:
    """Wait for the child, handing on what others send to this process meanwhile."""
    while process.poll() is None:
        got = signal.sigwaitinfo(watched)
        if got.si_signo in _FORWARDED and got.si_code != _FROM_KERNEL:
            process.send_signal(got.si_signo)
    return process.returncode


@contextlib.contextmanager
def _inside(netns_fd: int | None) -> Iterator[None]:
    if netns_fd is None:
        yield
        return
    with netns.home_kept():
        netns.setns(netns_fd)
        yield


def _entering(mountns_fd: int | None) -> Callable[[], None] | None:
    """What the child does before exec. A mount namespace cannot be entered by a process with threads, its child can."""
    if mountns_fd is None:
        return None
    return functools.partial(_enter_mounts, mountns_fd)


def _enter_mounts(fd: int) -> None:
    here = Path.cwd()
    netns.setns(
        fd, netns.CLONE_NEWNS
    )  # setns(2): this also moves the process to the root directory
    with contextlib.suppress(OSError):
        os.chdir(here)


def _unblock(mask: set[int | signal.Signals], then: Callable[[], None] | None) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if then is not None:
        then()


@contextlib.contextmanager
def _spawned(argv: Sequence[str]) -> Iterator[None]:
    command = shlex.join(argv)
    try:
        yield
    except subprocess.SubprocessError as exc:  # what Popen makes of an error in preexec_fn
        raise ExecTransportError(f"cannot run `{command}`: its mount namespace is gone") from exc
    except (OSError, ValueError) as exc:
        raise ExecTransportError(f"cannot run `{command}`: {_reason(exc, argv)}") from exc


def _reason(exc: OSError | ValueError, argv: Sequence[str]) -> str:
    if not isinstance(exc, OSError) or exc.errno is None:
        return str(exc)  # such as "embedded null byte"
    text = os.strerror(exc.errno)
    return text if exc.filename in {None, *argv[:1]} else f"{text}: {exc.filename}"


def _killed(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Kill the child's process group and reap it; what it wrote until then.

    Descendants that left the group may keep the pipes open: they are not waited for.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_DRAIN_S)
    except subprocess.TimeoutExpired as exc:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
        return exc.output or b"", exc.stderr or b""


def _overdue(
    argv: Sequence[str], timeout_s: float, said: tuple[bytes, bytes]
) -> DeadlineExceededError:
    out, err = (part.decode(errors="replace").strip() for part in said)
    last = repr((err or out)[-_SAID_CHARS:]) if err or out else "nothing"
    return DeadlineExceededError(
        f"`{shlex.join(argv)}` did not end within {timeout_s:g} s and was killed; it last said: {last}"
    )


def _shell_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
