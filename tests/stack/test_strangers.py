"""Other programs, on this machine and on the way, are shown no password of the stack."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest


class Eavesdropper:
    """Takes whatever is sent to a port, and answers that there is nothing."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                self.heard.append(client.recv(65536))
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def eavesdropper() -> Iterator[Eavesdropper]:
    listening = Eavesdropper()
    yield listening
    listening.close()


def test_proxy_of_the_environment_is_not_asked_for_loopback(
    up, eavesdropper: Eavesdropper, monkeypatch
):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{eavesdropper.port}")
    stack = up()
    assert "exporter" in stack.lines()[0]
    login = ("--credentials-file", str(stack.data / "secrets" / "credentials.yml"))
    for command in (
        ("status", "--url", f"{stack.shown('exporter')}/metrics", *login),
        ("alerts", "--url", stack.shown("alertmanager"), *login, "list"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "gpu_sentinel", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not result.stderr, result.stderr
    assert not eavesdropper.heard


def test_program_that_has_the_port_before(up, eavesdropper: Eavesdropper):
    stack = up(exporter=eavesdropper.port)
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert "another program answers" in errors
    assert not any(b"authorization" in said.lower() for said in eavesdropper.heard)
