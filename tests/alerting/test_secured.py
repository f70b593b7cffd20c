"""Servers with TLS and a password: Prometheus and Alertmanager take the same kind of file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
import requests
import yaml


@pytest.fixture
def secured(tool, free_port, eventually, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of an Alertmanager for user ann with the password secret, and its CA."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    where = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [tool("openssl"), *request, *where, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    web = {
        "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
        "basic_auth_users": {"ann": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()},
    }
    (tmp_path / "web.yml").write_text(yaml.safe_dump(web))
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    address = f"localhost:{free_port()}"
    process = subprocess.Popen(
        [
            tool("alertmanager", "prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.config.file={tmp_path / 'web.yml'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ready() -> bool:
        try:
            url = f"https://ann:secret@{address}/-/ready"
            return requests.get(url, verify=str(certificate), timeout=60).ok
        except requests.ConnectionError:
            return False

    eventually(ready, 20, "Alertmanager is ready")
    yield address, certificate
    process.terminate()
    process.wait(60)


def test_user_password_and_ca(secured, sentinel):
    address, ca = secured
    url = f"https://ann:secret@{address}"
    result = sentinel("alerts", "--url", url, "--ca-file", str(ca), "list")
    assert result.stdout == "No alert fires.\n", result.stderr


def test_what_is_missing_is_said_in_one_line(secured, sentinel):
    address, ca = secured
    trust = ("--ca-file", str(ca))
    for url, more, said in (
        (f"https://ann:secret@{address}", (), "no trusted TLS"),
        (f"https://ann:secret@{address}", (), "--ca-file"),
        (
            f"https://{address}",
            trust,
            "answers 401: these are not its passwords: name its own with --data-dir",
        ),
        (f"https://ann:wrong@{address}", trust, "answers 401"),
        (f"http://ann:secret@{address}", (), "takes HTTPS alone: write https"),
    ):
        result = sentinel("alerts", "--url", url, *more, "list")
        assert result.returncode == 1
        assert said in result.stderr
        assert "secret" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
