"""A real Alertmanager with the configuration that is delivered, and what is posted to it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

ANNOTATIONS = {
    "description": "2 degrees are left until it slows itself down.",
    "value": "2 °C left",
    "threshold": "less than 8 °C left for 30 s",
    "first_step": "Look at the fans of node-7.",
    "runbook_url": "https://wiki.example.org/runbooks#gpuoverheating",
    "dashboard_url": "https://grafana.example.org/d/gpu?var-host=node-7",
}


@dataclass
class Running:
    url: str
    process: subprocess.Popen[bytes]

    def post(self, *alerts: dict[str, Any]) -> None:
        answer = requests.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=60)
        assert answer.ok, answer.text

    def fire(self, name: str, severity: str, /, **labels: str) -> None:
        self.post(alert(name, severity, **labels))

    def silence(self, name: str, pattern: str) -> None:
        """Silences, for ten minutes, alerts with a label that matches the pattern."""
        now = datetime.now(timezone.utc)
        body = {
            "matchers": [{"name": name, "value": pattern, "isRegex": True, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(minutes=10)).isoformat(),
            "createdBy": "test",
            "comment": "test",
        }
        answer = requests.post(f"{self.url}/api/v2/silences", json=body, timeout=60)
        assert answer.ok, answer.text

    def states(self) -> dict[tuple[str, str], str]:
        """`active` or `suppressed` by alert and UUID; `unprocessed` ones are left out."""
        found = requests.get(f"{self.url}/api/v2/alerts", timeout=60).json()
        return {
            (a["labels"]["alertname"], a["labels"].get("uuid", "")): a["status"]["state"]
            for a in found
            if a["status"]["state"] != "unprocessed"
        }

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        page = requests.get(f"{self.url}/metrics", timeout=60).text
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        )


def alert(name: str, severity: str, /, **labels: str) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"{name} of GPU {labels.get('gpu', '?')}", **ANNOTATIONS},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=10)).isoformat(),
        "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=x+%3C+8&g0.tab=1",
    }


@pytest.fixture(name="alert")
def _alert() -> Callable[..., dict[str, Any]]:
    return alert


@pytest.fixture
def delivered(repository: Path, inbox) -> Callable[[], dict[str, Any]]:
    """The configuration that is delivered, sending to the tests' own receivers."""

    def load() -> dict[str, Any]:
        config = yaml.safe_load((repository / "alertmanager" / "alertmanager.yml").read_text())
        config["global"]["smtp_smarthost"] = inbox.smarthost
        config["receivers"][0]["webhook_configs"][0]["url"] = inbox.url
        return config

    return load


@pytest.fixture
def run_alertmanager(
    tool, free_port, eventually, tmp_path: Path, repository: Path
) -> Iterator[Callable[[dict[str, Any]], Running]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(config: dict[str, Any]) -> Running:
        folder = tmp_path / "alertmanager"
        shutil.copytree(repository / "alertmanager" / "templates", folder / "templates")
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        url = f"http://127.0.0.1:{free_port()}"
        log = tmp_path / "alertmanager.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [
                    tool("alertmanager", "prometheus-alertmanager"),
                    f"--config.file={folder / 'alertmanager.yml'}",
                    f"--storage.path={tmp_path / 'data'}",
                    f"--web.listen-address={url.removeprefix('http://')}",
                    "--web.external-url=https://alerts.example.org",
                    "--web.route-prefix=/",
                    "--cluster.listen-address=",
                ],
                stdout=file,
                stderr=file,
            )
        started.append(process)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return requests.get(f"{url}/-/ready", timeout=60).ok
            except requests.ConnectionError:
                return False

        eventually(ready, 20, "Alertmanager is ready")
        return Running(url, process)

    yield start
    for process in started:
        process.terminate()
        process.wait(60)
