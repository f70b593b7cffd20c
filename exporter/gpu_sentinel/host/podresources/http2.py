"""One call of gRPC over a Unix socket: the smallest client that is strict and cannot be held up.

Each call has a connection of its own, so nothing is left of it: no thread, no state. gRPC over
HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; HTTP/2: RFC 9113.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote_to_bytes

from gpu_sentinel.host.podresources import hpack
from gpu_sentinel.host.podresources.errors import (
    BrokenOffError,
    GarbageError,
    RefusedError,
    StatusError,
    TimedOutError,
    TooLargeError,
)
from gpu_sentinel.host.podresources.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LATE,
    LONGEST_FRAME,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    connect,
    frame,
)

#: Seconds for the whole call.
TIMEOUT = 2.0
#: Bytes of the answer. 250 pods are 24 KiB.
LONGEST = 8 * 2**20

_LONGEST_HEADERS = 2**14
#: An HTTP/2 window is that large without being asked for.
_WINDOW = 2**16 - 1
_STREAM = 1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_ERROR = 0
_OF_STREAM = (DATA, HEADERS, RST_STREAM, CONTINUATION)

#: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
_OK, _DEADLINE_EXCEEDED, _RESOURCE_EXHAUSTED, _UNIMPLEMENTED = 0, 4, 8, 12
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def call(
    path: Path,
    method: str,
    request: bytes = b"",
    *,
    timeout: float = TIMEOUT,
    longest: int = LONGEST,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Ask, and return the one message of the answer.

    Args:
        path: of the socket.
        method: such as `/v1.PodResourcesLister/List`.
        request: the message.
        timeout: seconds for the whole call.
        longest: bytes that the message may have.
        clock: seconds that only grow.

    Raises:
        PodResourcesError: there is no such answer.
    """
    with closing(connect(path, timeout, clock)) as connection:
        return converse(connection, method, request, timeout=timeout, longest=longest)


def converse(
    connection: Connection, method: str, request: bytes, *, timeout: float, longest: int = LONGEST
) -> bytes:
    """The same over a connection that there is already; it is used up.

    Raises:
        PodResourcesError: there is no such answer.
    """
    connection.send(_opening(method, request, timeout, longest))
    return _Exchange(connection, longest).run()


def _opening(method: str, request: bytes, timeout: float, longest: int) -> bytes:
    """Everything that we have to say, in one go."""
    room = max(longest, _WINDOW) + LONGEST_FRAME
    settings = struct.pack(
        ">HIHIHIHI",
        *(0x1, 0),  # HEADER_TABLE_SIZE: see hpack.py
        *(0x2, 0),  # ENABLE_PUSH
        *(0x4, room),  # INITIAL_WINDOW_SIZE: so that none has to be given later
        *(0x6, _LONGEST_HEADERS),  # MAX_HEADER_LIST_SIZE
    )
    headers = b"\x83\x86" + b"".join(  # method POST and scheme http, of the static table
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
        for name, value in (
            (b":path", method.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"grpc-timeout", b"%dm" % (1000 * timeout)),
            (b"content-type", b"application/grpc"),
        )
    )
    return (
        _PREFACE
        + frame(SETTINGS, 0, 0, settings)
        + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", room - _WINDOW))
        + frame(HEADERS, END_HEADERS, _STREAM, headers)
        + frame(DATA, END_STREAM, _STREAM, struct.pack(">BI", 0, len(request)) + request)
    )


