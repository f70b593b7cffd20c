"""Listens, and gives every connection a thread of its own.

http.server reads the requests. What it lacks for a port that strangers can reach is here and in
`connections`: the TLS handshake outside of accept, limits in number and time, a clean stop.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Sequence

from gpu_sentinel.web.access import Access
from gpu_sentinel.web.connections import Connections
from gpu_sentinel.web.http import App, serve_connection

log = logging.getLogger(__name__)

#: Waiting connections that the kernel keeps for us.
_BACKLOG = 256
_POLL_SECONDS = 0.25
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
    b"Connection: close\r\n\r\ntoo many connections\n"
)


class ListenError(Exception):
    """One line: which address cannot be listened on, and why."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port; the host is empty where it stands for all addresses."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bind(address: str) -> socket.socket:
    """A listening socket; without a host on all addresses, of IPv6 too where there is any.

    Raises:
        ListenError: in use, not allowed, not an address of this machine.
    """
    host, port = split_address(address)
    try:
        if not host:
            return _bind_everywhere(port)
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
        family, _, _, _, target = found[0]
        return socket.create_server(target[:2], family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise ListenError(f"{address}: {host!r} is no address: {error.strerror}") from None
    except OSError as error:
        # create_server adds prose of its own to the error's text.
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        hint = {
            errno.EADDRINUSE: ": stop the other program, or choose another port",
            errno.EACCES: ": ports below 1024 need privileges: choose another port",
            errno.EADDRNOTAVAIL: ": choose an address of this machine",
        }.get(error.errno or 0, "")
        raise ListenError(f"{address}: cannot listen: {reason}{hint}") from None


def _bind_everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 - asked for


def probe_address(address: str) -> None:
    """Try to listen, and let go at once.

    Raises:
        ListenError: in use, not allowed, not an address of this machine.
    """
    _bind(address).close()


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One listening socket."""

    daemon_threads = True
    block_on_close = False  # the server waits, with a deadline

    def __init__(self, sock: socket.socket, server: WebServer) -> None:
        self._server = server
        super().__init__(sock.getsockname(), object, bind_and_activate=False)  # type: ignore[arg-type]
        self.socket.close()
        self.socket = sock

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; without file descriptors left, wait instead of trying without end."""
        try:
            sock, peer = self.socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                log.error("cannot accept", extra={"fields": {"reason": error.strerror}})  # noqa: TRY400 - one line
                time.sleep(1.0)
            raise
        return sock, peer[:2]

    def process_request(self, request: object, client_address: object) -> None:
        """Admit a connection, then serve it in a thread."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        connection = self._server.connections.admit(request, client_address)  # type: ignore[arg-type]
        if connection is None:
            if self._server.config.scheme == "http":
                with contextlib.suppress(OSError):
                    request.send(_BUSY, socket.MSG_DONTWAIT)
            request.close()
            return
        super().process_request(connection, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection."""
        del client_address
        connections = self._server.connections
        try:
            serve_connection(request, self._server.app, self._server.config)  # type: ignore[arg-type]
        except OSError as error:  # the other side went away, or was hung up on
            log.debug("connection ended", extra={"fields": {"reason": str(error)}})
        except Exception:
            log.exception("connection failed")
        finally:
            connections.release(request)  # type: ignore[arg-type]

    def service_actions(self) -> None:
        """Between two connections: end what has taken too long."""
        self._server.connections.hang_up_overdue()


class WebServer:
    """Serves an application on some addresses from `start` to `stop`."""

    def __init__(
        self, addresses: Sequence[str], app: App, config: Access, *, max_connections: int
    ) -> None:
        """`addresses` are `host:port`, `[ipv6]:port` or `:port`; port 0 takes a free one."""
        self.app = app
        self.config = config
        self.connections = Connections(max_connections)
        self._addresses = tuple(addresses)
        self._listeners: list[_Listener] = []
        self._threads: list[threading.Thread] = []

    @property
    def urls(self) -> list[str]:
        """Where it listens, once it does; `localhost` stands for all addresses."""
        urls = []
        for address, listener in zip(self._addresses, self._listeners, strict=False):
            host = split_address(address)[0] or "localhost"
            shown = f"[{host}]" if ":" in host else host
            port = listener.socket.getsockname()[1]
            urls.append(f"{self.config.scheme}://{shown}:{port}")
        return urls

    def start(self) -> None:
        """Open all the ports and serve them.

        Raises:
            ListenError: one cannot be opened; then none is.
        """
        sockets: list[socket.socket] = []
        try:
            for address in self._addresses:
                sockets.append(_bind(address))  # noqa: PERF401 - those before the failure count
        except ListenError:
            for sock in sockets:
                sock.close()
            raise
        self._listeners = [_Listener(sock, self) for sock in sockets]
        for number, listener in enumerate(self._listeners):
            thread = threading.Thread(
                target=listener.serve_forever,
                args=(_POLL_SECONDS,),
                name=f"web-{number}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float) -> None:
        """Close the ports, give running answers up to `timeout` seconds, end the rest."""
        deadline = time.monotonic() + timeout
        for listener in self._listeners:
            listener.shutdown()
            listener.server_close()
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        self.connections.hang_up(busy=False)
        while len(self.connections) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.connections.hang_up(busy=True)
