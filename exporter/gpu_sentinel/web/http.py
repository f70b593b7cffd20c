"""One connection: requests are read, the application answers them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO

from gpu_sentinel.web.access import Access
from gpu_sentinel.web.connections import Connection
from gpu_sentinel.web.wire import (
    RefusedError,
    Request,
    Response,
    body_length,
    read_head,
    written,
)

__all__ = ["App", "Request", "Response", "serve_connection"]

log = logging.getLogger(__name__)

App = Callable[[Request], Response]

#: By which a client can tell whose password is asked for.
REALM = 'realm="gpu-sentinel"'
_CHALLENGE = {"WWW-Authenticate": f'Basic {REALM}, charset="UTF-8"'}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def serve_connection(connection: Connection, app: App, access: Access) -> None:
    """Serve a connection until it is closed, idle for too long, or needed for another.

    Raises:
        OSError: the other side went away, or was hung up on.
    """
    context = access.context()
    if context is not None:
        # In this connection's own thread: a client that is silent keeps nobody waiting.
        certificate = connection.encrypt(context)
        if not access.accepts_client(certificate):
            log.info(
                "client certificate without an allowed name", extra={"fields": _who(connection)}
            )
            return
    with connection.socket.makefile("rb") as file:
        while _answer_one(connection, file, app, access):
            connection.idle(file)


def _answer_one(connection: Connection, file: BinaryIO, app: App, access: Access) -> bool:
    """Answer one request; whether there may be another."""
    keep, method = False, ""
    try:
        head = read_head(file)
        if head is None:
            return False
        keep, method = head.keep, head.request.method
        _skip_body(connection, file, head.request)
        connection.busy()
        response = _respond(connection, head.request, app, access)
    except RefusedError as refused:
        keep = False
        response = Response(refused.status, f"{refused}\n".encode())
    sent = written(response, access.headers, keep=keep, body=method != "HEAD")
    connection.socket.sendall(sent)
    return keep


def _skip_body(connection: Connection, file: BinaryIO, request: Request) -> None:
    """Read over a body, which is never wanted."""
    length = body_length(request.headers)
    if length and request.headers.get("expect", "").lower() == "100-continue":
        connection.socket.sendall(_CONTINUE)
    if len(file.read(length)) < length:
        raise ConnectionResetError("the body ended early")


def _respond(connection: Connection, request: Request, app: App, access: Access) -> Response:
    if not access.allows(request.headers.get("authorization")):
        return Response(HTTPStatus.UNAUTHORIZED, b"Unauthorized\n", headers=_CHALLENGE)
    try:
        return app(request)
    except Exception:
        log.exception("request failed", extra={"fields": _who(connection) | {"path": request.path}})
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


def _who(connection: Connection) -> dict[str, object]:
    return {"peer": connection.peer[0]}
