"""Exporters on other machines that ask for a password, and serve HTTPS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml

from gpu_sentinel.cli import run
from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack import programs, targets
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.plan import Plan
from gpu_sentinel.stack.process import Component


class Elsewhere:
    """An exporter as on another machine: with passwords and a CA that are not those of `up`."""

    def __init__(self, folder: Path, port: int, *, tls: bool) -> None:
        self.credentials = Credentials(folder / "secrets", tls)
        self.credentials.prepare()
        self.port = port
        (folder / "logs").mkdir()
        plan = Plan(folder, "steady", exporter_port=port, credentials=self.credentials)
        self.component: Component = programs.exporter(plan)
        self.component.start()
        self.component.wait_ready(self._answers, 120)

    def _answers(self, url: str) -> bool:
        trust = str(self.credentials.ca_file) if self.credentials.tls else True
        login = self.credentials.login("prometheus")
        try:
            return requests.get(url, auth=login, verify=trust, timeout=10).ok
        except requests.RequestException:
            return False

    def targets(self, path: Path) -> Path:
        group = {"targets": [f"localhost:{self.port}"], "labels": {"host": "node-8"}}
        path.write_text(yaml.safe_dump([group]))
        return path

    def login(self, path: Path) -> Path:
        folder = os.path.relpath(self.credentials.folder, path.parent)
        content = {"user": "prometheus", "password_file": f"{folder}/passwords/prometheus"}
        if self.credentials.tls:
            content["ca_file"] = f"{folder}/tls/ca.pem"
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture
def elsewhere(tmp_path: Path, free_port) -> Iterator[Callable[..., Elsewhere]]:
    started: list[Elsewhere] = []

    def start(*, tls: bool) -> Elsewhere:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        started.append(Elsewhere(folder, free_port(), tls=tls))
        return started[-1]

    yield start
    for exporter in started:
        exporter.component.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_scraped_with_a_password_of_their_own(up, elsewhere, eventually, tmp_path: Path, tls: bool):
    exporter = elsewhere(tls=tls)
    fleet, login = exporter.targets(tmp_path / "fleet.yml"), exporter.login(tmp_path / "login.yml")
    stack = up("--targets", str(fleet), "--targets-credentials", str(login))
    stack.until("Data and logs are in")

    def target() -> dict[str, str]:
        url = f"{stack.url('prometheus')}/api/v1/targets"
        found = requests.get(url, timeout=60).json()["data"]["activeTargets"]
        every = [t for t in found if t["labels"]["host"] == "node-8"]
        return every[0] if every else {"health": "none"}

    eventually(lambda: target()["health"] == "up", 60, "it is scraped")
    assert target()["labels"]["job"] == "gpu-sentinel"
    # A password that is replaced is taken from its file without a restart.
    hidden = exporter.credentials.password_file("prometheus")
    password = hidden.read_text()
    hidden.write_text("another\n")
    eventually(lambda: "401" in target().get("lastError", ""), 60, "the wrong one is refused")
    hidden.write_text(password)
    eventually(lambda: target()["health"] == "up", 60, "it is scraped again")
    config = (stack.data / "config/prometheus/prometheus.yml").read_text()
    assert password.strip() not in config


def test_their_password_is_not_shown_to_the_parts_on_this_machine(tmp_path: Path):
    own = Credentials(tmp_path / "secrets", tls=True)
    own.prepare()
    login = tmp_path / "login.yml"
    login.write_text("user: fleet\npassword_file: hidden\n")
    (tmp_path / "hidden").write_text("hidden-1\n")
    (tmp_path / "fleet.yml").write_text("- targets: [node-8:9836]\n  labels: {host: node-8}\n")
    plan = Plan(
        tmp_path,
        None,
        targets=tmp_path / "fleet.yml",
        targets_login=targets.login(login),
        credentials=own,
    )
    component = programs.prometheus(plan)
    assert component is not None
    config = yaml.safe_load((tmp_path / "config/prometheus/prometheus.yml").read_text())
    asked = {job["job_name"]: job["basic_auth"] for job in config["scrape_configs"]}
    there = asked.pop("gpu-sentinel-elsewhere")
    assert there == {"username": "fleet", "password_file": str(tmp_path / "hidden")}
    assert len(asked) == 4
    for here in asked.values():
        assert here["password_file"] == str(own.password_file("prometheus"))


WRONG = {
    "not-there": (None, "cannot be read"),
    "key": ("user: a\npasword_file: hidden\n", "pasword_file: no such key: did you mean"),
    "no-password": ("user: a\n", "password_file: is missing"),
    "no-file": ("user: a\npassword_file: none\n", "none: No such file"),
    "empty": ("user: a\npassword_file: empty\n", "empty: holds no password"),
    "ca": ("user: a\npassword_file: hidden\nca_file: hidden\n", "hidden: holds no certificate"),
    "no-ca": ("user: a\npassword_file: hidden\nca_file: none\n", "none: No such file"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_file_is_one_line_without_the_password(tmp_path: Path, fault: str):
    text, said = WRONG[fault]
    (tmp_path / "hidden").write_text("hidden-1\n")
    (tmp_path / "empty").write_text("\n")
    path = tmp_path / "login.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        targets.login(path)
    message = str(caught.value)
    assert message.startswith(f"targets-credentials: {path}")
    assert said in message
    assert "hidden-1" not in message
    assert "\n" not in message


def test_credentials_without_targets(tmp_path: Path, capsys):
    data = ("--data-dir", str(tmp_path / "data"))
    assert run(["up", *data, "--targets-credentials", str(tmp_path / "login.yml")]) == 2
    assert "--targets-credentials needs --targets" in capsys.readouterr().err
