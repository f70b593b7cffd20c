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
from gpu_sentinel.stack import install
from gpu_sentinel.stack.install import Target
from gpu_sentinel.stack.units import SERVICES, templates

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
        assert "secret" not in text
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


def test_again_then_removed(root: Path, told, repository: Path):
    assert told("--root", str(root), *HOOK)[0] == 0
    own = root / "var/lib/gpu-sentinel/thresholds.yml"
    shutil.copy(repository / "prometheus/thresholds.yml", own)
    assert told("--root", str(root), *HOOK)[0] == 0
    code, said = told("--root", str(root), "--remove")
    assert code == 0
    assert "gpu-sentinel.service is removed." in said
    assert "/var/lib/gpu-sentinel is kept; --purge removes it." in said
    assert not [*(root / "etc/systemd/system").rglob("gpu-sentinel*")]
    assert own.exists()
    assert told("--root", str(root), "--remove", "--purge") == (
        0,
        "/var/lib/gpu-sentinel is removed.\n",
    )
    assert told("--root", str(root), "--remove") == (0, "Nothing is installed.\n")


def test_dry_run_writes_nothing(root: Path, told):
    code, said = told("--root", str(root), "--dry-run", "--part", "exporter")
    assert code == 0
    assert f"would write {root}/etc/systemd/system/gpu-sentinel.service\n" in said
    assert said.endswith("would run   systemctl enable gpu-sentinel.service\n")
    assert not [*root.iterdir()]


def test_asks_systemd_to_start_and_stop(root: Path, recorded: Path, told, free_port, monkeypatch):
    """As on a machine whose systemd runs."""
    monkeypatch.setattr(install, "target", lambda _root: Target(root, live=True))
    monkeypatch.setattr(install, "_give", lambda *_: None)
    monkeypatch.setattr(install, "_run", _without_users(install._run))
    ports = [f"--{part}-port={free_port()}" for part in PARTS]
    code, said = told(*HOOK, *ports)
    assert code == 0, said
    names = "gpu-sentinel.service gpu-sentinel-alertmanager.service gpu-sentinel-prometheus.service"
    assert recorded.read_text().splitlines() == [
        "daemon-reload",
        f"enable {names}",
        f"restart {names}",
    ]
    assert told("--remove")[0] == 0
    assert recorded.read_text().splitlines()[3:] == [f"disable --now {names}", "daemon-reload"]


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
    "no-root": (["--root", "/nowhere", *HOOK], "/nowhere is no directory"),
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
    return {s.part: root / "etc/systemd/system" / s.unit for s in SERVICES if s.part in PARTS}


def test_systemd_understands_what_is_written(tool, units: dict[str, Path]):
    command = [tool("systemd-analyze"), "verify", "--man=no", *map(str, units.values())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in result.stderr.splitlines() if "gpu-sentinel" in line]
    assert (result.returncode, said) == (0, []), result.stderr


@pytest.mark.parametrize("part", [s.part for s in SERVICES])
def test_units_are_closed(tool, part: str):
    (unit,) = [s.unit for s in SERVICES if s.part == part]
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
def test_command_of_each_unit_runs(root: Path, units: dict[str, Path], eventually, part: str):
    """With the paths below the root, which systemd would find below /."""
    (line,) = re.findall(r"^ExecStart=(.*)$", units[part].read_text(), re.MULTILINE)
    data = "/var/lib/gpu-sentinel"
    command = [word.replace(data, f"{root}{data}") for word in shlex.split(line)]
    (address,) = re.findall(r"listen-address[= ](127\.0\.0\.1:\d+)", line)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None
        try:
            return requests.get(f"http://{address}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(ready, 30, "it is ready")
    finally:
        process.terminate()
        process.wait(20)
