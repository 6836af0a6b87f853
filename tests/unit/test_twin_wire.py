"""Messages between holder and client, without either."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from clusters.errors import UsageError
from clusters.providers.twin.server import Args
from clusters.providers.twin.wire import Inbox, Outbox, WireError, encoded, send_with_fds

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one stream."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.settimeout(0)
        yield ours, theirs


def test_messages_come_whole_however_the_bytes_arrive(pair: Pair) -> None:
    """A stream has no borders."""
    ours, theirs = pair
    inbox = Inbox()
    data = encoded({"a": 1}) + encoded({"b": [2, None]})
    seen = []

    for byte in data:
        ours.send(bytes([byte]))
        assert inbox.receive(theirs)
        while (message := inbox.message()) is not None:
            seen.append(message)

    assert seen == [{"a": 1}, {"b": [2, None]}]


def test_the_end_of_the_stream_is_said(pair: Pair) -> None:
    """A holder that went away must be noticed at once."""
    ours, theirs = pair
    ours.close()

    assert not Inbox().receive(theirs)


def test_descriptors_arrive_with_their_message(pair: Pair) -> None:
    """How a client gets into namespaces that have no name."""
    ours, theirs = pair
    reader, writer = os.pipe()
    send_with_fds(ours, encoded({"fds": 1}), (writer,))
    os.close(writer)
    inbox = Inbox()

    inbox.receive(theirs)
    (received,) = inbox.take_fds(1)
    os.write(received, b"x")

    assert os.read(reader, 1) == b"x"
    with pytest.raises(WireError, match="missing"):
        inbox.take_fds(1)
    os.close(received)
    os.close(reader)


@pytest.mark.parametrize("line", [b"{", b"[1]", b"7", b"\xff", b"[" * 50_000])
def test_what_is_no_json_object_is_refused(pair: Pair, line: bytes) -> None:
    """Also nesting that would exhaust the parser's stack."""
    ours, theirs = pair
    ours.send(line + b"\n")
    inbox = Inbox()
    inbox.receive(theirs)

    with pytest.raises(WireError):
        inbox.message()


def test_a_line_without_end_is_refused(pair: Pair) -> None:
    """Memory is not a client's to fill."""
    ours, theirs = pair
    inbox = Inbox(limit_bytes=1000)
    ours.send(b"x" * 1001)

    with pytest.raises(WireError, match="too long"):
        inbox.receive(theirs)


def test_what_the_socket_does_not_take_waits(pair: Pair) -> None:
    """A slow reader costs the holder nothing but memory for one answer."""
    ours, theirs = pair
    outbox, inbox = Outbox(), Inbox()
    message = {"value": "x" * 3_000_000}
    outbox.put(message)

    assert not outbox.flush(ours)
    assert not outbox.empty
    while not outbox.flush(ours):
        inbox.receive(theirs)
    while (received := inbox.message()) is None:
        inbox.receive(theirs)

    assert outbox.empty
    assert received == message


@pytest.mark.parametrize("mac", ["02:00:00:00:00:01", "FE:FF:FF:FF:FF:FF"])
def test_a_unicast_mac_is_accepted_in_lower_case(mac: str) -> None:
    """Entries are compared as text."""
    assert Args({"mac": mac}).optional_mac("mac") == mac.lower()


@pytest.mark.parametrize(
    "mac", ["", "02", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:01\n"]
)
def test_a_mac_no_device_can_have_is_refused(mac: str) -> None:
    """The kernel's EADDRNOTAVAIL would come after the device has gone."""
    with pytest.raises(UsageError, match="mac: expected"):
        Args({"mac": mac}).optional_mac("mac")


def test_an_absent_mac_is_none() -> None:
    """None lets the agent draw one."""
    assert Args({}).optional_mac("mac") is None
    assert Args({"mac": None}).optional_mac("mac") is None
