"""A connection with TLS; loaded where there is a certificate."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Mapping
from socket import socket as Socket  # noqa: N812 - the class has an attribute of that name

from gpu_sentinel.web.connections import Connection, Peer


class EncryptedConnection(Connection):
    """As `Connection`; where TLS has to wait for the client, it raises BlockingIOError too."""

    socket: ssl.SSLSocket

    def __init__(
        self,
        sock: Socket,
        peer: Peer,
        clock: Callable[[], float],
        context: ssl.SSLContext,
    ) -> None:
        """Nothing is sent or read before `handshake`.

        Raises:
            OSError: the client is gone already.
        """
        super().__init__(sock, peer, clock)
        self.socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.handshaking = True

    def handshake(self) -> Mapping[str, object] | None:
        """Go on; at the end, the client's certificate if it has shown one."""
        self.wants_to_write = False
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self.wants_to_write = True
            raise BlockingIOError from None
        self.handshaking = False
        return self.socket.getpeercert()

    def has_buffered_input(self) -> bool:
        """See `Connection`."""
        return self.socket.pending() > 0

    def start_closing(self) -> None:
        """Say that this is the end, and send no more."""
        with contextlib.suppress(OSError, ValueError):
            self.socket.unwrap()
        super().start_closing()

    def _receive(self, most: int) -> bytes:
        try:
            return self.socket.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def _transmit(self, parts: list[memoryview]) -> int:
        try:
            return self.socket.send(parts[0])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
