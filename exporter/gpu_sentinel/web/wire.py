"""HTTP/1.1 as bytes: httptools takes heads apart, answers are written in one piece.

Strict, with limits; what is not understood gets a status and ends the connection. The parser gets
one whole head at a time, so that what it costs is bounded and no request hides behind another.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools

from gpu_sentinel.web.access import Role

#: The first line and the headers of a request, together.
HEAD_BYTES = 32 * 1024
MOST_HEADERS = 100
#: A body that is longer is refused; nothing here wants one.
BODY_BYTES = 64 * 1024
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
PLAIN = "text/plain; charset=utf-8"

_END = b"\r\n\r\n"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What the application sees of a request; names of headers in small letters.

    Attributes:
        role: what the client may do; None where nobody has to say who he is.
        local: the client is on this machine.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    role: Role | None = None
    local: bool = False


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
        length: bytes of the body that follows.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keep: bool
    length: int


class RefusedError(Exception):
    """No proper request: what is answered before the connection ends."""

    def __init__(self, status: HTTPStatus, message: str = "") -> None:
        super().__init__(message or status.phrase)
        self.status = status


def take_head(received: bytearray, searched: int) -> Head | None:
    """Take the head of the next request out of what was received; None where it is not complete.

    Args:
        received: loses what is taken.
        searched: so many of its bytes were there at the last try.

    Raises:
        RefusedError: it is no proper request.
    """
    if received.startswith((b"\r", b"\n")):
        # Empty lines are what some clients send after a body.
        received[:] = received.lstrip(b"\r\n")
        searched = 0
    end = received.find(_END, max(searched - len(_END) + 1, 0))
    if end + len(_END) > HEAD_BYTES or (end < 0 and len(received) >= HEAD_BYTES):
        asked = b"\r\n" in received
        raise RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if asked else HTTPStatus.REQUEST_URI_TOO_LONG
        )
    if end < 0:
        return None
    head = bytes(received[: end + len(_END)])
    del received[: end + len(_END)]
    return _parsed(head)


class _Parts:
    """What httptools calls while it parses."""

    __slots__ = ("complete", "headers", "hosts", "number", "refused", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.hosts = 0
        self.number = 0
        self.refused: RefusedError | None = None
        self.complete = False

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.number += 1
        if self.number > MOST_HEADERS:
            self.refused = RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            raise self.refused
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.hosts += key == "host"
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.complete = True


def _parsed(head: bytes) -> Head:
    parts = _Parts()
    parser = httptools.HttpRequestParser(parts)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # a server may go on as if nothing had been offered
    except httptools.HttpParserInvalidMethodError:
        raise RefusedError(*_unknown_method(head)) from None
    except httptools.HttpParserError as error:
        raise parts.refused or _refusal(error) from None
    if not parts.complete:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no request of HTTP")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    method = parser.get_method().decode()
    if method not in METHODS:
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED)
    if parts.hosts != 1 and (parts.hosts or version == "1.1"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a request names its Host once")
    close = "close" in parts.headers.get("connection", "").lower()
    return Head(
        method,
        _path(parts.target),
        parts.headers,
        version == "1.1" and not close,
        _body_length(parts.headers),
    )


def _path(target: bytes) -> str:
    if not target.startswith(b"/"):
        # Proxies may send the whole URL.
        try:
            target = httptools.parse_url(target).path or b"/"
        except httptools.HttpParserInvalidURLError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "no URL") from None
    return target.decode("latin-1").partition("?")[0]


def _unknown_method(head: bytes) -> tuple[HTTPStatus, str]:
    words = head.partition(b"\r\n")[0].split(b" ", 3)
    if len(words) == 3 and words[0].isalpha() and words[2].startswith(b"HTTP/1."):
        return HTTPStatus.NOT_IMPLEMENTED, ""
    return HTTPStatus.BAD_REQUEST, "no request of HTTP"


def _refusal(error: httptools.HttpParserError) -> RefusedError:
    if "Content-Length overflow" in str(error):
        return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return RefusedError(HTTPStatus.BAD_REQUEST, f"no request of HTTP: {error}")


def _body_length(headers: Mapping[str, str]) -> int:
    """How many bytes follow the head; the parser has checked that it is a number.

    Raises:
        RefusedError: nobody knows, or too many.
    """
    if "transfer-encoding" in headers:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED)
    # Without zeros in front, of which there may be more than `int` takes.
    digits = headers.get("content-length", "").lstrip("0") or "0"
    if len(digits) > len(str(BODY_BYTES)) or int(digits) > BODY_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(digits)


def written(response: Response, more: Mapping[str, str], *, keep: bool) -> bytes:
    """The head of an answer as it is sent."""
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
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def http_date(seconds: float) -> str:
    """Unix time as HTTP writes it, whatever the locale."""
    t = time.gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT"
