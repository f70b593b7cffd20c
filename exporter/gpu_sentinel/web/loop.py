"""The thread that serves all connections; it waits for nothing but the next event.

One thread, so that a thousand clients cost no thousand threads, and in small steps, so that
nobody waits long for another: a turn gives each connection that is ready one read or one answer.
What takes time (passwords, requests that wait) is done by `Workers` and comes back as an event.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from gpu_sentinel.web.access import Access
from gpu_sentinel.web.connections import Connection, Connections, FullError, State
from gpu_sentinel.web.http import Handler, Later, Response
from gpu_sentinel.web.wire import RefusedError, written
from gpu_sentinel.web.workers import NoThreadError

log = logging.getLogger(__name__)

#: Between two looks at what is overdue, and the longest wait for an event while there is any.
_TICK_SECONDS = 0.25
#: In one turn, for unproven connections of crowded addresses, and for new ones of a port: those
#: wait in one queue with all who attack.
_UNPROVEN_SECONDS, _ACCEPT_SECONDS = 0.002, 0.006
#: Connections whose memory is worth to be given back.
_MANY = 16
#: Of all answers that are not sent yet, in bytes; above, the slowest reader is closed.
_UNSENT = 8 * 1024 * 1024
#: Between two log lines about the same trouble.
_QUIET_SECONDS = 60.0
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def _busy(why: str) -> Response:
    return Response(
        HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n".encode(), headers={"Retry-After": "1"}
    )


class Loop:
    """Serves what comes to some listening sockets, from `run` to `stop`."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        handler: Handler,
        access: Access,
        connections: Connections,
    ) -> None:
        """The listening sockets are closed at the end."""
        self._listeners = list(listeners)
        self._handler = handler
        self._access = access
        self._connections = connections
        self._selector = selectors.DefaultSelector()
        self._inbox, self._outbox = socket.socketpair()
        self._done: deque[tuple[Connection, Later, Any]] = deque()
        self._ready: deque[Connection] = deque()
        self._next_check = 0.0
        self._most = 0
        self._said: dict[str, float] = {}
        self._spare = _spare_descriptor()
        self._stop_at: float | None = None
        self._inbox.setblocking(False)
        self._outbox.setblocking(False)
        self._selector.register(self._inbox, EVENT_READ)
        for listener in self._listeners:
            listener.setblocking(False)
            self._selector.register(listener, EVENT_READ)

    def stop(self, deadline: float) -> None:
        """Let `run` return, once running answers are sent, or at this monotonic time."""
        self._stop_at = deadline
        self._wake()

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            while not self._over():
                try:
                    self._turn()
                except Exception:
                    log.exception("serving failed")
                    time.sleep(_TICK_SECONDS)  # whatever it is, it must not fill the disk
        finally:
            for connection in self._connections:
                self._drop(connection)
            for sock in (*self._listeners, self._inbox, self._outbox):
                sock.close()
            self._selector.close()
            if self._spare is not None:
                os.close(self._spare)

    def _turn(self) -> None:
        ready_listeners = []
        quiet = _TICK_SECONDS if len(self._connections) or self._most >= _MANY else None
        for key, _ in self._selector.select(0.0 if self._ready else quiet):
            if isinstance(key.data, Connection):
                self._on_event(key.data)
            elif key.fileobj is self._inbox:
                with contextlib.suppress(BlockingIOError):
                    self._inbox.recv(4096)
            else:
                ready_listeners.append(key.fileobj)
        until = time.monotonic() + _UNPROVEN_SECONDS
        while self._ready and time.monotonic() < until:
            connection = self._ready.popleft()
            connection.queued = False
            self._step(connection, self._advance)
        while self._done:
            connection, later, result = self._done.popleft()
            step = later.then(result)
            self._step(connection, partial(self._go_on, step=step))
        for listener in ready_listeners:
            self._accept(listener)  # type: ignore[arg-type]
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + _TICK_SECONDS
            for connection in self._connections.check_timeouts():
                self._drop(connection, at_once=True)
            self._give_back()

    def _on_event(self, connection: Connection) -> None:
        """An event of a connection; those of a crowd wait for their turn."""
        if connection.closed:
            return
        if connection.proven or self._connections.is_one_of_few(connection):
            self._step(connection, self._advance)
        else:
            self._queue(connection)

    def _over(self) -> bool:
        if self._stop_at is None:
            return False
        for listener in self._listeners:
            self._selector.unregister(listener)
            listener.close()
        self._listeners = []
        for connection in self._connections:
            if connection.state not in (State.BUSY, State.SENDING):
                self._drop(connection)
        return not len(self._connections) or time.monotonic() >= self._stop_at

    def _step(self, connection: Connection, action: Callable[[Connection], None]) -> None:
        """One action on one connection; whatever goes wrong ends that one alone."""
        if connection.closed:
            return
        try:
            action(connection)
        except BlockingIOError:
            pass
        except OSError as error:  # the other side went away
            log.debug("connection ended", extra={"fields": {"reason": str(error)}})
            self._drop(connection)
        except Exception:
            log.exception("connection failed")
            self._drop(connection)

    # New connections

    def _accept(self, listener: socket.socket) -> None:
        until = time.monotonic() + _ACCEPT_SECONDS
        while time.monotonic() < until:
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    continue  # that one is gone already
                self._say("cannot accept", error.strerror or str(error))
                self._turn_away(listener)
                return
            self._admit(sock, peer[:2])

    def _admit(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        try:
            connection = self._connection(sock, peer)
        except OSError:
            sock.close()
            return
        try:
            evicted = self._connections.add(connection)
        except FullError:
            self._refuse(connection.socket, "too many connections")
            return
        if evicted is not None:
            self._say("connections evicted for new ones", f"most are of {evicted.peer[0]}")
            self._drop(evicted, at_once=True)
        self._watch(connection, EVENT_READ)

    def _connection(self, sock: socket.socket, peer: tuple[str, int]) -> Connection:
        context = self._access.context()
        if context is None:
            return Connection(sock, peer, self._connections.clock)
        from gpu_sentinel.web.encrypted import EncryptedConnection  # noqa: PLC0415 - loads TLS

        return EncryptedConnection(sock, peer, self._connections.clock, context)

    def _turn_away(self, listener: socket.socket) -> None:
        """Without descriptors: use the one that is kept for this to say so."""
        if self._spare is not None:
            os.close(self._spare)
        with contextlib.suppress(OSError):
            self._refuse(listener.accept()[0], "too many open files")
        self._spare = _spare_descriptor()
        if self._spare is None:
            time.sleep(_TICK_SECONDS / 10)  # clients wait in the queue; trying would take all time

    def _refuse(self, sock: socket.socket, why: str) -> None:
        if self._access.scheme == "http":
            answer = _busy(why)
            with contextlib.suppress(OSError):
                sock.send(written(answer, {}, keep=False) + answer.body, socket.MSG_DONTWAIT)
        sock.close()

    # Requests

    def _advance(self, connection: Connection) -> None:
        """Do the next thing that can be done at once."""
        if connection.state in (State.BUSY, State.CHECKING):
            return
        if connection.handshaking:
            if not self._handshake(connection):
                return
        elif connection.state is State.SENDING:
            self._send(connection)
            return
        elif connection.state is State.CLOSING:
            if not connection.discard_input():
                self._drop(connection)
            return
        elif connection.pipelined:
            connection.pipelined = False
            self._next(connection)
            return
        if connection.receive():
            self._next(connection)
        else:
            self._drop(connection)

    def _handshake(self, connection: Connection) -> bool:
        try:
            certificate = connection.handshake()
        except BlockingIOError:
            self._watch(connection, EVENT_WRITE if connection.wants_to_write else EVENT_READ)
            return False
        self._watch(connection, EVENT_READ)
        if self._access.accepts_client(certificate):
            return True
        self._say("client certificate without an allowed name", connection.peer[0])
        self._drop(connection)
        return False

    def _next(self, connection: Connection) -> None:
        """Answer a request, if it is complete."""
        try:
            head = connection.request()
        except RefusedError as refused:
            connection.keep = False
            self._respond(connection, Response(refused.status, f"{refused}\n".encode()))
            return
        if head is not None:
            self._go_on(connection, self._handler.begin(connection, head))
        elif connection.has_buffered_input():
            self._queue(connection)

    def _go_on(self, connection: Connection, step: Response | Later) -> None:
        if isinstance(step, Response):
            self._respond(connection, step)
            return
        connection.enter(step.state)
        self._connections.place(connection)
        # What it sends meanwhile is not wanted, and must not wake anyone.
        self._watch(connection, 0)
        try:
            step.workers.submit(partial(self._work, connection, step))
        except NoThreadError as error:
            step.undo()
            self._say("no thread for a request", str(error))
            connection.keep = False
            self._respond(connection, _busy(str(error)))

    def _work(self, connection: Connection, later: Later) -> None:
        """In a worker's thread."""
        self._done.append((connection, later, later.work()))
        self._wake()

    def _respond(self, connection: Connection, response: Response) -> None:
        connection.keep = connection.keep and self._stop_at is None
        head = written(response, self._access.headers, keep=connection.keep)
        asked = connection.head
        body = b"" if asked is not None and asked.method == "HEAD" else response.body
        connection.answer(head, body)
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        if not connection.send():
            if connection.state is not State.SENDING:
                connection.enter(State.SENDING)
                self._connections.place(connection)
                self._watch(connection, EVENT_WRITE)
                self._limit_unsent()
            return
        if connection.keep:
            connection.wait()
            if connection.pipelined or connection.has_buffered_input():
                self._queue(connection)
        else:
            connection.start_closing()
        self._connections.place(connection)
        self._watch(connection, EVENT_READ)

    def _queue(self, connection: Connection) -> None:
        """Go on with it after all others have had their turn."""
        if not connection.queued:
            connection.queued = True
            self._ready.append(connection)

    def _limit_unsent(self) -> None:
        slow = self._connections.slow()
        total = sum(connection.unsent for connection in slow)
        for connection in slow[:-1]:
            if total <= _UNSENT:
                return
            total -= connection.unsent
            self._drop(connection, at_once=True)

    # The rest

    def _watch(self, connection: Connection, events: int) -> None:
        if connection.closed or connection.watched == events:
            return
        if not events:
            self._selector.unregister(connection.socket)
        elif connection.watched:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.register(connection.socket, events, connection)
        connection.watched = events

    def _drop(self, connection: Connection, *, at_once: bool = False) -> None:
        if connection.closed:
            return
        self._watch(connection, 0)
        self._connections.remove(connection)
        if at_once:
            connection.abort()
        else:
            connection.close()

    def _give_back(self) -> None:
        """Once many connections have gone, let the system have their memory."""
        now = len(self._connections)
        self._most = max(self._most, now)
        if self._most >= _MANY and now <= self._most // 2:
            self._most = now
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
            if trim is not None:
                trim(0)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._outbox.send(b"\0")

    def _say(self, what: str, why: str) -> None:
        """One line, not one for each client."""
        now = time.monotonic()
        if now >= self._said.get(what, 0.0):
            self._said[what] = now + _QUIET_SECONDS
            log.warning(what, extra={"fields": {"reason": why}})


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
