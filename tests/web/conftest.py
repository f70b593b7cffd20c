"""Certificates, and servers that are stopped again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from credentials import Authority

from gpu_sentinel.web.access import load_access
from gpu_sentinel.web.http import App, Request, Response
from gpu_sentinel.web.server import WebServer


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def web_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(text)
        return path

    return write


def echo(request: Request) -> Response:
    """An application that says what it was asked."""
    return Response(HTTPStatus.OK, f"{request.method} {request.path}\n".encode())


Start = Callable[..., WebServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers: `start(app, config=path, addresses=[...], max_connections=n)`."""
    running: list[WebServer] = []

    def run(
        app: App = echo,
        config: Path | None = None,
        addresses: tuple[str, ...] = ("127.0.0.1:0",),
        max_connections: int = 32,
        roles: Path | None = None,
        **more: object,
    ) -> WebServer:
        access = load_access(config, roles)
        server = WebServer(addresses, app, access, max_connections=max_connections, **more)
        server.start()
        running.append(server)
        return server

    yield run
    for server in running:
        server.stop(2.0)
