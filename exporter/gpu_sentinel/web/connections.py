"""The connections that are open: how many, from where, in what state, since when.

Clients that open connections and are silent, slow, or wrong must not keep a scraper out. So there
is room for so many, in all and for each address, each state has a time limit, and where there is
no more room the least useful connection is evicted for a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import TypeAlias

from gpu_sentinel.web.throttle import is_local, neighbourhood
from gpu_sentinel.web.wire import HEAD_BYTES, Head, take_head

Peer: TypeAlias = tuple[str, int]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: What takes longer is slow: its connection is evicted first.
SLOW_SECONDS = 1.0
#: Unproven connections of one address that are no crowd.
_FEW = 4
_AT_ONCE = struct.pack("ii", 1, 0)
#: Read at a time of what is discarded.
_CHUNK = 16 * 1024


class State(Enum):
    """What a connection is at, with the seconds after which it is closed."""

    OPENING = (1, 10.0)  # handshake, and the first request until it is complete
    CHECKING = (2, 30.0)  # its password is looked at
    BUSY = (3, 30.0)  # a request is answered, which takes a while
    SENDING = (4, 30.0)  # it does not read its answer as fast as it is sent
    IDLE = (5, 120.0)  # between two requests: servers that scrape keep connections
    READING = (6, 10.0)  # another request has begun
    CLOSING = (7, 2.0)  # what it still sends is read, so that it sees its last answer

    def __init__(self, _number: int, seconds: float) -> None:
        self.seconds = seconds


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
        queued: it waits for its turn.
        pipelined: what has been received may be the next request.
        allowed: its last request was one that it may make.
        proven: it has asked what it may, has read the answer, and is not slow.
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
        self.proven = False
        self._flushed = False
        self.received = bytearray()
        self.queued = False
        self.pipelined = False
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

    def has_buffered_input(self) -> bool:
        """Whether TLS holds something to read of which the kernel knows nothing."""
        return False

    def request(self) -> Head | None:
        """The next request once it is complete, body and all; its body is discarded.

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
        self.head = None
        self.pipelined = bool(self.received)
        self._flushed = False
        self.enter(State.IDLE)

    def start_closing(self) -> None:
        """Send no more, and let the client see that."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's, which would take the TLS object away.
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        self.received.clear()
        self.enter(State.CLOSING)

    def discard_input(self) -> int:
        """Read over what a client sends that is not listened to any more; 0 at the end."""
        return len(socket.socket.recv(self.socket, _CHUNK))

    def enter(self, state: State) -> None:
        """Be in this state from now on."""
        self.state, self.since = state, self._clock()

    def overdue(self, now: float) -> bool:
        """Whether it has been in its state for too long."""
        return now - self.since > self.state.seconds

    def prove(self, now: float) -> None:
        """Look whether it behaves; called several times a second."""
        slow = now - self.since > SLOW_SECONDS
        if self.state is State.IDLE:
            if not self._flushed:
                self._flushed = self._unacknowledged() == 0
                if self._flushed:
                    self.proven = self.allowed
                elif slow:
                    self.proven = False
        elif slow and self.state is not State.BUSY:
            self.proven = False

    def _unacknowledged(self) -> int:
        """Bytes that are sent, but have not arrived: the kernel keeps them until they are read."""
        return int.from_bytes(
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder
        )

    def abort(self) -> None:
        """End it at once: what it has not read yet is not kept for it."""
        with contextlib.suppress(OSError):
            if self._unacknowledged():
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()

    def close(self) -> None:
        """Free it."""
        self.closed = True
        self._unsent = []
        with contextlib.suppress(OSError):
            self.socket.close()


class _Neighbours:
    """The connections of one address."""

    def __init__(self) -> None:
        self.unproven: dict[Connection, None] = {}  # the oldest first
        self.proven: dict[Connection, None] = {}
        self.number = 0

    def to_evict(self) -> Connection | None:
        """The oldest unproven one, else who was proven last."""
        return next(iter(self.unproven), None) or next(reversed(self.proven), None)


class Connections:
    """All connections of a server; used by one thread, but for their number.

    The first to be evicted are unproven: who has asked nothing that is allowed, waits for a
    password, or is slow. Of them those whose address has the most go first. Who has been proven
    longest stays longest.
    """

    def __init__(
        self, limit: int, per_address: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._per_address = per_address
        self.clock = clock
        self._open: dict[Connection, None] = {}  # in the order of their arrival
        self._by_address: dict[str, _Neighbours] = {}

    def add(self, connection: Connection) -> Connection | None:
        """Take a new connection in; returns the one that has to be removed for it.

        Raises:
            FullError: every other one is being answered.
        """
        evicted = None
        neighbours = self._by_address.get(connection.address)
        if neighbours is not None and neighbours.number >= self._per_address:
            evicted = neighbours.to_evict()
            if evicted is None:
                raise FullError
        elif len(self._open) >= self._limit:
            evicted = self._to_evict()
        if neighbours is None:
            neighbours = self._by_address[connection.address] = _Neighbours()
        self._open[connection] = None
        neighbours.number += 1
        neighbours.unproven[connection] = None
        return evicted

    def is_one_of_few(self, connection: Connection) -> bool:
        """Whether its address has few unproven ones: nobody has to wait long for those."""
        return len(self._by_address[connection.address].unproven) <= _FEW

    def place(self, connection: Connection) -> None:
        """Its state has changed: see where it belongs now."""
        neighbours = self._by_address[connection.address]
        busy = connection.state is State.BUSY
        for there, belongs in (
            (neighbours.unproven, not busy and not connection.proven),
            (neighbours.proven, not busy and connection.proven),
        ):
            if belongs:
                there.setdefault(connection)
            else:
                there.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection; its socket is freed by who removes it."""
        del self._open[connection]
        neighbours = self._by_address[connection.address]
        neighbours.unproven.pop(connection, None)
        neighbours.proven.pop(connection, None)
        neighbours.number -= 1
        if not neighbours.number:
            del self._by_address[connection.address]

    def check_timeouts(self) -> list[Connection]:
        """See who behaves; returns those that have been in their state for too long."""
        now = self.clock()
        for connection in self._open:
            connection.prove(now)
            self.place(connection)
        return [c for c in self._open if c.overdue(now)]

    def slow(self) -> list[Connection]:
        """Those that do not read their answers, the slowest first."""
        return sorted((c for c in self._open if c.unsent), key=lambda c: c.since)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def _to_evict(self) -> Connection:
        crowds = self._by_address.values()
        fullest = max(crowds, key=lambda n: (len(n.unproven), len(n.proven)))
        evicted = fullest.to_evict()
        if evicted is None:
            raise FullError
        return evicted
