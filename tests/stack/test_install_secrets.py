"""`gpu-sentinel install`: whose passwords are where, and what their commands find."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from installing import HOOK, PARTS

from gpu_sentinel import cli
from gpu_sentinel.cli import datadir, logins
from gpu_sentinel.stack import install, programs
from gpu_sentinel.stack.install import Target
from gpu_sentinel.stack.units import JOBS, SERVICES


def test_secrets_stay_with_root_and_are_named_to_the_service_they_are_for(root: Path, told):
    code, said = told("--root", str(root), "--tls", *HOOK)
    assert code == 0, said
    secrets = root / "var/lib/gpu-sentinel/secrets"
    for path in (secrets, *secrets.rglob("*")):
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (0, 0), path
    passwords = {path.name: path.read_text().strip() for path in (secrets / "passwords").iterdir()}
    assert "admin" in passwords
    others = [p for p in root.rglob("*") if p.is_file() and not p.is_relative_to(secrets)]
    for text in (said, *(path.read_text(errors="replace") for path in others)):
        assert not [user for user, password in passwords.items() if password in text]
    given = {
        unit: re.findall(r"^LoadCredential=([^:]+):(.*)$", path.read_text(), re.MULTILINE)
        for unit in (*(s.unit for s in SERVICES if s.part in PARTS), *(j.unit for j in JOBS))
        if (path := root / "etc/systemd/system" / unit)
    }
    pair, ca = ["server.key", "server.pem"], ["ca.pem"]
    prometheus = ["password-prometheus"]
    assert {unit: sorted(name for name, _ in files) for unit, files in given.items()} == {
        "gpu-sentinel.service": ["roles.yml", *pair, "web.yml"],
        "gpu-sentinel-alertmanager.service": [*pair, "web.yml"],
        "gpu-sentinel-prometheus.service": [*ca, *prometheus, *pair, "web.yml"],
        "gpu-sentinel-audit.service": [*ca, "credentials.yml", *prometheus],
        "gpu-sentinel-certificate.service": [],
    }
    for unit, files in given.items():
        for name, file in files:
            assert (root / file.lstrip("/")).is_file(), (unit, name)
        part = (
            unit.removeprefix("gpu-sentinel-").partition(".")[0].replace("gpu-sentinel", "exporter")
        )
        if "web.yml" in dict(files):
            assert dict(files)["web.yml"].endswith(f"/secrets/web/{part}.yml")


def test_passwords_are_shown_once_and_on_a_terminal_alone(root: Path, told, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    passwords = root / "var/lib/gpu-sentinel/secrets/passwords"
    said = told("--root", str(root), *HOOK)[1]
    assert f"  admin    {(passwords / 'admin').read_text().strip()}  may do everything\n" in said
    assert (passwords / "prometheus").read_text().strip() not in said
    said = told("--root", str(root), *HOOK)[1]
    assert (passwords / "admin").read_text().strip() not in said
    assert f"passwords in {passwords}/USER\n" in said


def test_grafana_is_given_what_its_files_name(root: Path, told, monkeypatch):
    """No Grafana is run: one is said to be there."""
    monkeypatch.setattr(programs, "grafana_program", lambda: ("/usr/bin/true", root))
    code, said = told("--root", str(root), "--part", "grafana", "--tls")
    assert code == 0, said
    unit = "gpu-sentinel-grafana.service"
    text = (root / "etc/systemd/system" / unit).read_text()
    given = dict(re.findall(r"^LoadCredential=([^:]+):(.*)$", text, re.MULTILINE))
    for file in given.values():
        assert (root / file.lstrip("/")).is_file()
    config = root / "var/lib/gpu-sentinel/config/grafana/provisioning/datasources/sentinel.yml"
    named = re.findall(rf"/run/credentials/{unit}/([\w.-]+)", text + config.read_text())
    assert sorted(set(named)) == sorted(given)
    assert sorted(given) == [
        *("ca.pem", "password-grafana", "password-prometheus", "server.key", "server.pem")
    ]
    assert not (root / "etc/systemd/system/gpu-sentinel-audit.timer").exists(), "no Alertmanager"


def test_login_at_other_machines_is_a_credential_of_prometheus(root: Path, told, tmp_path: Path):
    for name, text in {
        "fleet.yml": "- targets: [node-8:9836]\n  labels: {host: node-8}\n",
        "login.yml": "user: fleet\npassword_file: hidden\n",
        "hidden": "hidden-1\n",
    }.items():
        (tmp_path / name).write_text(text)
    fleet = ("--targets", f"{tmp_path}/fleet.yml", f"--targets-credentials={tmp_path}/login.yml")
    code, said = told("--root", str(root), *HOOK, *fleet)
    assert code == 0, said
    given = f"LoadCredential=targets-password:{tmp_path}/hidden\n"
    for service in SERVICES:
        unit = root / "etc/systemd/system" / service.unit
        if unit.exists():
            assert (given in unit.read_text()) == (service.part == "prometheus")
    config = (root / "var/lib/gpu-sentinel/config/prometheus/prometheus.yml").read_text()
    assert "/run/credentials/gpu-sentinel-prometheus.service/targets-password" in config
    assert not [p for p in root.rglob("*") if p.is_file() and b"hidden-1" in p.read_bytes()]


def test_again_keeps_passwords_and_takes_tls_off(root: Path, told):
    password = root / "var/lib/gpu-sentinel/secrets/passwords/admin"
    timer = root / "etc/systemd/system/gpu-sentinel-certificate.timer"
    wanted = timer.parent / "timers.target.wants" / timer.name
    assert told("--root", str(root), "--tls", *HOOK)[0] == 0
    first = password.read_text()
    assert wanted.is_symlink()
    # One part alone would speak another protocol than the others.
    code, said = told("--root", str(root), "--part", "prometheus")
    assert (code, said.count("\n")) == (1, 1)
    assert "name --part exporter, too" in said
    assert told("--root", str(root), "--tls", "--part", "prometheus")[0] == 0
    code, said = told("--root", str(root), *HOOK)
    assert code == 0, said
    assert password.read_text() == first
    assert not timer.exists()
    assert not wanted.is_symlink()
    text = (timer.parent / "gpu-sentinel-prometheus.service").read_text()
    assert "server.key" not in text


def test_root_finds_the_credentials_of_services(root: Path, told, capsys, monkeypatch, tmp_path):
    assert told("--root", str(root), *HOOK)[0] == 0
    secrets = root / "var/lib/gpu-sentinel/secrets"
    monkeypatch.setattr(datadir, "INSTALLED", secrets.parent)
    monkeypatch.setattr(datadir, "DEFAULT_DATA", tmp_path / "none")
    assert cli.run(["credentials", "show", "admin"]) == 0
    assert capsys.readouterr().out == (secrets / "passwords/admin").read_text()
    monkeypatch.setattr(datadir, "INSTALLED", tmp_path / "none")
    assert cli.run(["credentials", "show", "admin"]) == 1
    assert "holds no credentials" in capsys.readouterr().err
    searched = (secrets / "credentials.yml", *logins._SEARCHED[1:])
    monkeypatch.setattr(logins, "_SEARCHED", searched)
    found = logins.find(None)
    assert found is not None
    assert (found.user, found.password) == (
        "admin",
        (secrets / "passwords/admin").read_text().strip(),
    )
    assert str(logins.INSTALLED) == "/var/lib/gpu-sentinel"


def test_rotate_restarts_the_services(root: Path, recorded: Path, told, capsys, monkeypatch):
    """As on a machine whose systemd runs, and whose root is this one."""
    assert told("--root", str(root), "--tls", *HOOK)[0] == 0
    recorded.unlink()
    monkeypatch.setattr(install, "_here", lambda: Target(root, live=True))
    secrets = root / "var/lib/gpu-sentinel/secrets"
    old = (secrets / "passwords/reader").read_text()
    assert cli.run(["credentials", "rotate", "--data-dir", str(secrets.parent), "reader"]) == 0
    said = capsys.readouterr().out
    assert (secrets / "passwords/reader").read_text() != old
    names = [s.unit for s in SERVICES if s.part in PARTS]
    assert f"Restarted: {', '.join(names)}." in said
    restarted = f"try-restart {' '.join(names)}\n"
    assert recorded.read_text() == restarted
    assert cli.run(["credentials", "renew", "--data-dir", str(secrets.parent)]) == 0
    assert capsys.readouterr().out == "The certificate lasts.\n"
    (secrets / "web/server.pem").unlink()
    assert cli.run(["credentials", "renew", "--data-dir", str(secrets.parent)]) == 0
    assert "The certificate is a new one.\nRestarted: " in capsys.readouterr().out
    assert recorded.read_text() == restarted * 2
