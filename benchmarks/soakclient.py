"""The well-behaved client of the soak: scrapes each second, as Prometheus does, and counts."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field

from measure import PROMETHEUS
from soakstack import BACK, Stack

#: As long as Prometheus waits with the shipped settings.
PATIENCE = 4.0
EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: when it began and how long it took (s, monotonic), and what went wrong."""

    began: float
    took: float
    wrong: str


@dataclass
class Client:
    """Scrapes from a thread of its own until it is closed.

    A connection is kept while the server keeps it. Where a kept one turns out to be closed, the
    request is made once more on a new one, as every HTTP client does.
    """

    stack: Stack
    scrapes: list[Scrape] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._drop()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due += EVERY
            began = time.monotonic()
            wrong = self._scrape()
            self.scrapes.append(Scrape(began, time.monotonic() - began, wrong))
            due = max(due, time.monotonic())

    def _scrape(self) -> str:
        kept = self._connection is not None
        try:
            return self._ask()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            if not kept or isinstance(error, TimeoutError):
                return _named(error)
        try:
            return self._ask()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            return _named(error)

    def _ask(self) -> str:
        if self._connection is None:
            self._connection = self._connect()
        headers = dict(PROMETHEUS)
        if auth := self.stack.access.auth:
            headers["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
        self._connection.request("GET", "/metrics", headers=headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.will_close:
            self._drop()
        return "" if answer.status == http.HTTPStatus.OK else f"HTTP {answer.status}"

    def _connect(self) -> http.client.HTTPConnection:
        port = self.stack.ports["exporter"]
        access = self.stack.access
        if access.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        context = ssl.create_default_context(cafile=str(access.verify))
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def back(self, since: float) -> float | None:
        """When the first good scrape began after a moment; None where there is none yet."""
        return next((s.began for s in list(self.scrapes) if s.began > since and not s.wrong), None)

    def failed(self, begin: float, end: float, *, excused: bool) -> tuple[list[Scrape], int]:
        """Scrapes that ended between two moments and count as failed, and how many do not.

        Where the exporter itself was the victim, what fails is excused from the moment of the
        fault until it answers again, but for no longer than it may take to come back. Nothing
        else is.
        """
        until = min(self.back(begin) or begin + BACK, begin + BACK) if excused else begin
        wrong = [s for s in list(self.scrapes) if s.wrong and begin <= s.began + s.took < end]
        counted = [s for s in wrong if not excused or s.began >= until]
        return counted, len(wrong) - len(counted)


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__
