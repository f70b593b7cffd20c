"""Frames of HTTP/2 (RFC 9113) over a Unix socket, all of them before a deadline."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from gpu_sentinel.host.podresources.errors import (
    BrokenOffError,
    GarbageError,
    NoSocketError,
    NotPermittedError,
    PodResourcesError,
    TimedOutError,
    TooLargeError,
)

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = 0, 1, 3, 4, 5, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9
#: Flags. Of SETTINGS and PING the first one is ACK.
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20

LATE = "the kubelet did not answer in time"
#: Nobody was asked whether we take larger ones.
LONGEST_FRAME = 2**14
#: Frames of a call, so that small ones take no time; 8 MiB are 512.
_MOST_FRAMES = 20_000


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


class Connection:
    """Bytes that come and go before the deadline, and frames in them."""

    def __init__(
        self, connected: socket.socket, deadline: float, clock: Callable[[], float]
    ) -> None:
        """Take over a socket.

        Args:
            connected: to the server.
            deadline: when everything has to be done, by `clock`.
            clock: seconds that only grow.
        """
        self._socket = connected
        self._deadline = deadline
        self._clock = clock
        self._buffer = bytearray()
        self._frames = 0

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def send(self, content: bytes) -> None:
        """Send it all; says nothing where the other side has gone, which reading will tell.

        Raises:
            PodResourcesError: it was not taken in time.
        """
        self._limit()
        try:
            self._socket.sendall(content)
        except TimeoutError as error:
            raise self._late() from error
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise BrokenOffError(f"the connection failed: {error}") from error

    def frame(self) -> tuple[int, int, int, bytes]:
        """Type, flags, stream and content of the next one.

        Raises:
            PodResourcesError: it did not come in time, or is none.
        """
        self._frames += 1
        if self._frames > _MOST_FRAMES:
            raise TooLargeError(f"the answer has more than {_MOST_FRAMES} frames")
        head = self._take(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream = int.from_bytes(head[5:], "big") & 0x7FFF_FFFF
        if self._frames == 1 and (kind, flags & ACK, stream) != (SETTINGS, 0, 0):
            raise GarbageError("HTTP/2", head + bytes(self._buffer))
        if size > LONGEST_FRAME:
            raise GarbageError(f"frames of at most {LONGEST_FRAME} bytes", f"one of {size}")
        return kind, flags, stream, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._limit()
            try:
                came = self._socket.recv(2 * LONGEST_FRAME)
            except TimeoutError as error:
                raise self._late() from error
            except OSError as error:
                if error.errno != errno.ECONNRESET:
                    raise BrokenOffError(f"the connection failed: {error}") from error
                came = b""  # as a socket ends that is closed before all is read that was sent to it
            if not came:
                raise self._ended()
            self._buffer += came
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _ended(self) -> PodResourcesError:
        if self._frames == 1 and self._buffer:
            return GarbageError("HTTP/2", self._buffer)
        return BrokenOffError("the kubelet closed the connection before its answer was complete")

    def _limit(self) -> None:
        left = self._deadline - self._clock()
        if left <= 0:
            raise self._late()
        self._socket.settimeout(left)

    @staticmethod
    def _late() -> PodResourcesError:
        return TimedOutError(LATE)


def connect(path: Path, timeout: float, clock: Callable[[], float]) -> Connection:
    """Connect to a socket; everything has to be done within `timeout` seconds.

    Raises:
        PodResourcesError: there is no connection.
    """
    deadline = clock() + timeout
    try:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:  # too many open files
        raise _unconnected(path, error) from error
    opened.settimeout(timeout)
    try:
        opened.connect(str(path))
    except (OSError, ValueError) as error:
        opened.close()
        raise _unconnected(path, error) from error
    return Connection(opened, deadline, clock)


def _unconnected(path: Path, error: OSError | ValueError) -> PodResourcesError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        return NotPermittedError(
            f"{path}: permission denied: it needs uid 0, and in a container the socket's directory "
            "mounted"
        )
    if number in (errno.ENOENT, errno.ENOTDIR):
        return NoSocketError(
            f"{path}: no such socket: no kubelet runs here, or its directory is not mounted"
        )
    if number == errno.ECONNREFUSED:
        return NoSocketError(f"{path}: nobody listens: the kubelet is not running")
    # A socket that has as many waiting as it may have says this at once, instead of waiting.
    if number == errno.EAGAIN or isinstance(error, TimeoutError):
        return TimedOutError(f"{path}: the kubelet accepts no connection")
    return NoSocketError(f"{path}: {error}")
