"""A thousand clients that mean no good, in one process; `connections.py` starts it."""

from __future__ import annotations

import base64
import contextlib
import heapq
import itertools
import os
import resource
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: A connection that was closed is opened again after so long.
AGAIN_SECONDS = 0.1
DRIP_SECONDS = 0.05
IP_BIND_ADDRESS_NO_PORT = 24  # of Linux; Python names it from 3.12 on
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"


def hello() -> bytes:
    """What begins a TLS handshake."""
    answers, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(answers, said, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


def guesses() -> Iterator[bytes]:
    for number in itertools.count():
        said = base64.b64encode(f"prometheus:{os.getpid()}-{number}".encode())
        yield GET + b"Authorization: Basic " + said + b"\r\n\r\n"


@dataclass
class Kind:
    """What is sent on each connection.

    Attributes:
        first: as soon as it is open.
        then: again and again.
        every: seconds between two of them; 0: as fast as it is taken.
        reads: whether answers are read, and the next is sent only then.
    """

    first: Callable[[], bytes]
    then: Callable[[], bytes] = lambda: b""
    every: float = 0.0
    reads: bool = False


_GUESSES = guesses()
_HELLO = hello()
_LARGE = GET + b"X: a" + b" " * 64 * 1024 + b"b\r\n\r\n"
KINDS = {
    "silent": Kind(lambda: b""),
    "dripping": Kind(lambda: GET + b"X: ", lambda: b"x", DRIP_SECONDS),
    "half a body": Kind(
        lambda: b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
    ),
    "not reading": Kind(lambda: GET + b"\r\n"),
    "pipelining": Kind(lambda: (GET + b"\r\n") * 100, lambda: (GET + b"\r\n") * 100),
    "guessing passwords": Kind(lambda: next(_GUESSES), lambda: next(_GUESSES), reads=True),
    "half a handshake": Kind(lambda: _HELLO),
    "large heads": Kind(lambda: _LARGE, lambda: _LARGE, reads=True),
}


@dataclass
class Client:
    """One connection, opened again whenever it is closed."""

    source: str
    socket: socket.socket | None = None
    unsent: bytes = b""
    opened: int = 0
    answers: Counter[str] = field(default_factory=Counter)


class Attack:
    """All clients of one kind."""

    def __init__(self, kind: Kind, port: int, sources: list[str], number: int) -> None:
        self._kind = kind
        self._port = port
        self._epoll = select.epoll()
        # A client that does not read learns of the end all the same.
        self._always = select.EPOLLRDHUP | (select.EPOLLIN if kind.reads else 0)
        self._clients = [Client(sources[n % len(sources)]) for n in range(number)]
        self._open_ones: dict[int, Client] = {}
        self._count = itertools.count()
        self._due: list[tuple[float, int, Client, Callable[[Client], None]]] = []

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for client in self._clients:
            self._later(0.0, client, self._open)
        while (now := time.monotonic()) < end:
            while self._due and self._due[0][0] <= now:
                _, _, client, action = heapq.heappop(self._due)
                self._guarded(client, action)
            wait = min(self._due[0][0] - now if self._due else 1.0, end - now)
            for descriptor, events in self._epoll.poll(max(wait, 0.0)):
                client = self._open_ones[descriptor]
                if events & select.EPOLLIN:
                    self._guarded(client, self._read)
                elif events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                    self._close(client)
                elif events & select.EPOLLOUT:
                    self._guarded(client, self._send)
        answers = Counter[str]()
        for client in self._clients:
            answers.update(client.answers)
        print(sum(c.opened for c in self._clients), *(f"{k}:{n}" for k, n in answers.items()))

    def _guarded(self, client: Client, action: Callable[[Client], None]) -> None:
        try:
            if client.socket is not None or action == self._open:
                action(client)
        except BlockingIOError:
            pass
        except OSError:
            self._close(client)

    def _close(self, client: Client) -> None:
        if client.socket is not None:
            del self._open_ones[client.socket.fileno()]
            client.socket.close()
            client.socket = None
        self._later(AGAIN_SECONDS, client, self._open)

    def _later(self, wait: float, client: Client, action: Callable[[Client], None]) -> None:
        entry = (time.monotonic() + wait, next(self._count), client, action)
        heapq.heappush(self._due, entry)

    def _open(self, client: Client) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if not self._kind.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.socket, client.unsent = sock, self._kind.first()
        client.opened += 1
        self._open_ones[sock.fileno()] = client
        sock.bind((client.source, 0))
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", self._port))
        self._epoll.register(sock, self._always | select.EPOLLOUT)
        if self._kind.every:
            self._later(self._kind.every, client, self._drip)

    def _send(self, client: Client) -> None:
        assert client.socket is not None
        if client.unsent:
            client.unsent = client.unsent[client.socket.send(client.unsent) :]
        if not client.unsent and not self._kind.every and not self._kind.reads:
            client.unsent = self._kind.then()
        if not client.unsent:
            self._epoll.modify(client.socket, self._always)

    def _drip(self, client: Client) -> None:
        assert client.socket is not None
        self._later(self._kind.every, client, self._drip)
        client.socket.send(self._kind.then())

    def _read(self, client: Client) -> None:
        assert client.socket is not None
        data = client.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        client.answers[data[9:12].decode("latin-1") if data.startswith(b"HTTP/") else "more"] += 1
        client.unsent = self._kind.then()
        self._epoll.modify(client.socket, self._always | select.EPOLLOUT)


def main() -> None:
    kind, port, sources, number, seconds = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Attack(KINDS[kind], int(port), sources.split(","), int(number)).run(float(seconds))


if __name__ == "__main__":
    main()
