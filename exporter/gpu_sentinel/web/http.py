"""One connection: requests are read, the application answers them."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from gpu_sentinel.web.connections import Connection
from gpu_sentinel.web.webconfig import WebConfig

log = logging.getLogger(__name__)

#: A body that is longer is refused; nothing here wants one.
BODY_BYTES = 64 * 1024
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """What the application sees of a request; names of headers in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What the application answers."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN
    headers: Mapping[str, str] = field(default_factory=dict)


App = Callable[[Request], Response]


class Handler(BaseHTTPRequestHandler):
    """Serves one connection until it is closed, idle for too long, or needed for another."""

    protocol_version = "HTTP/1.1"
    # Of a request that is not understood, whose answer would have no status line otherwise.
    default_request_version = "HTTP/1.0"

    def __init__(self, connection: Connection, app: App, config: WebConfig) -> None:
        self._connection = connection
        self._app = app
        self._config = config
        super().__init__(connection.socket, connection.peer, None)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Shake hands, in this connection's own thread."""
        context = self._config.context()
        if context is not None:
            self._connection.encrypt(context)
            self.request = self._connection.socket
        super().setup()

    def handle(self) -> None:
        """Answer requests until the connection ends."""
        sock = self._connection.socket
        if isinstance(sock, ssl.SSLSocket) and not self._config.accepts_client(sock.getpeercert()):
            log.info("client certificate without an allowed name", extra={"fields": self._who()})
            return
        super().handle()

    def handle_one_request(self) -> None:
        """Read and answer one request."""
        super().handle_one_request()
        self._connection.idle()

    def _serve(self) -> None:
        if not self._take_body():
            return
        self._connection.busy()
        if not self._config.allows(self.headers.get("Authorization")):
            challenge = {"WWW-Authenticate": 'Basic realm="gpu-sentinel", charset="UTF-8"'}
            response = Response(HTTPStatus.UNAUTHORIZED, b"Unauthorized\n", headers=challenge)
        else:
            path = self.path.partition("?")[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                response = self._app(Request(self.command, path, headers))
            except Exception:
                log.exception("request failed", extra={"fields": self._who() | {"path": path}})
                response = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve  # noqa: N815 - http.server's names

    def _take_body(self) -> bool:
        """Read over a body, which is never wanted; False where it was refused."""
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return False
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdecimal():
            self.send_error(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
            return False
        if len(length) > 18 or int(length) > BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return False
        self.rfile.read(int(length))
        return True

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        for name, value in self._config.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no proper request, and end the connection."""
        del explain
        self.close_connection = True
        status = HTTPStatus(code)
        self.command = self.command or ""  # None where the request line was not understood
        self._send(Response(status, f"{message or status.phrase}\n".encode()))

    def send_response(self, code: int, message: str | None = None) -> None:
        """The status line; says nothing about what serves it."""
        self.send_response_only(code, message)
        self.send_header("Date", self.date_time_string())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Requests are not worth a line each."""
        log.debug("request", extra={"fields": self._who() | {"what": format % args}})

    def _who(self) -> dict[str, object]:
        return {"peer": self._connection.peer[0]}
