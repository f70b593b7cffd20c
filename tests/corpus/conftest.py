"""A server that says what it is told to, and the commands called within this process."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from answers import GOOD, PAGE, Reply

from gpu_sentinel.cli import DEFECT, run
from gpu_sentinel.printable import safe


class Stranger:
    """Answers as `replies` says, by path or method and path; as it should to all others."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.good: dict[str, Any] = dict(GOOD)
        self.page = PAGE
        self.answered = 0
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                stranger.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815 - as the library calls them

            def log_message(self, *_: object) -> None:
                """Nothing is told."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.stopping = False
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.answered += 1
        request.close_connection = True
        reply = self.replies.get(f"{request.command} {path}") or self.replies.get(path)
        if reply is None:
            good = self.good.get(f"{request.command} {path}", self.good.get(path))
            body = self.page.encode() if path == "/metrics" else json.dumps(good).encode()
            reply = Reply(body)
        with suppress(OSError):
            self.send(request, reply)

    def send(self, request: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.way == "nothing":
            return
        if reply.way == "silent":
            self.wait(request)
            return
        if reply.way == "raw":
            request.wfile.write(reply.body)
            return
        headers = {"Content-Length": str(len(reply.body))} | reply.headers
        if reply.way in ("endless", "drip") or "Transfer-Encoding" in headers:
            del headers["Content-Length"]
        head = f"HTTP/1.1 {reply.status} Some Reason\r\nConnection: close\r\n"
        for name, value in headers.items():
            head += f"{name}: {request.path if value == 'SELF' else value}\r\n"
        request.wfile.write(head.encode() + b"\r\n" + reply.body)
        while reply.way == "endless" and not self.stopping:
            request.wfile.write(b"1," * 8192)
        while reply.way == "drip" and not self.stopping:
            request.wfile.write(b"1,")
            time.sleep(0.02)

    def wait(self, request: BaseHTTPRequestHandler) -> None:
        """Say nothing until the other side has gone."""
        with suppress(OSError):
            request.connection.settimeout(30)
            request.connection.recv(1)

    def close(self) -> None:
        self.stopping = True
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    found = Stranger()
    yield found
    found.close()


@dataclass
class Called:
    """What a command did."""

    code: int
    out: bytes
    err: str


#: Of a call, on a loaded machine; what hangs takes for ever.
LONGEST_SECONDS = 60.0


def call(*arguments: str) -> Called:
    """Run a command within this process; it must end well, or with one line."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    start = time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = run(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    took = time.monotonic() - start
    out.flush()
    err.flush()
    result = Called(code, out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]
    shown = f"{arguments}: {result.err[:2000]}"
    assert DEFECT not in result.err, shown
    assert "Traceback" not in result.err + result.out.decode(), shown
    assert code in (0, 1, 2, 130), shown
    assert took < LONGEST_SECONDS, shown
    assert_clean(result)
    return result


def assert_clean(result: Called) -> None:
    """Nothing that steers a terminal; ends of lines are ours."""
    for text in (result.out.decode(), result.err):
        odd = {character for character in text if character != "\n" and not safe(character)}
        assert not odd, f"{odd} in {text[:500]!r}"


@pytest.fixture(name="call")
def _call() -> Callable[..., Called]:
    return call


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