class _Exchange:
    """What the server says to one request."""

    def __init__(self, connection: Connection, longest: int) -> None:
        self._connection = connection
        self._longest = longest
        self._body = bytearray()
        #: Of the header block that comes, of which the end has not come.
        self._block: bytearray | None = None
        self._last = False
        self._headers: dict[str, str] | None = None
        self._trailers: dict[str, str] | None = None
        self._takers: dict[int, Callable[[int, bytes], None]] = {
            DATA: self._take_data,
            HEADERS: self._begin_headers,
            CONTINUATION: self._add_headers,
            RST_STREAM: self._reset,
            GOAWAY: self._go_away,
            PUSH_PROMISE: self._promise,
        }

    def run(self) -> bytes:
        while self._trailers is None:
            self._take(*self._connection.frame())
        self._check_status(self._trailers)
        return self._message()

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if self._block is not None and (kind, stream) != (CONTINUATION, _STREAM):
            raise GarbageError("the rest of the headers", f"a frame of type {kind}")
        if kind in _OF_STREAM and stream != _STREAM:
            raise GarbageError("an answer to the one request", f"one on stream {stream}")
        if kind in (SETTINGS, PING):
            if not flags & ACK:
                self._connection.send(frame(kind, ACK, 0, content if kind == PING else b""))
        elif kind in self._takers:
            self._takers[kind](flags, content)
        # Windows are of no interest to who has sent everything; what is unknown is to be ignored.

    def _take_data(self, flags: int, content: bytes) -> None:
        if self._headers is None:
            raise GarbageError("headers", content)
        self._body += _unpadded(flags, content)
        size = int.from_bytes(self._body[1:5], "big") if len(self._body) >= 5 else 0
        if size > self._longest or len(self._body) > self._longest + 5:
            raise TooLargeError(
                f"the answer has {max(size, len(self._body))} bytes or more; "
                f"at most {self._longest} are taken"
            )
        if flags & END_STREAM:
            raise GarbageError("the status of the call behind the answer", "the end")

    def _begin_headers(self, flags: int, content: bytes) -> None:
        content = _unpadded(flags, content)
        if flags & PRIORITY:
            content = content[5:]
        self._block = bytearray()
        self._last = bool(flags & END_STREAM)
        self._add_headers(flags, content)

    def _add_headers(self, flags: int, content: bytes) -> None:
        if self._block is None:
            raise GarbageError("headers", "the rest of some that did not begin")
        self._block += content
        if len(self._block) > _LONGEST_HEADERS:
            raise TooLargeError(f"the answer's headers have more than {_LONGEST_HEADERS} bytes")
        if not flags & END_HEADERS:
            return
        fields = dict(hpack.decode(bytes(self._block)))
        self._block = None
        if self._headers is None:
            self._headers = fields
            if fields.get(":status") != "200":
                raise GarbageError("HTTP's status 200", fields.get(":status", "none"))
            kind = fields.get("content-type", "none")
            if not kind.startswith("application/grpc"):
                raise GarbageError("the content type application/grpc", kind)
        elif not self._last:
            raise GarbageError("trailers", "headers again")
        if self._last:
            self._trailers = fields

    def _reset(self, _: int, content: bytes) -> None:
        raise BrokenOffError(f"the kubelet reset the call: error {_number(content, 0)}")

    def _promise(self, _: int, __: bytes) -> None:
        raise GarbageError("an answer to the one request", "a promise of another one")

    def _go_away(self, _: int, content: bytes) -> None:
        """A server that shuts down still answers what it has taken on."""
        last, code = _number(content, 0) & 0x7FFF_FFFF, _number(content, 4)
        if code != _NO_ERROR or last < _STREAM:
            reason = content[8:].decode("utf-8", "replace")
            raise BrokenOffError(f"the kubelet went away: error {code} {reason}".rstrip())

    def _check_status(self, trailers: dict[str, str]) -> None:
        status = trailers.get("grpc-status", "none")
        if not (status.isascii() and status.isdecimal() and len(status) <= 3):
            raise GarbageError("a status of gRPC", status)
        code = int(status)
        if code == _OK:
            return
        name = _CODES[code] if code < len(_CODES) else f"status {code}"
        said = unquote_to_bytes(trailers.get("grpc-message", "")).decode("utf-8", "replace")
        line = f"the kubelet answered {name}: {said[:200]}".rstrip(": ")
        if code == _DEADLINE_EXCEEDED:
            raise TimedOutError(LATE)  # it knows the deadline, and may say so first
        if code == _RESOURCE_EXHAUSTED:
            raise RefusedError(line)
        if code == _UNIMPLEMENTED:
            line += " (it does not have this call)"
        raise StatusError(line, code)

    def _message(self) -> bytes:
        body = self._body
        if len(body) < 5:
            raise GarbageError("a message", body or "none")
        if body[0] != 0:
            raise GarbageError("a message that is not compressed", f"the mark {body[0]}")
        size = int.from_bytes(body[1:5], "big")
        if len(body) != size + 5:
            raise GarbageError(f"one message of {size} bytes", f"{len(body) - 5} bytes")
        return bytes(memoryview(body)[5:])


def _unpadded(flags: int, content: bytes) -> bytes:
    if not flags & PADDED:
        return content
    if not content or content[0] >= len(content):
        raise GarbageError("padding within its frame", "more")
    return content[1 : len(content) - content[0]]


def _number(content: bytes, at: int) -> int:
    if len(content) < at + 4:
        raise GarbageError("a whole frame", content)
    return int.from_bytes(content[at : at + 4], "big")
