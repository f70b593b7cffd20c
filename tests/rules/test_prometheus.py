"""A real Prometheus with the configuration that is delivered, on a real exporter."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml

#: `host` as the discovery file of every deployment sets it.
HOST = "node-7"


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        answer = requests.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=5
        ).json()
        assert answer["status"] == "success", answer
        return [(r["metric"], float(r["value"][1])) for r in answer["data"]["result"]]

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return found[0][1] if found else None

    def alerts(self) -> list[dict[str, object]]:
        found = requests.get(f"{self.url}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
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
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        target = {"targets": [f"127.0.0.1:{exporter_port}"], "labels": {"host": HOST}}
        (folder / "alertmanagers" / "local.yml").unlink()
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
                return requests.get(f"{server.url}/-/ready", timeout=5).ok
            except requests.ConnectionError:
                return False

        eventually(ready, 20, "Prometheus is ready")
        return server

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


LOST = """
description: Two H100, of which one is lost.
gpus:
  - {model: h100-sxm, count: 2, load: {kind: steady, utilization: 0.9, memory: 0.5}}
events:
  - {at: 8s, gpu: 1, do: lose}
"""


def test_scrape_query_and_alert(serve, prometheus, eventually):
    exporter = serve(LOST)
    server = prometheus(exporter.port)
    up = f'up{{job="gpu-sentinel",host="{HOST}"}}'
    eventually(lambda: server.value(up) == 1.0, 15, "the target is up")
    eventually(lambda: (server.value('gpu_power_watts{gpu="0"}') or 0) > 400, 10, "power is there")
    labels, _ = server.query('gpu_power_watts{gpu="0"}')[0]
    assert labels["host"] == HOST
    assert labels["uuid"].startswith("GPU-")
    named = "gpu_power_watts * on (instance, uuid) group_left (name) gpu_info"
    assert server.query(named)[0][0]["name"] == "NVIDIA H100 80GB HBM3"
    mean = "rate(gpu_busy_seconds_total{gpu='0'}[10s])"
    eventually(lambda: 0.8 < (server.value(mean) or 0) < 1.0, 10, "the mean is there")
    eventually(server.alerts, 20, "an alert fires")
    (alert,) = server.alerts()
    assert alert["labels"]["alertname"] == "GpuLost"
    assert alert["labels"]["gpu"] == "1"
    assert alert["labels"]["host"] == HOST
    assert alert["annotations"]["summary"] == f"GPU 1 on {HOST} is lost"


#: These find something only where something is wrong.
SILENT = {"gpu_lost == 1", "gpu_expected_devices - gpu_devices > 0"}


def test_queries_of_the_documentation(serve, prometheus, eventually, repository: Path):
    page = (repository / "docs" / "queries.md").read_text()
    queries = re.findall(r"^\| [^|]+ \| `(.+)` \|$", page, re.MULTILINE)
    assert len(queries) > 12
    server = prometheus(serve("training").port)
    missing = set(queries) - SILENT

    def all_answered() -> bool:
        missing.difference_update({q for q in missing if server.query(q)})
        return not missing

    try:
        eventually(all_answered, 30, "every query is answered")
    except AssertionError:
        pytest.fail(f"without an answer: {missing}")
    for query in SILENT:
        assert query in queries
        assert server.query(query) == []


def test_scrape_as_openmetrics_and_gzip(serve):
    exporter = serve("steady")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = exporter.get(headers={"Accept": accept, "Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.text.endswith("# EOF\n")


def test_configuration_is_valid(tool: Callable[..., str], repository: Path):
    checked = subprocess.run(
        [tool("promtool"), "check", "config", str(repository / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("rules found") == 5
