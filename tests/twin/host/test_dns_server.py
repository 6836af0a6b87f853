"""A replica's process and sockets, on a real kernel."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import pytest

from clusters.dns_server import DnsConfig, serve
from clusters.dns_tcp import IDLE_S, MAX_CONNECTIONS, TcpSide

pytestmark = pytest.mark.twin

ADDRESS = "127.0.0.7"
SERVICE = "kubernetes.default.svc.cluster.local"
BIG = "big.graymesh.cluster.local"
CONFIG = DnsConfig(replica="dns-0", address=ADDRESS, records={SERVICE: ("10.96.0.1",)})
PATIENCE_S = 3.0


def bound() -> tuple[socket.socket, socket.socket]:
    """A replica's two sockets."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((ADDRESS, 53))
    tcp = socket.create_server((ADDRESS, 53), backlog=2048)
    return udp, tcp


@contextlib.contextmanager
def serving(*sockets: socket.socket) -> Iterator[int]:
    """A replica in a process of its own, on new sockets if none are given; its pid."""
    udp, tcp = sockets or bound()
    pid = os.fork()
    if not pid:
        try:
            serve(CONFIG, udp, tcp)
        finally:
            os._exit(0)
    udp.close()
    tcp.close()
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def asker() -> socket.socket:
    """A client's UDP socket."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE_S)
    sock.connect((ADDRESS, 53))
    return sock


def connected() -> socket.socket:
    """A client's TCP socket."""
    return socket.create_connection((ADDRESS, 53), timeout=PATIENCE_S)


def small_buffered() -> socket.socket:
    """A client's TCP socket that can hold few answers and never waits."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((ADDRESS, 53))
    sock.settimeout(0)
    return sock


def framed(query: dns.message.Message) -> bytes:
    """The query as TCP carries it."""
    return query.to_wire(prepend_length=True)


def received(sock: socket.socket) -> dns.message.Message:
    """The next answer of a TCP connection."""
    return dns.message.from_wire(exactly(sock, int.from_bytes(exactly(sock, 2))))


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def test_it_answers_over_udp_and_tcp_from_the_address_asked() -> None:
    """A connected socket hears only what comes from where it sent to."""
    query = dns.message.make_query(SERVICE, "A")

    with serving(), asker() as udp, connected() as tcp:
        udp.send(query.to_wire())
        tcp.sendall(framed(query))

        assert query.is_response(dns.message.from_wire(udp.recv(512)))
        assert query.is_response(received(tcp))


def test_what_was_asked_before_it_ran_is_answered() -> None:
    """A replica's process can be exchanged without a query lost."""
    sockets = bound()
    query = dns.message.make_query(SERVICE, "A")

    with asker() as early:
        early.send(query.to_wire())
        assert not select.select([early], [], [], 0.05)[0]
        with serving(*sockets):
            assert query.is_response(dns.message.from_wire(early.recv(512)))


def test_sigterm_ends_it_cleanly_even_with_a_client_connected() -> None:
    """The holder ends its replicas so."""
    with serving() as pid, connected() as client:
        client.sendall(framed(dns.message.make_query(SERVICE, "A")))
        received(client)

        os.kill(pid, signal.SIGTERM)

        assert os.waitpid(pid, 0) == (pid, 0)


def test_a_cut_udp_answer_comes_whole_over_tcp() -> None:
    """What a resolver does on seeing TC."""
    query = dns.message.make_query(BIG, "TXT")

    with serving(), asker() as udp, connected() as tcp:
        udp.send(query.to_wire())
        cut = dns.message.from_wire(udp.recv(4096))
        tcp.sendall(framed(query))
        whole = received(tcp)

    assert cut.flags & dns.flags.TC
    assert not whole.flags & dns.flags.TC
    assert len(whole.to_wire()) > 4096


def test_many_queries_in_one_segment_are_answered_in_order() -> None:
    """RFC 7766 pipelining, beyond what is answered in one turn; the client closes its side at once."""
    queries = [dns.message.make_query(SERVICE, "A") for _ in range(500)]

    with serving(), connected() as client:
        client.sendall(b"".join(map(framed, queries)))
        client.shutdown(socket.SHUT_WR)
        answers = [received(client) for _ in queries]
        end = client.recv(1)

    assert all(q.is_response(a) for q, a in zip(queries, answers, strict=True))
    assert end == b""


