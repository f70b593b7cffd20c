"""`gpu-sentinel install`: written below a root and removed, with systemd's own tools.

No systemd runs here: what asks it to start something is recorded.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from installing import HOOK, PARTS

from gpu_sentinel.stack import install
from gpu_sentinel.stack.install import Target
from gpu_sentinel.stack.units import SERVICES


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
