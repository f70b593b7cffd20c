"""A real Alertmanager, and a real Prometheus with a past."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests


@pytest.fixture
def alertmanager(tool, free_port, eventually, tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            tool("alertmanager", "prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        stderr=subprocess.DEVNULL,
    )

    def ready() -> bool:
        try:
            return requests.get(f"{url}/-/ready", timeout=60).ok
        except requests.ConnectionError:
            return False

    eventually(ready, 20, "Alertmanager is ready")
    yield url
    process.terminate()
    process.wait(60)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=60).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def past(tool, free_port, eventually, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A Prometheus with rules and with samples that it is given; returns its URL."""
    started: list[subprocess.Popen[bytes]] = []

    def start(samples: str, rules: str) -> str:
        (tmp_path / "rules.yml").write_text(rules)
        config = tmp_path / "prometheus.yml"
        config.write_text("global: {evaluation_interval: 5s}\nrule_files: [rules.yml]\n")
        (tmp_path / "samples").write_text(f"{samples}# EOF\n")
        data = tmp_path / "tsdb"
        create = ["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=768h"]
        subprocess.run(
            [tool("promtool"), *create, str(tmp_path / "samples"), str(data)],
            check=True,
            capture_output=True,
        )
        url = f"http://127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=60d",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        eventually(lambda: answers(url), 20, "Prometheus is ready")
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


@pytest.fixture
def sentinel() -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gpu_sentinel", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call