def test_a_slow_sender_holds_up_nobody_and_is_served() -> None:
    """A query may arrive byte by byte."""
    slow, quick = dns.message.make_query(SERVICE, "A"), dns.message.make_query(SERVICE, "A")

    with serving(), connected() as drip, connected() as other, asker() as udp:
        drip.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed(slow)[:-1]:
            drip.send(bytes([byte]))
        other.sendall(framed(quick))
        udp.send(quick.to_wire())

        assert quick.is_response(received(other))
        assert quick.is_response(dns.message.from_wire(udp.recv(512)))
        assert not select.select([drip], [], [], 0.05)[0]

        drip.send(framed(slow)[-1:])
        assert slow.is_response(received(drip))


def test_a_client_that_never_reads_is_not_read_from_for_ever() -> None:
    """Else its answers would fill the memory; others go on being served."""
    query = framed(dns.message.make_query(SERVICE, "A"))
    good = dns.message.make_query(SERVICE, "A")

    with serving(), small_buffered() as greedy, asker() as udp:
        sent_bytes = 0
        while sent_bytes < 32 << 20 and select.select([], [greedy], [], 0.5)[1]:
            sent_bytes += greedy.send(query * 100)
        udp.send(good.to_wire())

        assert good.is_response(dns.message.from_wire(udp.recv(512)))
        assert sent_bytes < 32 << 20  # what the kernel's buffers hold, and no more


def test_garbage_on_a_connection_hurts_only_itself() -> None:
    """An empty message, a response, half a header, then a good query: each alone."""
    good = dns.message.make_query(SERVICE, "A")
    response = dns.message.make_response(good)
    junk = b"\x00\x00" + response.to_wire(prepend_length=True) + b"\x00\x05hello"

    with serving(), connected() as client:
        client.sendall(junk + framed(good))

        assert good.is_response(received(client))


def test_a_client_gone_before_its_answer_does_not_stop_the_server() -> None:
    """Its port is closed: the kernel reports that to the server's socket, or drops it."""
    query = dns.message.make_query(SERVICE, "A")

    with serving():
        for _ in range(20):
            with asker() as gone:
                gone.send(query.to_wire())
            with connected() as reset:
                linger = b"\x01\x00\x00\x00" + bytes(4)  # close with RST
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                reset.sendall(framed(query))
        with asker() as client:
            client.send(query.to_wire())

            assert query.is_response(dns.message.from_wire(client.recv(512)))


def test_one_connection_too_many_costs_the_longest_idle_one() -> None:
    """Connections are bounded, and a newcomer is served all the same."""
    query = dns.message.make_query(SERVICE, "A")

    with serving(), contextlib.ExitStack() as opened:
        clients = [opened.enter_context(connected()) for _ in range(MAX_CONNECTIONS)]
        clients[0].sendall(framed(query))  # no longer the longest idle
        assert query.is_response(received(clients[0]))
        newcomer = opened.enter_context(connected())
        newcomer.sendall(framed(query))

        assert query.is_response(received(newcomer))
        assert clients[1].recv(1) == b""
        clients[0].sendall(framed(query))
        assert query.is_response(received(clients[0]))


def test_a_connection_without_a_whole_query_is_closed_in_time() -> None:
    """Bytes that never become a query are no progress; a query is."""
    with (
        socket.create_server((ADDRESS, 53)) as listener,
        select.epoll() as epoll,
        connected() as dripping,
        connected() as asking,
    ):
        side = TcpSide(listener, epoll, lambda query: query)
        side.accept(0.0)
        for client, data in ((dripping, b"\x00"), (asking, b"\x00\x02hi")):
            client.sendall(data)
        for fd, events in epoll.poll(1.0):
            side.on_event(fd, events, IDLE_S - 1)
        side.expire(IDLE_S + 0.5)
        dripping.settimeout(PATIENCE_S)

        assert dripping.recv(1) == b""
        assert asking.recv(4) == b"\x00\x02hi"
        asking.settimeout(0.05)
        with pytest.raises(TimeoutError):
            asking.recv(1)


def test_running_out_of_descriptors_is_survived() -> None:
    """accept(2) fails with EMFILE while the connection goes on waiting: no spinning, and served later."""
    with (
        socket.create_server((ADDRESS, 53)) as listener,
        select.epoll() as epoll,
        connected() as client,
        contextlib.ExitStack() as hoard,
    ):
        side = TcpSide(listener, epoll, lambda query: query)
        with contextlib.suppress(OSError):
            while True:
                hoard.callback(os.close, os.dup(listener.fileno()))
        side.accept(0.0)
        quiet = epoll.poll(0.05)
        hoard.close()
        side.expire(2.0)
        assert [fd for fd, _ in epoll.poll(1.0)] == [listener.fileno()]
        side.accept(2.0)
        client.sendall(b"\x00\x02hi")
        for fd, events in epoll.poll(1.0):
            side.on_event(fd, events, 2.0)

        assert quiet == []
        assert client.recv(4) == b"\x00\x02hi"
