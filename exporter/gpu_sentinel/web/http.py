"""What is answered to a request: who may ask, and what the application says."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from gpu_sentinel.web.access import Access, Guard, Role
from gpu_sentinel.web.connections import Connection, State
from gpu_sentinel.web.throttle import Familiar, Throttle
from gpu_sentinel.web.wire import Head, Request, Response
from gpu_sentinel.web.workers import Workers

__all__ = ["App", "Handler", "Later", "Request", "Response"]

log = logging.getLogger(__name__)

App = Callable[[Request], Response]

#: Requests that take time, and passwords, at a time.
_ANSWERS, _CHECKS = 4, 1
#: Passwords that wait to be looked at, of all and of one address.
_WAITING, _WAITING_EACH = 16, 4


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that takes time.

    Attributes:
        state: what the connection is at meanwhile.
        workers: who does the work.
        work: what is done in a thread of its own; raises nothing.
        then: what is made of its result, in the thread that serves the connections.
        undo: what is done instead where nobody can do the work.
    """

    state: State
    workers: Workers
    work: Callable[[], Any]
    then: Callable[[Any], Response | Later]
    undo: Callable[[], None] = lambda: None


class Handler:
    """Answers requests; used by the thread that serves the connections, and never makes it wait."""

    def __init__(self, app: App, access: Access, waits: Callable[[Request], bool]) -> None:
        """`waits` tells the requests for which the application takes its time."""
        self._app = app
        self._access = access
        self._waits = waits
        self._answers = Workers("web-answer", _ANSWERS)
        self._checks = Workers("web-password", _CHECKS)
        self._checking: Counter[str] = Counter()
        self._throttle = Throttle()
        self._familiar = Familiar()

    def begin(self, connection: Connection, head: Head) -> Response | Later:
        """The answer to a request; ends the connection of who is wrong about himself."""
        guard = self._access.guard
        connection.allowed = guard is None
        if guard is None:
            return self._ask(connection, head, None)
        authorization = head.headers.get("authorization")
        if authorization is None:
            return _unauthorized(guard)
        # Who was right before is answered without a look at all who guess. A password that somebody
        # else was right with may still be guessed; a token is too long for that.
        role, guessable = guard.known(authorization), guard.takes_time(authorization)
        familiar = not guessable or self._familiar.has(connection.address, authorization)
        if role is not None and familiar:
            return self._ask(connection, head, role)
        connection.keep = False
        if wait := self._throttle.take(connection.address):
            return _too_many(wait)
        if role is None and guessable:
            return self._look_at(guard, connection, head, authorization)
        return self._judged(guard, connection, head, role)

    def _look_at(
        self, guard: Guard, connection: Connection, head: Head, authorization: str
    ) -> Response | Later:
        address = connection.address
        if len(self._checks) >= _WAITING or self._checking[address] >= _WAITING_EACH:
            self._throttle.give_back(address)
            return _too_many(1.0)
        self._checking[address] += 1
        return Later(
            State.CHECKING,
            self._checks,
            partial(_check, guard, connection, authorization),
            partial(self._checked, guard, connection, head),
            partial(self._not_checked, address),
        )

    def _checked(
        self, guard: Guard, connection: Connection, head: Head, result: tuple[bool, Role | None]
    ) -> Response | Later:
        checked, role = result
        if not checked or (role is not None and connection.closed):
            self._not_checked(connection.address)
            return _unauthorized(guard)  # which nobody reads
        self._unchecked(connection.address)
        return self._judged(guard, connection, head, role)

    def _judged(
        self, guard: Guard, connection: Connection, head: Head, role: Role | None
    ) -> Response | Later:
        """What comes of an attempt."""
        if role is None:
            return _unauthorized(guard)
        self._throttle.give_back(connection.address)
        self._familiar.add(connection.address, head.headers["authorization"])
        connection.keep = head.keep
        return self._ask(connection, head, role)

    def _unchecked(self, address: str) -> None:
        self._checking[address] -= 1
        if not self._checking[address]:
            del self._checking[address]

    def _not_checked(self, address: str) -> None:
        """The attempt was not wrong: it does not count."""
        self._unchecked(address)
        self._throttle.give_back(address)

    def _ask(self, connection: Connection, head: Head, role: Role | None) -> Response | Later:
        connection.allowed = True
        request = Request(head.method, head.path, head.headers, role, connection.local)
        answer = partial(self._answer, request, connection.peer[0])
        if self._waits(request):
            return Later(State.BUSY, self._answers, answer, lambda response: response)
        return answer()

    def _answer(self, request: Request, peer: str) -> Response:
        try:
            return self._app(request)
        except Exception:
            log.exception("request failed", extra={"fields": {"peer": peer, "path": request.path}})
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


def _check(guard: Guard, connection: Connection, authorization: str) -> tuple[bool, Role | None]:
    """Whether the password was checked at all, and the role where it is right."""
    if connection.closed:  # nobody waits for the answer
        return False, None
    try:
        return True, guard.check(authorization)
    except Exception:
        log.exception("password not checked")
        return False, None


def _unauthorized(guard: Guard) -> Response:
    return Response(
        HTTPStatus.UNAUTHORIZED, b"Unauthorized\n", headers={"WWW-Authenticate": guard.challenge}
    )


def _too_many(wait: float) -> Response:
    return Response(
        HTTPStatus.TOO_MANY_REQUESTS,
        b"too many attempts: try again later\n",
        headers={"Retry-After": str(math.ceil(wait))},
    )
