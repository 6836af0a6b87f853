"""The process that is a twin: forked by `up`, it holds every namespace until it is told to end.

Between caller and holder runs one socket pair while the twin is made: lines "progress …", "ready" or "error …"
one way, one byte back when "ready" has been read. Whoever vanishes too early ends the other's part.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from clusters.errors import GraymeshError, SetupError, UsageError
from clusters.providers.base import ClusterSpec
from clusters.providers.twin import host, namespaces
from clusters.providers.twin.link import reap
from clusters.providers.twin.loop import Loop
from clusters.providers.twin.processes import close_all_but, die_with_parent, fork, set_name
from clusters.providers.twin.server import Server
from clusters.providers.twin.twin import Twin
from clusters.providers.twin.verbs import verbs

_BACKLOG: Final = 128


def start(spec: ClusterSpec, progress: Callable[[str], None]) -> None:
    """Fork the holder and wait until its twin is ready. Raises UsageError, SetupError; nothing is left then."""
    caller = os.getpid()
    listener = host.new_socket()
    ours, theirs = socket.socketpair()
    with listener, ours:
        pid = fork()
        if not pid:
            _live(spec, listener, theirs, caller)
        theirs.close()
        ready = False
        try:
            _await_ready(ours, progress)
            ready = True
        finally:
            ours.close()
            if not ready:
                _end(pid)
            reap(pid)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _await_ready(ours: socket.socket, progress: Callable[[str], None]) -> None:
    with ours.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            kind, _, text = line.rstrip("\n").partition(" ")
            if kind == "ready":
                ours.send(b"!")
                return
            if kind == "progress":
                progress(text)
            else:
                raise (UsageError if kind == "usage" else SetupError)(text)
    raise SetupError("the twin's holder died while the twin was being made")


def _live(
    spec: ClusterSpec, listener: socket.socket, caller: socket.socket, caller_pid: int
) -> NoReturn:
    """The child's whole life. Never returns into the frames it was forked from."""
    status = 1
    try:
        _detach(listener, caller)
        die_with_parent(caller_pid, signal.SIGTERM)
        _hold(spec, listener, caller)
        status = 0
    except GraymeshError as exc:
        kind = "usage" if isinstance(exc, UsageError) else "error"
        _tell(caller, kind, str(exc))
    except OSError as exc:
        _tell(caller, "error", f"the twin could not be made: {exc}")
    finally:
        if sys.exc_info()[0] not in {None, SystemExit}:
            _tell(caller, "error", f"the twin's holder failed: {traceback.format_exc()!r}")
        os._exit(status)


def _detach(listener: socket.socket, caller: socket.socket) -> None:
    """Leave the caller's session, streams and descriptors. What the caller's objects held must not be closed twice."""
    gc.freeze()
    os.setsid()
    set_name("graymesh-twin")
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _on_term)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every namespace costs a descriptor
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    close_all_but((listener.fileno(), caller.fileno()))
    os.chdir("/")


def _on_term(_number: int, _frame: object) -> NoReturn:
    raise SystemExit


def _hold(spec: ClusterSpec, listener: socket.socket, caller: socket.socket) -> None:
    _claim(spec.name, listener)
    loop = Loop()
    if spec.owner_pid is not None:
        loop.watch(_pidfd(spec.owner_pid), loop.stop)
    namespaces.enter_private(user=namespaces.needs_user_namespace())
    twin = Twin(spec, loop)
    try:
        twin.build(lambda text: caller.sendall(f"progress {text}\n".encode()))
        Server(loop=loop, listener=listener, verbs=verbs(twin, loop)).start()
        caller.sendall(b"ready\n")
        if not caller.recv(1):
            return
        die_with_parent(0, 0)
        caller.close()
        loop.run()
    finally:
        twin.end()


def _claim(name: str, listener: socket.socket) -> None:
    """The name is taken by binding it: of two that try, the kernel refuses one."""
    try:
        listener.bind(host.address_of(name))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise UsageError(f"name: a twin called {name!r} exists already") from exc
        raise
    listener.listen(_BACKLOG)


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as exc:
        raise SetupError(f"the owner, pid {pid}, is gone") from exc


def _tell(caller: socket.socket, kind: str, text: str) -> None:
    with contextlib.suppress(OSError):
        caller.sendall(f"{kind} {' '.join(text.split())}\n".encode())
