"""`gpu-sentinel up`: the whole stack, from nothing to stopped."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from gpu_sentinel import diagnosis
from gpu_sentinel.cli import run
from gpu_sentinel.config import ConfigError, load
from gpu_sentinel.machine import machine
from gpu_sentinel.stack import lock
from gpu_sentinel.stack.plan import notifications


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_and_stops(up, eventually, number: signal.Signals):
    stack = up()
    exporter, alertmanager, prometheus, grafana, data = stack.lines()
    assert f"{stack.shown('exporter')}/  simulated GPUs, scenario steady" in exporter
    assert f"{stack.shown('alertmanager')}/#/alerts  messages are shown in this" in alertmanager
    assert f"{stack.shown('prometheus')}/graph" in prometheus
    assert grafana.startswith("Grafana ")
    assert str(stack.data) in data

    def answer(path: str) -> dict[str, Any]:
        return requests.get(stack.url("prometheus") + path, timeout=60).json()["data"]

    def scraped() -> bool:
        result = answer('/api/v1/query?query=up{job="gpu-sentinel"}')["result"]
        return bool(result) and result[0]["value"][1] == "1"

    eventually(scraped, 20, "Prometheus scrapes the exporter")
    eventually(lambda: answer("/api/v1/alertmanagers")["activeAlertmanagers"], 20, "it is found")
    for job in ("prometheus", "alertmanager"):
        query = f'/api/v1/query?query=up{{job="{job}",host="{socket.gethostname()}"}}==1'
        eventually(lambda q=query: answer(q)["result"], 30, f"{job} is scraped")
    stack.process.send_signal(number)
    out, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 0, errors
    assert out.endswith("Stopped.\n")
    assert stack.refuses()


@pytest.mark.parametrize("more", [(), ("--tls",)], ids=["http", "https"])
def test_check_beside_it_gives_no_advice_that_fails(up, tmp_path: Path, monkeypatch, capsys, more):
    """On a machine without a driver, where `up` simulates GPUs at the port that `serve` wants."""
    monkeypatch.setattr(diagnosis, "_KERNEL_MODULE", tmp_path / "none")
    scenario = tmp_path / "no-driver.yml"
    scenario.write_text(
        "description: No driver.\ngpus: [{model: l40s}]\nevents: [{at: 0s, do: uninstall-driver}]\n"
    )
    stack = up(*more)
    stack.until("Data and logs are in")
    settings = load(
        {"simulate": str(scenario), "web.listen-address": (f":{stack.ports['exporter']}",)}, {}
    )
    port, driver = diagnosis.diagnose(settings, machine(settings))
    assert port.ok
    assert port.detail.endswith(
        "in use by gpu-sentinel, which asks for a password: it runs already"
    )
    assert not driver.ok
    assert "`gpu-sentinel status`" in driver.remedy
    assert "serve --simulate" not in driver.remedy
    # What it says works.
    url = f"{stack.shown('exporter')}/metrics"
    assert run(["status", "--url", url, "--data-dir", str(stack.data)]) == 0
    assert "H100" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["exporter", "prometheus", "alertmanager"])
def test_port_that_is_taken_is_named(up, serve, name: str):
    stack = up(**{name: serve("steady").port})
    _, errors = stack.process.communicate(timeout=120)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert "address already in use" in errors
    assert name in errors.lower()


def test_data_directory_that_cannot_be_written(up, tmp_path: Path):
    (tmp_path / "data").write_text("a file")
    stack = up()
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode in (1, 2)
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", ["up.lock", "logs"])
def test_link_that_somebody_has_put_into_the_data_directory(up, tmp_path: Path, name: str):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    data, target = tmp_path / "data", tmp_path / "precious"
    data.mkdir()
    if name == "logs":
        target.mkdir(mode=0o755)
    else:
        target.write_text("precious")
    (data / name).symlink_to(target)
    os.chown(data / name, 1234, 1234, follow_symlinks=False)
    stack = up()
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1
    assert stat.S_IMODE(target.stat().st_mode) in (0o755, 0o644)
    assert target.is_dir() or target.read_text() == "precious"


def test_lock_of_an_older_version_is_closed_to_others(tmp_path: Path):
    """Whoever can open it, though only to read, can hold it and keep everybody from starting."""
    path = tmp_path / "up.lock"
    path.touch()
    path.chmod(0o644)
    with lock.held(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_root_uses_no_data_directory_of_another_user(up, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 1234, 1234)
    stack = up()
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert "belongs to user 1234, and this is root: run it as that user" in errors


def test_prometheus_that_is_too_old(up, tmp_path: Path, monkeypatch):
    old = tmp_path / "bin" / "prometheus"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'prometheus, version 2.24.1+ds (branch: debian/sid)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    stack = up()
    _, errors = stack.process.communicate(timeout=120)
    assert stack.process.returncode == 1
    assert errors == f"gpu-sentinel: Prometheus: {old} is version 2.24: install 2.42 or newer\n"
    assert stack.refuses()


def test_prometheus_that_refuses_its_configuration(up, tool, tmp_path: Path, monkeypatch):
    """As one does that knows less than the file says: the line in its log is ours to tell."""
    wrapper = tmp_path / "bin" / "prometheus"
    wrapper.parent.mkdir()
    config = tmp_path / "data" / "config" / "prometheus" / "prometheus.yml"
    wrapper.write_text(
        f"""#!/bin/sh
[ "$1" = --version ] || echo 'newer_than_this: true' >> '{config}'
exec '{tool("prometheus")}' "$@"
"""
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    stack = up()
    _, errors = stack.process.communicate(timeout=120)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith("gpu-sentinel: Prometheus has ended with ")
    assert "newer_than_this" in errors
    assert stack.refuses()


def test_exporters_on_other_machines(up, serve, eventually, tmp_path: Path):
    other = serve("steady")
    fleet = tmp_path / "fleet.yml"
    group = {"targets": [f"127.0.0.1:{other.port}"], "labels": {"host": "node-9"}}
    fleet.write_text(yaml.safe_dump([group]))
    stack = up("--targets", str(fleet))
    stack.lines()

    def hosts() -> set[str]:
        url = stack.url("prometheus") + "/api/v1/query?query=up{job='gpu-sentinel'}==1"
        found = requests.get(url, timeout=60).json()["data"]["result"]
        return {series["metric"]["host"] for series in found}

    eventually(lambda: hosts() == {"node-9", socket.gethostname()}, 20, "both are scraped")


WRONG = {
    "malformed-targets": (["--targets", "/dev/null"], "the name must end in .yml"),
    "mail-without-server": (["--email-to", "a@b"], "email-to needs smtp-smarthost"),
    "server-without-port": (
        ["--email-to", "a@b", "--smtp-smarthost", "mail"],
        "'mail' has no port: write as mail.example:587",
    ),
    "webhook-no-url": (["--webhook-url", "here"], "'here' is no URL of http or https"),
    "file-not-there": (["--notifications", "/nowhere.yml"], "cannot be read"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_notifications_are_one_line(up, fault: str):
    arguments, said = WRONG[fault]
    stack = up(*arguments)
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 2
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_notifications_from_a_file(tmp_path: Path):
    file = tmp_path / "notify.yml"
    file.write_text("email-to: a@example.org\nsmtp-smarthost: mail.example:587\n")
    found = notifications({"email-to": "b@example.org"}, file)
    assert (found.email_to, found.smtp_smarthost) == ("b@example.org", "mail.example:587")
    file.write_text("emial-to: a@example.org\n")
    with pytest.raises(ConfigError, match="emial-to: no such key: did you mean 'email-to'"):
        notifications({}, file)
