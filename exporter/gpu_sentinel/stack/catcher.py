"""A mail server and a webhook on loopback that print what they get, for who has named none."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gpu_sentinel import printable
from gpu_sentinel.stack.process import ComponentError

Say = Callable[[str], None]

#: Bytes of a notification.
_LONGEST = 16 * 2**20
#: Connections of a port at a time. Any user of this machine can open them, and each takes a
#: descriptor of the process that looks after all parts: beyond, the oldest is closed.
_CONNECTIONS = 16
#: Seconds for which a connection may be silent.
_SILENT_SECONDS = 10.0


class _Server(ThreadingHTTPServer):
    """With so many connections at a time."""

    # Nobody waits at the end for who says nothing.
    block_on_close = False
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own."""
        with self._lock:
            self._open[request] = None
            if len(self._open) > _CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is answered, or gone."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who goes away in the middle of a request is no news."""


class Catcher:
    """Takes every message and prints it in a few lines; loopback only."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._mail: Any = None
        self._web: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self, smtp_port: int = 0, http_port: int = 0) -> tuple[str, str]:
        """`host:port` of the mail server, and the URL of the webhook; port 0 takes a free one.

        Raises:
            ComponentError: the library for the mail server is missing, or a port is taken.
        """
        try:
            # `up` alone needs the library.
            from gpu_sentinel.stack.mailcatcher import LimitedController  # noqa: PLC0415
        except ImportError:
            raise ComponentError(
                "notifications: name --email-to or --webhook-url, or install the local catcher: "
                "pip install 'gpu-sentinel-pro[up]'"
            ) from None
        handler = type("Handler", (), {"handle_DATA": self._take_mail})()
        # The controller connects to itself once, so it has to be told a port that is free.
        smtp_port = smtp_port or _free_port()
        # A busy machine may need longer than the five seconds that are the default.
        self._mail = LimitedController(
            _CONNECTIONS,
            _SILENT_SECONDS,
            handler,
            hostname="127.0.0.1",
            port=smtp_port,
            ready_timeout=30.0,
        )
        try:
            self._mail.start()
            self._web = _Server(http_port, self._web_handler())
        except OSError as error:
            raise ComponentError(f"catcher: cannot listen: {error.strerror}") from None
        self._thread = threading.Thread(
            target=self._web.serve_forever, args=(0.2,), name="catcher", daemon=True
        )
        self._thread.start()
        return f"127.0.0.1:{smtp_port}", f"http://127.0.0.1:{self._web.server_port}/"

    def stop(self) -> None:
        """Close both ports."""
        if self._mail is not None:
            self._mail.stop()
        if self._web is not None:
            self._web.shutdown()
            self._web.server_close()
        if self._thread is not None:
            self._thread.join(5)

    async def _take_mail(self, _server: Any, _session: Any, envelope: Any) -> str:
        self._say(mail_lines(envelope.content))
        return "250 Message accepted"

    def _web_handler(self) -> type[BaseHTTPRequestHandler]:
        say = self._say

        class Handler(BaseHTTPRequestHandler):
            timeout = _SILENT_SECONDS

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length") or ""
                # What is longer, or of a length that is no number, is no notification.
                body = self.rfile.read(int(length)) if _is_length(length) else b""
                self.send_response(200)
                self.end_headers()
                say(webhook_line(body))

            def log_message(self, *_: object) -> None:
                """What arrives is printed already."""

        return Handler


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) < 12 and int(text) <= _LONGEST


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def mail_lines(content: bytes) -> str:
    """A mail for the terminal: to whom, the subject, and the text part."""
    try:
        message = email.message_from_bytes(content, policy=email.policy.default)
        to, subject = (printable.line(message[name]) for name in ("To", "Subject"))
        body = message.get_body(("plain",))
        # Mails end their lines with CR and LF.
        said = body.get_content().replace("\r\n", "\n").strip() if body else "(no text)"
        text = printable.text(said)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        # The parser raises what its parts raise for headers and charsets that nobody knows.
        return f"\nE-mail of {len(content)} bytes that cannot be read\n"
    indented = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
    return f"\nE-mail to {to}: {subject}\n{indented}\n"


def webhook_line(body: bytes) -> str:
    """A notification as Alertmanager's webhook sends it, on one line."""
    try:
        content = json.loads(body)
        names = ", ".join(str(a["annotations"].get("summary", "?")) for a in content["alerts"])
        return printable.line(f"Webhook: {content['status']}: {names}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"Webhook: {len(body)} bytes that are no notification of Alertmanager"
