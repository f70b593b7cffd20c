"""Other programs on this machine see no password of `up`, and take nothing that it needs."""

from __future__ import annotations

import base64
import resource
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from gpu_sentinel.addresses import proxies
from gpu_sentinel.stack import catcher
from gpu_sentinel.stack.catcher import Catcher
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.process import Component
from gpu_sentinel.stack.supervisor import _Prober
from gpu_sentinel.stack.up import _auditor, _Client


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


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


@pytest.mark.parametrize("kind", ["mail", "webhook"])
def test_connections_to_the_catcher_take_few_descriptors(eventually, monkeypatch, kind: str):
    """Without descriptors, `up` could neither ask its parts nor start them again."""
    monkeypatch.setattr(catcher, "_SILENT_SECONDS", 120.0)
    told: list[str] = []
    catching = Catcher(told.append)
    smarthost, url = catching.start()
    port = int((smarthost if kind == "mail" else url.rstrip("/")).rpartition(":")[2])
    try:
        with ExitStack() as clients:
            held = []
            for _ in range(100):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                with suppress(OSError):
                    client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
                held.append(client)
            eventually(
                lambda: sum(map(_is_open, held)) <= catcher._CONNECTIONS, 20, "the others are ended"
            )
            if kind == "mail":
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as mail:
                    mail.sendmail("a@b", ["c@d"], "To: c@d\nSubject: lost\n\nGPU 0\n")
                eventually(lambda: any("GPU 0" in line for line in told), 20, "the mail is told")
            else:
                alerts = [{"annotations": {"summary": "GPU 0"}}]
                body = {"status": "firing", "alerts": alerts}
                requests.post(url, json=body, timeout=20, proxies=proxies(url))
                eventually(lambda: "Webhook: firing: GPU 0" in told, 20, "the webhook is told")
    finally:
        catching.stop()


def test_part_is_not_blamed_for_descriptors_that_we_lack(tmp_path: Path, eventually):
    """Nor does it end the thread that asks."""
    credentials = Credentials(tmp_path)
    credentials.prepare()
    client = _Client(credentials)
    asked = []

    def answers(url: str) -> bool:
        asked.append(url)
        return client.answers(url)

    part = Component("Part", [], tmp_path / "log", "http://127.0.0.1:9/")
    prober = _Prober(part, answers, 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        prober.start()
        eventually(lambda: len(asked) > 3, 20, "it goes on asking")
        assert prober.failures == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    eventually(lambda: prober.failures > 0, 20, "nobody answers there")
    prober.stop()
    prober.join(20)


def test_auditor_has_the_password_of_the_day(tool, tmp_path: Path, eavesdropper: Eavesdropper):
    tool("alertmanager", "prometheus-alertmanager")
    credentials = Credentials(tmp_path)
    credentials.prepare()
    plan = Plan(tmp_path, None, alertmanager_port=eavesdropper.port, credentials=credentials)
    auditor = _auditor(plan, _Client(credentials), pytest.fail)
    assert auditor is not None
    for _ in range(2):
        eavesdropper.heard.clear()
        auditor.tick()
        login = ":".join(credentials.login("prometheus"))
        assert base64.b64encode(login.encode()) in eavesdropper.heard[0]
        credentials.rotate(["prometheus"])
