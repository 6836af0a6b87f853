"""One pod per node with a UDP socket in its namespace, followed through rebuilds of the node."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from clusters.errors import ClusterGoneError
from clusters.netns import inside
from clusters.providers.base import Cluster
from probes.loop import Loop
from probes.mmsg import I64
from probes.plan import representatives
from probes.sockets import RECEIVE_BUFFER_BYTES, datagram_socket


@dataclass(slots=True, kw_only=True)
class Seat:
    """One node's pod. `sock` is None while its namespace does not exist; `inode` tells namespaces apart."""

    number: int
    node: str
    pod: str
    sock: socket.socket | None = None
    inode: int = 0

    def fileno(self) -> int:
        """The socket's descriptor."""
        assert self.sock is not None
        return self.sock.fileno()


_Collect = Callable[[Seat, int], None]


class Seats:
    """All nodes' seats with their addresses and ports (0 where closed), by seat number."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        chosen = representatives(cluster.inventory(), seed)
        self._seats = [
            Seat(number=number, node=node, pod=pod.name)
            for number, (node, pod) in enumerate(chosen.items())
        ]
        self.addresses: npt.NDArray[np.uint32] = np.zeros(len(self._seats), np.uint32)
        self.ports: npt.NDArray[np.uint16] = np.zeros(len(self._seats), np.uint16)

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats)

    def open(self) -> list[Seat]:
        """Those that have a socket."""
        return [seat for seat in self._seats if seat.sock is not None]

    def goals(self, seat: Seat) -> I64:
        """The numbers of all other seats that can be sent to."""
        reachable = self.ports != 0
        reachable[seat.number] = False
        return np.flatnonzero(reachable)

    def open_all(self, loop: Loop, collect: _Collect) -> None:
        """Open every seat whose namespace exists."""
        self.renew(self._seats, loop, collect)

    def renew(self, seats: Iterable[Seat], loop: Loop, collect: _Collect) -> None:
        """Close seats whose namespace is gone, open those that have one (again)."""
        opened = [seat for seat in seats if self._renew(seat, loop, collect)]
        if opened:
            self._learn_addresses()

    def close(self, loop: Loop) -> None:
        """Close every socket."""
        for seat in self.open():
            self._close(seat, loop)

    def _renew(self, seat: Seat, loop: Loop, collect: _Collect) -> bool:
        try:
            vantage = self._cluster.vantage(seat.pod)
            inode = os.fstat(vantage.fd).st_ino
            if seat.sock is not None and inode == seat.inode:
                return False
            self._close(seat, loop)
            with inside(vantage):
                sock = datagram_socket(RECEIVE_BUFFER_BYTES)
        except (
            ClusterGoneError,
            OSError,
        ):  # gone, or gone again between the two: looked for again soon
            self._close(seat, loop)
            return False
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - inside a pod's namespace
        seat.sock, seat.inode = sock, inode
        self.ports[seat.number] = sock.getsockname()[1]
        loop.watch(sock.fileno(), partial(collect, seat))
        return True

    def _close(self, seat: Seat, loop: Loop) -> None:
        if seat.sock is not None:
            loop.closing(seat.sock.fileno())
            seat.sock.close()
        seat.sock = None
        self.ports[seat.number] = 0

    def _learn_addresses(self) -> None:
        """A recreated node's pods have other addresses."""
        with contextlib.suppress(ClusterGoneError):
            inventory = self._cluster.inventory()
            places = {pod.name: pod for pod in (*inventory.pods, *inventory.replicas)}
            for seat in self._seats:
                packed = socket.inet_aton(places[seat.pod].ips[0])
                self.addresses[seat.number] = int.from_bytes(packed, "big")
