"""The connections that are open: how many, from where, in what state, since when.

Clients that open connections and are silent, slow, or wrong must not keep a scraper out. So there
is room for so many, in all and for each address, each state has a time limit, and where there is
no more room the least useful connection gives way to a new one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import TypeAlias

from gpu_sentinel.web.throttle import is_local, neighbourhood
from gpu_sentinel.web.wire import HEAD_BYTES, Head, take_head

Peer: TypeAlias = tuple[str, int]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Read at a time of what is thrown away.
_CHUNK = 16 * 1024


class State(Enum):
    """What a connection is at, the seconds after which it is closed, and when it gives way.

    Those with the lowest rank give way first, those without one never.
    """

    OPENING = (1, 10.0, 0)  # handshake, and the first request until it is complete
    LEAVING = (2, 2.0, 0)  # refused; what it still sends is read, so that it sees the answer
    CHECKING = (3, 30.0, 1)  # its password is looked at
    SENDING = (4, 30.0, 1)  # it does not read its answer as fast as it is sent
    READING = (5, 10.0, 2)  # another request has begun
    IDLE = (6, 120.0, 3)  # between two requests: servers that scrape keep connections
    BUSY = (7, 30.0, None)  # a request is answered, which takes a while

    def __init__(self, _number: int, seconds: float, rank: int | None) -> None:
        self.seconds = seconds
        self.rank = rank


class FullError(Exception):
    """Every connection is being answered."""


class Connection:
    """One client; its socket never blocks.

    Attributes:
        address: what counts as one address with others.
        local: the client is on this machine.
        handshaking: `handshake` is not over.
        wants_to_write: the handshake goes on when the socket takes more.
        watched: events that its server waits for.
        queued: it is about to have its turn without an event.
        allowed: its last request was no stranger's.
        served: a request was allowed, and its answer was sent.
        received: what is not looked at yet, never more than the longest head.
        head: of the request that is not answered yet.
        body: bytes of the request's body that are still to come.
        keep: another request may follow the answer.
    """

    def __init__(
        self, sock: socket.socket, peer: Peer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.socket = sock
        self.peer = peer
        self.address = neighbourhood(peer[0])
        self.local = is_local(peer[0])
        self._clock = clock
        self.state = State.OPENING
        self.since = clock()
        self.handshaking = False
        self.wants_to_write = False
        self.watched = 0
        self.closed = False
        self.allowed = False
        self.served = False
        self.received = bytearray()
        self.queued = False
        self._searched = 0
        self.head: Head | None = None
        self.body = 0
        self.keep = False
        self._unsent: list[memoryview] = []
        sock.setblocking(False)

    def handshake(self) -> Mapping[str, object] | None:
        """Go on with what comes before the first request; see `EncryptedConnection`.

        Raises:
            BlockingIOError: the client has to go on first.
            OSError: it failed.
        """

    def receive(self) -> int:
        """Take what has come; returns how many bytes, 0 at the end.

        Raises:
            BlockingIOError: nothing has come.
            OSError: the client is gone.
        """
        data = self._receive(max(HEAD_BYTES - len(self.received), 1))
        self.received += data
        return len(data)

    def hidden(self) -> bool:
        """Whether TLS holds something to read of which the kernel knows nothing."""
        return False

    def request(self) -> Head | None:
        """The next request once it is complete, body and all; its body is thrown away.

        Raises:
            RefusedError: it is no proper request.
            OSError: the client is gone.
        """
        if self.head is None:
            self.head = take_head(self.received, self._searched)
            self._searched = len(self.received) if self.head is None else 0
            if self.head is not None:
                self.body, self.keep = self.head.length, self.head.keep
                if self.body and self.head.headers.get("expect", "").lower() == "100-continue":
                    self.socket.send(_CONTINUE)
        if self.head is not None:
            taken = min(self.body, len(self.received))
            del self.received[:taken]
            self.body -= taken
            if not self.body:
                return self.head
        if self.state is State.IDLE:
            self.enter(State.READING)
        return None

    def answer(self, *parts: bytes) -> None:
        """What is to be sent; `send` does it."""
        self._unsent = [memoryview(part) for part in parts if part]

    @property
    def unsent(self) -> int:
        """Bytes of the answer that are still here."""
        return sum(map(len, self._unsent))

    def send(self) -> bool:
        """Send on; whether all of the answer is sent.

        Raises:
            OSError: the client is gone.
        """
        while self._unsent:
            try:
                sent = self._transmit(self._unsent)
            except BlockingIOError:
                return False
            while self._unsent and sent >= len(self._unsent[0]):
                sent -= len(self._unsent.pop(0))
            if sent:
                self._unsent[0] = self._unsent[0][sent:]
        return True

    def _receive(self, most: int) -> bytes:
        return self.socket.recv(most)

    def _transmit(self, parts: list[memoryview]) -> int:
        return self.socket.sendmsg(parts)

    def wait(self) -> None:
        """The answer is sent: another request may come."""
        self.served = self.served or self.allowed
        self.head = None
        self.enter(State.IDLE)

    def leave(self) -> None:
        """Send no more, and let the client see that."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's, which would take the TLS object away.
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        self.received.clear()
        self.enter(State.LEAVING)

    def throw_away(self) -> int:
        """Read over what a client sends that is not listened to any more; 0 at the end."""
        return len(socket.socket.recv(self.socket, _CHUNK))

    def enter(self, state: State) -> None:
        """Be in this state from now on."""
        self.state, self.since = state, self._clock()

    def overdue(self, now: float) -> bool:
        """Whether it has been in its state for too long."""
        return now - self.since > self.state.seconds

    @property
    def rank(self) -> int | None:
        """When it gives way; one that was never served goes with the first."""
        rank = self.state.rank
        return rank if rank is None or self.served else 0

    def close(self) -> None:
        """Free it."""
        self.closed = True
        self._unsent = []
        with contextlib.suppress(OSError):
            self.socket.close()


