"""HTTP/1.1 as bytes: requests are read, answers are written in one piece.

Strict, with limits; what is not understood gets a status and ends the connection. A scrape costs
a fraction here of what it costs through http.server, which reads headers as if they were mail.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO

LINE_BYTES = 65_536
MOST_HEADERS = 100
#: A body that is longer is refused; nothing here wants one.
BODY_BYTES = 64 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
PLAIN = "text/plain; charset=utf-8"

_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


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


@dataclass(frozen=True, slots=True)
class Head:
    """A request but for its body.

    Attributes:
        keep: the client wants to ask more over this connection.
    """

    request: Request
    keep: bool


class RefusedError(Exception):
    """No proper request: what is answered before the connection ends."""

    def __init__(self, status: HTTPStatus, message: str = "") -> None:
        super().__init__(message or status.phrase)
        self.status = status


def read_head(file: BinaryIO) -> Head | None:
    """The next request; None where the client is done.

    Raises:
        RefusedError: it is no proper request.
    """
    line = _line(file, HTTPStatus.REQUEST_URI_TOO_LONG)
    if line == b"":
        # One empty line is what some clients send after a body.
        line = _line(file, HTTPStatus.REQUEST_URI_TOO_LONG)
    if line is None:
        return None
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no request of HTTP")
    if match[3] != b"1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers = _headers(file)
    if headers is None:
        return None
    method = match[1].decode()
    if method not in METHODS:
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED)
    path = match[2].decode("latin-1").partition("?")[0]
    close = "close" in headers.get("connection", "").lower()
    return Head(Request(method, path, headers), match[4] != b"0" and not close)


def body_length(headers: Mapping[str, str]) -> int:
    """How many bytes follow the head.

    Raises:
        RefusedError: nobody knows, or too many.
    """
    if "transfer-encoding" in headers:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED)
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal():
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
    if len(length) > 18 or int(length) > BODY_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def written(response: Response, more: Mapping[str, str], *, keep: bool, body: bool) -> bytes:
    """An answer as it is sent; without its body to a HEAD."""
    status = response.status
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {http_date(time.time())}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in (*response.headers.items(), *more.items())),
    ]
    if not keep:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head + response.body if body else head


def http_date(seconds: float) -> str:
    """Unix time as HTTP writes it, whatever the locale."""
    t = time.gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT"


def _line(file: BinaryIO, too_long: HTTPStatus) -> bytes | None:
    """A line without its end; None where the client is done before the end of it."""
    line = file.readline(LINE_BYTES + 1)
    if len(line) > LINE_BYTES:
        raise RefusedError(too_long)
    if not line.endswith(b"\n"):
        return None
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def _headers(file: BinaryIO) -> dict[str, str] | None:
    headers: dict[str, str] = {}
    too_many = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    for _ in range(MOST_HEADERS + 1):
        line = _line(file, too_many)
        if line is None:
            return None
        if not line:
            return headers
        match = _HEADER.fullmatch(line)
        if match is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "no header of HTTP")
        name, value = match[1].decode().lower(), match[2].decode("latin-1")
        if name == "content-length" and headers.get(name, value) != value:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is there twice")
        both = name in headers and name != "content-length"
        headers[name] = f"{headers[name]}, {value}" if both else value
    raise RefusedError(too_many)
