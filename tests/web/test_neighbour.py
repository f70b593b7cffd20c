"""Who answers at a port that is taken: over HTTP and HTTPS, with and without passwords."""

from __future__ import annotations

import socket
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
from credentials import HASHED

from gpu_sentinel.web import neighbour
from gpu_sentinel.web.http import Request, Response
from gpu_sentinel.web.neighbour import exporter_at

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
USERS = f"basic_auth_users: {{bob: '{HASHED}'}}\n"


def page(_request: Request) -> Response:
    body = b'x 1\ngpu_sentinel_build_info{python_version="3",version="1.2.3"} 1\n'
    return Response(HTTPStatus.OK, body)


@pytest.mark.parametrize("text", ["", TLS], ids=["http", "https"])
def test_exporter_is_named_with_its_version(start, ca, web_file, text: str):
    ca.sign("server")
    server = start(page, web_file(text))
    assert exporter_at(urlsplit(server.urls[0]).netloc, "/metrics") == "gpu-sentinel 1.2.3"


@pytest.mark.parametrize("text", [USERS, TLS + USERS], ids=["http", "https"])
def test_exporter_with_a_password(start, ca, web_file, text: str):
    ca.sign("server")
    server = start(page, web_file(text))
    found = exporter_at(urlsplit(server.urls[0]).netloc, "/metrics")
    assert found == "gpu-sentinel, which asks for a password"


def test_another_program(start, free_port, monkeypatch: pytest.MonkeyPatch):
    server = start()
    assert exporter_at(urlsplit(server.urls[0]).netloc, "/metrics") is None
    assert exporter_at(f"127.0.0.1:{free_port()}", "/metrics") is None
    monkeypatch.setattr(neighbour, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert exporter_at(f"127.0.0.1:{silent.getsockname()[1]}", "/metrics") is None


def test_program_whose_answer_never_ends(start):
    """As much as our page may have is looked at, once."""
    body = b'gpu_sentinel_build_info{version="' * 1_000_000
    server = start(lambda _: Response(HTTPStatus.OK, body))
    assert exporter_at(urlsplit(server.urls[0]).netloc, "/metrics") is None
