"""A real HTTP endpoint that takes what is posted to it, as a webhook or a chat service does."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Posted:
    """One request that was accepted."""

    path: str
    headers: dict[str, str]
    body: bytes
    time: float = field(default_factory=time.time)

    @property
    def content(self) -> Any:
        return json.loads(self.body)


class WebhookReceiver:
    """Listens on loopback; can be told to refuse."""

    def __init__(self) -> None:
        self.got: list[Posted] = []
        self.refuse = False
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._web.server_port}/"
        self._thread = threading.Thread(target=self._web.serve_forever, args=(0.1,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                # PagerDuty accepts with 202; Slack says ok.
                accepted = 202 if "enqueue" in self.path else 200
                self.send_response(500 if receiver.refuse else accepted)
                self.end_headers()
                self.wfile.write(b"ok")
                if not receiver.refuse:
                    receiver.got.append(Posted(self.path, dict(self.headers), body))

            def log_message(self, *_) -> None:
                pass

        return Handler

    def close(self) -> None:
        self._web.shutdown()
        self._web.server_close()
        self._thread.join()
