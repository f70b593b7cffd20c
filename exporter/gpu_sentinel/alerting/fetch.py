"""One request to a server that may be anything: it can neither hold us up nor fill the memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from gpu_sentinel.addresses import proxies

#: Bytes of an answer, unpacked. Ten thousand alerts are 20 MiB.
LONGEST = 64 * 2**20
#: An answer that has begun may take this many times the timeout until it is complete.
_PATIENCE = 4
_REDIRECTS = 5
#: Small, because a packed piece may be a thousand times longer when it is unpacked.
_PIECE = 16 * 1024


class TooLongError(requests.RequestException):
    """The answer goes on after as much as anybody could have asked for."""


@dataclass(slots=True)
class Fetched:
    """What a server answered: the status of HTTP, and the body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode("utf-8", "replace")


@dataclass(slots=True)
class _Exchange:
    """A request under way in a thread of its own."""

    deadline: float
    longest: int
    fetched: Fetched | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self, method: str, url: str, arguments: Mapping[str, Any]) -> None:
        try:
            with requests.Session() as session:
                session.max_redirects = _REDIRECTS
                with session.request(method, url, stream=True, **arguments) as answer:
                    self.fetched = Fetched(answer.status_code, self._body(answer))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.error = error
        self.done.set()

    def _body(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for piece in answer.iter_content(_PIECE):
            body += piece
            if len(body) > self.longest:
                raise TooLongError
            if time.monotonic() > self.deadline:
                raise requests.Timeout
        return bytes(body)


def fetch(
    method: str, url: str, *, timeout: float, longest: int = LONGEST, **arguments: Any
) -> Fetched:
    """Ask a server.

    Args:
        method: of HTTP.
        url: with user and password where they are needed.
        timeout: seconds without a byte; the whole takes four times as long at most.
        longest: bytes of the body.
        arguments: as `requests.request` takes them.

    Raises:
        requests.RequestException: no connection, no trust, no answer in time, or no end of it.
        ValueError: the URL is none.
        OSError: the file of the CA cannot be read.
    """
    limit = _PATIENCE * timeout
    exchange = _Exchange(time.monotonic() + limit, longest)
    # Each read has the timeout, but a server that sends a byte a second meets all of them. A
    # thread that is left in such a read ends with the command.
    threading.Thread(
        target=exchange.run,
        args=(method, url, {"timeout": timeout, "proxies": proxies(url), **arguments}),
        name="fetch",
        daemon=True,
    ).start()
    if not exchange.done.wait(limit):
        raise requests.Timeout
    if exchange.error is not None:
        raise exchange.error
    if exchange.fetched is None:
        raise RuntimeError("an exchange ends with an answer or an error")
    return exchange.fetched
