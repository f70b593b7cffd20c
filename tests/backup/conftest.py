"""Prometheus on a data directory of its own, with blocks that take seconds instead of hours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

#: Samples of one series: time and value.
Samples = dict[str, list[list[Any]]]


class History:
    """A running Prometheus; without an exporter it only answers queries."""

    def __init__(self, program: str, data: Path, port: int, exporter: int | None) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.log = data.parent / f"{data.name}-{port}.log"
        config = data.parent / f"prometheus-{port}.yml"
        target = {"targets": [f"127.0.0.1:{exporter}"]}
        scrape = {"job_name": "gpu", "scrape_interval": "500ms", "static_configs": [target]}
        config.write_text(yaml.safe_dump({"scrape_configs": [scrape] if exporter else []}))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={data}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--storage.tsdb.min-block-duration=2s",
                    "--storage.tsdb.max-block-duration=10s",
                ],
                stdout=log,
                stderr=log,
            )

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        except requests.RequestException:
            return False

    def samples(self, at: float, selector: str = '{job="gpu"}') -> Samples:
        """All samples of the ten minutes before a Unix time, by series."""
        parameters = {"query": f"{selector}[10m]", "time": f"{at:.3f}"}
        answer = requests.get(f"{self.url}/api/v1/query", params=parameters, timeout=20).json()
        assert answer["status"] == "success", answer
        return {str(sorted(r["metric"].items())): r["values"] for r in answer["data"]["result"]}

    def blocks(self) -> int:
        return len(list(self.data.glob("*/meta.json")))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_history(tool, free_port, eventually) -> Iterator[Callable[..., History]]:
    started: list[History] = []

    def start(data: Path, exporter: int | None = None) -> History:
        server = History(tool("prometheus"), data, free_port(), exporter)
        started.append(server)
        eventually(server.ready, 30, "Prometheus is ready")
        return server

    yield start
    for server in started:
        server.kill()
