"""Opens the ports, and gives them to the thread that serves them."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

from gpu_sentinel.web.access import Access
from gpu_sentinel.web.connections import Connections
from gpu_sentinel.web.http import App, Handler, Request
from gpu_sentinel.web.loop import Loop

#: Waiting connections that the kernel keeps for us.
_BACKLOG = 1024
#: Bytes of an answer that the kernel takes before the client reads.
_SEND_BUFFER = 256 * 1024
#: The thread needs so long to see that it has to stop.
_POLL_SECONDS = 0.5


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


class WebServer:
    """Serves an application on some addresses from `start` to `stop`."""

    def __init__(
        self,
        addresses: Sequence[str],
        app: App,
        access: Access,
        *,
        max_connections: int,
        max_per_address: int | None = None,
        waits: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Nothing is opened yet.

        Args:
            addresses: `host:port`, `[ipv6]:port` or `:port`; port 0 takes a free one.
            app: answers requests.
            access: who may connect and ask.
            max_connections: at a time.
            max_per_address: of them; all by default.
            waits: the requests for which `app` may take its time, from a thread of their own; it
                is asked for others by the thread that serves everybody.
        """
        self.access = access
        self.connections = Connections(max_connections, max_per_address or max_connections)
        self._handler = Handler(app, access, waits)
        self._addresses = tuple(addresses)
        self._urls: list[str] = []
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None

    @property
    def urls(self) -> list[str]:
        """Where it listens, once it does; `localhost` stands for all addresses."""
        return list(self._urls)

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
        for address, sock in zip(self._addresses, sockets, strict=True):
            # What a client does not read waits in the kernel's memory, connection by connection.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            self._urls.append(self._url(address, sock))
        self._loop = Loop(sockets, self._handler, self.access, self.connections)
        self._thread = threading.Thread(target=self._loop.run, name="web", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Close the ports, give running answers up to `timeout` seconds, end the rest."""
        if self._loop is None or self._thread is None:
            return
        self._loop.stop(time.monotonic() + timeout)
        self._thread.join(timeout + _POLL_SECONDS)

    def _url(self, address: str, sock: socket.socket) -> str:
        host = split_address(address)[0] or "localhost"
        shown = f"[{host}]" if ":" in host else host
        return f"{self.access.scheme}://{shown}:{sock.getsockname()[1]}"
