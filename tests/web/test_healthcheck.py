"""`gpu-sentinel healthcheck`, as in a container: beside an exporter whose settings it finds."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml
from credentials import HASHED

from gpu_sentinel.cli import healthcheck, run
from gpu_sentinel.cli.healthcheck import serve_arguments
from gpu_sentinel.web.http import Response

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
USERS = f"basic_auth_users: {{bob: '{HASHED}'}}\n"

Exporter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def exporter(free_port, eventually, monkeypatch) -> Iterator[Exporter]:
    """Starts one, which then is the first process for `healthcheck`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, **settings: str) -> subprocess.Popen[bytes]:
        port = free_port()
        if settings.pop("by_environment", None):
            settings["GPU_SENTINEL_WEB_LISTEN_ADDRESS"] = f":{port}"
        else:
            flags = ("--web.listen-address", f":{port}", *flags)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-m", "gpu_sentinel", "serve", "--simulate", *flags]
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env={**os.environ, **settings}
        )
        started.append(process)
        cmdline = Path(f"/proc/{process.pid}/cmdline")
        monkeypatch.setattr(healthcheck, "_FIRST_PROCESS", cmdline)
        eventually(lambda: _listens(port), 60, "it listens")
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "",
        TLS,
        USERS,
        TLS + USERS,
        MUTUAL,
        f"{MUTUAL}  max_version: TLS12\n",
    ],
    ids=["http", "https", "password", "https-password", "mutual", "mutual-tls-1.2"],
)
def test_healthy_whatever_it_asks_for(exporter, ca, web_file, text: str):
    ca.sign("server")
    more = ("--web.config.file", str(web_file(text))) if text else ()
    exporter(*more)
    assert run(["healthcheck"]) == 0


def test_healthy_though_it_has_refused_before_it_is_asked(exporter, ca, web_file, monkeypatch):
    ca.sign("server")
    exporter("--web.config.file", str(web_file(MUTUAL)))
    connect = http.client.HTTPSConnection.connect

    def slowly(connection: http.client.HTTPSConnection) -> None:
        connect(connection)
        poll = select.poll()
        poll.register(connection.sock, select.POLLHUP | select.POLLERR)
        # Two writes: the answer to the first one is that nobody is there, if that is not known yet.
        with contextlib.suppress(ConnectionError):
            socket.socket.send(connection.sock, b"\0")
        assert poll.poll(30_000), "it does not hang up"

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", slowly)
    assert run(["healthcheck"]) == 0


def test_settings_of_the_environment_and_of_a_file(exporter, ca, web_file, tmp_path: Path):
    ca.sign("server")
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump({"web": {"config": {"file": str(web_file(TLS))}}}))
    exporter(by_environment="yes", GPU_SENTINEL_CONFIG_FILE=str(config))
    assert run(["healthcheck"]) == 0


def test_web_configuration_that_was_broken_since(exporter, ca, web_file):
    """The exporter goes on with that of before."""
    ca.sign("server")
    path = web_file(TLS)
    exporter("--web.config.file", str(path))
    path.write_text("broken: [")
    assert run(["healthcheck"]) == 0


def test_unhealthy(exporter, capsys, monkeypatch, free_port, eventually):
    process = exporter()
    monkeypatch.setattr("gpu_sentinel.web.neighbour._TIMEOUT_SECONDS", 0.5)
    process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{process.pid}/stat")
    eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", 5, "it is stopped")
    assert run(["healthcheck"]) == 1
    assert "timed out" in capsys.readouterr().err
    # Options come first: nothing listens there.
    process.send_signal(signal.SIGCONT)
    address = f"127.0.0.1:{free_port()}"
    assert run(["healthcheck", "--web.listen-address", address]) == 1
    assert f"http://{address}: " in capsys.readouterr().err


def test_another_program_is_not_healthy(start, monkeypatch, tmp_path: Path, capsys):
    """One that answers 404, or asks for a password of its own."""
    monkeypatch.setattr(healthcheck, "_FIRST_PROCESS", tmp_path / "none")
    theirs = {"WWW-Authenticate": 'Basic realm="other"'}
    for status, headers in ((HTTPStatus.NOT_FOUND, {}), (HTTPStatus.UNAUTHORIZED, theirs)):
        server = start(lambda _, s=status, h=headers: Response(s, b"", headers=h))
        address = server.urls[0].split("/")[2]
        assert run(["healthcheck", "--web.listen-address", address]) == 1
        assert f"answers {status}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("/opt/gpu-sentinel/bin/python /opt/gpu-sentinel/bin/gpu-sentinel serve --simulate", 1),
        ("/sbin/docker-init -- gpu-sentinel serve --web.config.file=serve", 1),
        ("python -m gpu_sentinel serve", 0),
        ("sleep infinity", 0),
        ("", 0),
        ("serve --simulate", 0),
    ],
)
def test_command_lines(command: str, found: int):
    raw = "".join(f"{word}\0" for word in command.split()).encode()
    assert serve_arguments(raw) == (command.split()[-found:] if found else [])


def test_image_and_compose_use_it(repository: Path):
    dockerfile = (repository / "exporter" / "Dockerfile").read_text()
    (check,) = [line for line in dockerfile.splitlines() if line.startswith("    CMD [")]
    assert yaml.safe_load(check.split(" ", 5)[-1]) == ["gpu-sentinel", "healthcheck"]
    services = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]
    for name in ("exporter", "exporter-demo"):
        assert services[name]["healthcheck"]["test"] == ["CMD", "gpu-sentinel", "healthcheck"]
