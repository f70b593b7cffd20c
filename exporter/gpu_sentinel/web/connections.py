"""The connections that are open: how many, in what state, since when.

Clients that open connections and say nothing must not keep a scraper out. So there is room for
so many, each state has a time limit, and the connection that has waited longest without a
request gives way to a new one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from io import BufferedReader
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import ssl

Peer: TypeAlias = tuple[str, int]

#: A read or a write that makes no progress at all ends the connection.
SOCKET_SECONDS = 10.0


class State(float, Enum):
    """What a connection is at, with the seconds after which it is closed."""

    OPENING = 10.0  # handshake, and the first request until it is complete
    IDLE = 120.0  # between two requests: servers that scrape keep connections
    BUSY = 30.0  # a request is answered


class Connection:
    """One client; used by its own thread, closed by any."""

    def __init__(self, sock: socket.socket, peer: Peer, clock: Callable[[], float]) -> None:
        self.socket = sock
        self.peer = peer
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self.state = State.OPENING
        self.since = clock()
        sock.settimeout(SOCKET_SECONDS)

    def encrypt(self, context: ssl.SSLContext) -> Mapping[str, object] | None:
        """Speak TLS from now on; returns the client's certificate where it has shown one.

        Raises:
            OSError: the handshake failed (ssl.SSLError is one), or took too long.
        """
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("closed to make room")
            encrypted = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.socket = encrypted
        encrypted.do_handshake()
        return encrypted.getpeercert()

    def busy(self) -> None:
        """A request is complete and is answered now."""
        self._enter(State.BUSY)

    def idle(self, file: BufferedReader) -> None:
        """The answer is sent: wait for the beginning of the next request.

        Raises:
            OSError: none came in time.
        """
        self._enter(State.IDLE)
        self.socket.settimeout(State.IDLE.value)
        file.peek(1)
        self.socket.settimeout(SOCKET_SECONDS)

    def overdue(self, now: float) -> bool:
        """Whether it has been in its state for too long."""
        return now - self.since > self.state.value

    def hang_up(self) -> None:
        """End it from outside: its thread's next read or write fails."""
        with self._lock, contextlib.suppress(OSError):
            self._closed = True
            # Not SSLSocket's, which would take the TLS object away under its thread.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Free it; its own thread does this last."""
        with self._lock, contextlib.suppress(OSError):
            self._closed = True
            self.socket.close()

    def _enter(self, state: State) -> None:
        self.state, self.since = state, self._clock()


class Connections:
    """All connections of a server."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._open: dict[Connection, None] = {}  # in the order of their arrival
        self._lock = threading.Lock()

    def admit(self, sock: socket.socket, peer: Peer) -> Connection | None:
        """Take a new connection in; None where every other one is being answered."""
        with self._lock:
            if len(self._open) >= self._limit and not self._make_room():
                return None
            connection = Connection(sock, peer, self._clock)
            self._open[connection] = None
            return connection

    def release(self, connection: Connection) -> None:
        """Forget a connection and free its socket."""
        with self._lock:
            self._open.pop(connection, None)
        connection.close()

    def hang_up_overdue(self) -> None:
        """End what has taken too long."""
        now = self._clock()
        with self._lock:
            overdue = [c for c in self._open if c.overdue(now)]
        for connection in overdue:
            connection.hang_up()

    def hang_up(self, *, busy: bool) -> None:
        """End all connections; those that are being answered only if `busy`."""
        with self._lock:
            ending = [c for c in self._open if busy or c.state is not State.BUSY]
        for connection in ending:
            connection.hang_up()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)

    def _make_room(self) -> bool:
        waiting = [c for c in self._open if c.state is not State.BUSY]
        if not waiting:
            return False
        # One that never asked anything goes before one that is between two scrapes.
        oldest = min(waiting, key=lambda c: (c.state is State.IDLE, c.since))
        del self._open[oldest]
        oldest.hang_up()
        return True
