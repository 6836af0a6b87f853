"""Runs every test here in a child with network, mount and (without root) user namespaces of its own."""

from __future__ import annotations

import os
import sys
import traceback

import pytest

from clusters.netlink import Netlink
from clusters.netlink.requests import set_link
from clusters.providers.twin.namespaces import enter_private, needs_user_namespace


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Call the test in the child, where it may change what it likes; its failure comes back as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _run(pyfuncitem, writer)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as said:
        failure = said.read()
    _, status = os.waitpid(pid, 0)
    if status:
        pytest.fail(failure or f"the test's process ended with wait status {status}", pytrace=False)
    return True


def _run(item: pytest.Function, writer: int) -> None:
    status = 1
    try:
        enter_private(user=needs_user_namespace())
        with Netlink.open_here() as link:
            link.apply([set_link("lo", up=True)], doing="lo up")
        wanted = item._fixtureinfo.argnames
        item.obj(**{name: item.funcargs[name] for name in wanted})
        status = 0
    finally:
        if status:
            os.write(
                writer, "".join(traceback.format_exception(sys.exception())).encode()[-60_000:]
            )
        os._exit(status)
