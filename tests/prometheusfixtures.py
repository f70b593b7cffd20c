"""A real Prometheus with the configuration that is delivered, in which everything is hastened."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

#: `host` as the discovery file of every deployment sets it.
HOST = "node-7"


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """What a path of its API answers."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=60).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        found = self.get("query", query=expression)["result"]
        return [(r["metric"], float(r["value"][1])) for r in found]

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return found[0][1] if found else None

    def by_gpu(self, expression: str, time: float) -> dict[str, float]:
        """The values at a Unix time, of which each GPU has one at most."""
        found = self.get("query", query=expression, time=str(time))["result"]
        values = {r["metric"]["gpu"]: float(r["value"][1]) for r in found}
        assert len(values) == len(found)
        return values

    def alerts(self) -> list[dict[str, object]]:
        found = self.get("alerts")["alerts"]
        return [
            alert
            for alert in found
            if alert["state"] == "firing" and alert["labels"]["alertname"] != "Watchdog"
        ]


@pytest.fixture
def prometheus(
    tool: Callable[..., str],
    repository: Path,
    tmp_path: Path,
    free_port: Callable[[], int],
    eventually: Callable[..., float],
) -> Iterator[Callable[[int], Prometheus]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(exporter_port: int) -> Prometheus:
        folder = tmp_path / "prometheus"
        shutil.copytree(repository / "prometheus", folder)
        config = yaml.safe_load((folder / "prometheus.yml").read_text())
        config["global"] |= {
            # A busy machine may need a second for a scrape.
            "scrape_interval": "2s",
            "scrape_timeout": "2s",
            "evaluation_interval": "1s",
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        for rules in (*folder.glob("rules/*.yml"), *folder.glob("alerts/*.yml")):
            slow = r"^    interval: .*\n"
            rules.write_text(re.sub(slow, "", rules.read_text(), flags=re.MULTILINE))
        target = {"targets": [f"127.0.0.1:{exporter_port}"], "labels": {"host": HOST}}
        shutil.rmtree(folder / "alertmanagers")
        shutil.rmtree(folder / "stack")
        (folder / "targets" / "gpu-sentinel.yml").write_text(yaml.safe_dump([target]))
        address = f"127.0.0.1:{free_port()}"
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address={address}",
                ],
                stdout=log,
                stderr=log,
            )
        running.append(process)
        server = Prometheus(f"http://{address}")

        def ready() -> bool:
            assert process.poll() is None, (tmp_path / "prometheus.log").read_text()
            try:
                return requests.get(f"{server.url}/-/ready", timeout=60).ok
            except requests.ConnectionError:
                return False

        eventually(ready, 20, "Prometheus is ready")
        return server

    yield start
    for process in running:
        process.terminate()
        process.wait(60)