class Connections:
    """All connections of a server; used by one thread, but for their number."""

    def __init__(
        self, limit: int, per_address: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._per_address = per_address
        self.clock = clock
        self._open: dict[Connection, None] = {}  # in the order of their arrival
        self._by_address: dict[str, dict[Connection, None]] = {}

    def add(self, connection: Connection) -> Connection | None:
        """Take a new connection in; returns the one that has to be removed for it.

        Raises:
            FullError: every other one is being answered.
        """
        leaving = self._leaving(connection.address)
        self._open[connection] = None
        self._by_address.setdefault(connection.address, {})[connection] = None
        return leaving

    def remove(self, connection: Connection) -> None:
        """Forget a connection and free its socket."""
        self._open.pop(connection, None)
        neighbours = self._by_address.get(connection.address, {})
        neighbours.pop(connection, None)
        if not neighbours:
            self._by_address.pop(connection.address, None)
        connection.close()

    def overdue(self) -> list[Connection]:
        """Those that have been in their state for too long."""
        now = self.clock()
        return [c for c in self._open if c.overdue(now)]

    def slow(self) -> list[Connection]:
        """Those that do not read their answers, the slowest first."""
        return sorted((c for c in self._open if c.unsent), key=lambda c: c.since)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def _leaving(self, address: str) -> Connection | None:
        neighbours = self._by_address.get(address, {})
        if len(neighbours) >= self._per_address:
            return _least_useful(neighbours)
        if len(self._open) < self._limit:
            return None
        return _least_useful(self._open, lambda c: -len(self._by_address[c.address]))


def _least_useful(
    those: Iterable[Connection], crowd: Callable[[Connection], int] = lambda _: 0
) -> Connection:
    """Lowest rank, then from the fullest address, then longest in its state.

    Raises:
        FullError: none may be closed.
    """
    best, found = None, None
    for connection in those:
        rank = connection.rank
        if rank is not None:
            key = (rank, crowd(connection), connection.since)
            if best is None or key < best:
                best, found = key, connection
    if found is None:
        raise FullError
    return found
