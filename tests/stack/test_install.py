"""`gpu-sentinel install`: units and configuration below a root, with systemd's own tools.

No systemd runs here: what asks it to start something is recorded.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from gpu_sentinel import cli
from gpu_sentinel.cli import datadir, logins
from gpu_sentinel.stack import install, programs
from gpu_sentinel.stack.install import Target
from gpu_sentinel.stack.units import JOBS, SERVICES, templates

HOOK = ("--webhook-url", "http://127.0.0.1:1/secret")
PARTS = ("exporter", "alertmanager", "prometheus")


@pytest.fixture
def root(tool, tmp_path: Path, monkeypatch) -> Path:
    if os.geteuid() != 0:
        pytest.skip("services are installed by root alone")
    for program in ("systemctl", "systemd-sysusers", "prometheus"):
        tool(program)
    tool("alertmanager", "prometheus-alertmanager")
    # This checkout may be where no service would find it.
    monkeypatch.setattr(install, "_HIDDEN", ())
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def told(capsys) -> Callable[..., tuple[int, str]]:
    """Runs `install` here: its exit code, and what it says."""

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.run(["install", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch) -> Path:
    """A systemctl that writes down what it is asked for."""
    folder, record = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$*" >> "{record}"\n')
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return record


def test_writes_units_configuration_and_users(root: Path, told):
    code, said = told("--root", str(root), *HOOK)
    assert code == 0, said
    units = root / "etc/systemd/system"
    for service in SERVICES:
        if service.part not in PARTS:
            continue
        assert f"{service.unit} " in said
        assert (units / "multi-user.target.wants" / service.unit).is_symlink()
        text = (units / service.unit).read_text()
        assert str(root) not in text, "the service finds it below /"
        assert "127.0.0.1:1/" not in text, "its path may be a secret"
    data = root / "var/lib/gpu-sentinel"
    users = {
        fields[0]: int(fields[2])
        for line in (root / "etc/group").read_text().splitlines()
        if (fields := line.split(":"))
    }
    config = data / "config/alertmanager/alertmanager.yml"
    assert "http://127.0.0.1:1/secret" in config.read_text()
    for path in (config, config.parent):
        assert path.stat().st_gid == users["gpu-sentinel-alertmanager"]
        assert path.stat().st_mode & 0o007 == 0, "nobody else reads it"
    assert str(root) not in (data / "config/prometheus/prometheus.yml").read_text()
    assert (units / "timers.target.wants/gpu-sentinel-audit.timer").is_symlink()
    assert not (units / "gpu-sentinel-certificate.timer").exists()


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


def test_again_then_removed(root: Path, told, repository: Path):
    assert told("--root", str(root), *HOOK)[0] == 0
    own = root / "var/lib/gpu-sentinel/thresholds.yml"
    shutil.copy(repository / "prometheus/thresholds.yml", own)
    assert told("--root", str(root), *HOOK)[0] == 0
    code, said = told("--root", str(root), "--remove")
    assert code == 0
    assert "gpu-sentinel.service is removed." in said
    assert f"\n{root}/var/lib/gpu-sentinel is kept; --purge removes it.\n" in said
    assert not [*(root / "etc/systemd/system").rglob("gpu-sentinel*")]
    assert own.exists()
    assert told("--root", str(root), "--remove", "--purge") == (
        0,
        f"{root}/var/lib/gpu-sentinel is removed.\n",
    )
    assert told("--root", str(root), "--remove") == (0, "Nothing is installed.\n")


def test_dry_run_writes_nothing(root: Path, told):
    code, said = told("--root", str(root), "--dry-run", "--part", "exporter")
    assert code == 0
    assert f"would write {root}/etc/systemd/system/gpu-sentinel.service\n" in said
    assert said.endswith("would run   systemctl enable gpu-sentinel.service\n")
    assert f"would write {root}/var/lib/gpu-sentinel/secrets/passwords/admin\n" in said
    assert not [*root.iterdir()]


def test_asks_systemd_to_start_and_stop(root: Path, recorded: Path, told, free_port, monkeypatch):
    """As on a machine whose systemd runs."""
    monkeypatch.setattr(install, "target", lambda _root: Target(root, live=True))
    monkeypatch.setattr(install, "_give", lambda *_: None)
    monkeypatch.setattr(install, "_run", _without_users(install._run))
    ports = [f"--{part}-port={free_port()}" for part in PARTS]
    code, said = told(*HOOK, *ports)
    assert code == 0, said
    names = (
        "gpu-sentinel.service gpu-sentinel-alertmanager.service gpu-sentinel-prometheus.service "
        "gpu-sentinel-audit.timer"
    )
    assert recorded.read_text().splitlines() == [
        "daemon-reload",
        f"enable {names}",
        f"restart {names}",
    ]
    assert told("--remove")[0] == 0
    assert recorded.read_text().splitlines()[3:] == [
        f"disable --now {names} gpu-sentinel-audit.service",
        "daemon-reload",
    ]


def _without_users(run: Callable[..., None]) -> Callable[..., None]:
    """No users of this machine are made."""

    def but_those(program: str, *arguments: str) -> None:
        if program != "systemd-sysusers":
            run(program, *arguments)

    return but_those


def test_port_that_is_taken_and_unit_of_a_distribution(
    root: Path, recorded: Path, told, serve, monkeypatch
):
    taken = serve("steady").port
    monkeypatch.setattr(install, "target", lambda _root: Target(root, live=True))
    code, said = told("--part", "exporter", f"--exporter-port={taken}")
    assert (code, said.count("\n")) == (1, 1)
    assert f"port {taken} of exporter: Address already in use" in said
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "prometheus.service").symlink_to("/lib/systemd/system/prometheus.service")
    monkeypatch.setattr(install, "target", lambda _root: Target(root, live=False))
    code, said = told("--part", "prometheus")
    assert (code, said.count("\n")) == (1, 1)
    assert "prometheus.service is enabled and takes port 9090: `systemctl disable --now" in said
    assert told("--part", "prometheus", "--prometheus-port=9099")[0] == 0
    assert not recorded.exists() or "daemon-reload" not in recorded.read_text()


WRONG = {
    "nobody-told": ([], "nobody would be told of alerts: name --email-to"),
    "purge-alone": (["--purge"], "--purge goes with --remove"),
    "no-root": (
        ["--root", "/proc/nowhere", *HOOK],
        "--root: /proc/nowhere does not exist: mount the other system there",
    ),
    "file-root": (["--root", "/proc/version", *HOOK], "/proc/version is no directory"),
    "no-root-remove": (["--root", "/proc/nowhere", "--remove"], "/proc/nowhere does not exist"),
    "wrong-part": (["--part", "loki"], "'loki' is not one of"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_options_are_one_line(root: Path, told, fault: str):
    arguments, words = WRONG[fault]
    code, said = told("--root", str(root), *arguments)
    assert code in (1, 2)
    assert said.count("\n") == 1
    assert words in said


def test_where_no_systemd_runs_it_says_so(told):
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    code, said = told(*HOOK)
    assert (code, said.count("\n")) == (1, 1)
    assert "systemd does not run on this machine" in said or "by root alone" in said


def test_program_that_services_cannot_see(root: Path, told, monkeypatch):
    monkeypatch.setattr(install, "_HIDDEN", (Path(sys.executable).parent,))
    code, said = told("--root", str(root), "--part", "exporter")
    assert (code, said.count("\n")) == (1, 1)
    assert "install the package into /opt/gpu-sentinel" in said


@pytest.fixture
def units(root: Path, told, free_port) -> dict[str, Path]:
    """The units as they are installed, of all parts that are there."""
    ports = [f"--{part}-port={free_port()}" for part in PARTS]
    assert told("--root", str(root), "--simulate=steady", *ports, *HOOK)[0] == 0
    return {s.part: root / "etc/systemd/system" / s.unit for s in SERVICES if s.part in PARTS} | {
        "audit": root / "etc/systemd/system/gpu-sentinel-audit.service",
        "timer": root / "etc/systemd/system/gpu-sentinel-audit.timer",
    }


def test_systemd_understands_what_is_written(tool, units: dict[str, Path]):
    command = [tool("systemd-analyze"), "verify", "--man=no", *map(str, units.values())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in result.stderr.splitlines() if "gpu-sentinel" in line]
    assert (result.returncode, said) == (0, []), result.stderr


@pytest.mark.parametrize("part", [s.part for s in (*SERVICES, *JOBS)])
def test_units_are_closed(tool, part: str):
    (unit,) = [s.unit for s in (*SERVICES, *JOBS) if s.part == part]
    result = subprocess.run(
        [
            *(tool("systemd-analyze"), "security", "--offline=true", "--no-pager"),
            *("--threshold=25", str(templates() / unit)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("part", PARTS)
def test_command_of_each_unit_runs(
    root: Path, units: dict[str, Path], eventually, tmp_path: Path, part: str
):
    """With the paths below the root, which systemd would find below /."""
    text = units[part].read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    data = "/var/lib/gpu-sentinel"
    given = f"/run/credentials/{units[part].name}"
    copies = tmp_path / "given"
    copies.mkdir()
    for name, file in re.findall(r"^LoadCredential=([^:]+):(.*)$", text, re.MULTILINE):
        shutil.copy(root / file.lstrip("/"), copies / name)
    command = [
        word.replace(data, f"{root}{data}").replace(given, str(copies))
        for word in shlex.split(line)
    ]
    secret = root / "var/lib/gpu-sentinel/secrets/passwords/prometheus"
    login = ("prometheus", secret.read_text().strip())
    (address,) = re.findall(r"listen-address[= ](127\.0\.0\.1:\d+)", line)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None
        try:
            if not requests.get(f"http://{address}/-/ready", auth=login, timeout=5).ok:
                return False
            return requests.get(f"http://{address}/metrics", timeout=5).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        eventually(ready, 30, "it is ready")
    finally:
        process.terminate()
        process.wait(20)
