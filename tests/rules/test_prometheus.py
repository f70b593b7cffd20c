"""A real Prometheus with the configuration that is delivered, on a real exporter."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from prometheusfixtures import HOST

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
    eventually(lambda: server.query(named), 10, "the name is joined")
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
    files = [
        f for kind in ("rules", "alerts") for f in (repository / "prometheus" / kind).iterdir()
    ]
    assert checked.stdout.count("rules found") == len(files)


@pytest.mark.parametrize("folder", ["", "compose/"])
def test_every_target_says_on_which_host_it_is(repository: Path, folder: str):
    files = [
        path
        for kind in ("targets", "stack")
        for path in (repository / "prometheus" / f"{folder}{kind}").glob("*.yml")
    ]
    assert {path.stem for path in files} >= {"gpu-sentinel", "prometheus", "alertmanager"}
    for path in files:
        for group in yaml.safe_load(path.read_text()):
            assert group["labels"]["host"], path


def test_every_rule_can_be_evaluated(serve, prometheus, eventually):
    """On real series of several models, and before and after what they look back at."""
    server = prometheus(serve("one-of-each").port)
    idle: set[str] = set()

    def evaluated() -> bool:
        rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
        failed = [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"]
        assert not failed
        idle.clear()
        idle.update(rule["name"] for rule in rules if rule["health"] == "unknown")
        return not idle

    eventually(evaluated, 30, "all rules are evaluated")
    eventually(lambda: server.query("fleet:gpu_utilization_ratio:mean5m"), 30, "the fleet's mean")
    evaluated()
