"""`gpu-sentinel alerts` against a real Alertmanager."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
import requests

Run = Callable[..., subprocess.CompletedProcess[str]]


def alert(name: str, gpu: str, severity: str = "critical", **more: str) -> dict[str, object]:
    return {
        "labels": {"alertname": name, "gpu": gpu, "host": "node-7", "severity": severity, **more},
        "annotations": {"summary": f"{name} of GPU {gpu}"},
        "startsAt": datetime.now(timezone.utc).isoformat(),
    }


@pytest.fixture
def run(alertmanager: str) -> Run:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gpu_sentinel", "alerts", "--url", alertmanager, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return call


@pytest.fixture
def fire(alertmanager: str, run: Run, eventually) -> Callable[..., dict[str, str]]:
    """Lets alerts fire; returns their ids by GPU."""

    def post(*alerts: dict[str, object]) -> dict[str, str]:
        answer = requests.post(f"{alertmanager}/api/v2/alerts", json=alerts, timeout=60)
        assert answer.ok, answer.text
        eventually(lambda: len(listed(run)) >= len(alerts), 5, "they are listed")
        return {a["labels"]["gpu"]: a["id"] for a in listed(run)}

    return post


def listed(run: Run) -> list[dict]:
    return json.loads(run("list", "--json").stdout)


def test_nothing_fires(run: Run):
    assert run("list").stdout == "No alert fires.\n"


def test_the_most_severe_comes_first(run: Run, fire):
    fire(alert("GpuNearSlowdown", "0", "warning"), alert("GpuLost", "1"))
    header, first, second = run("list").stdout.splitlines()
    assert header.split()[:2] == ["ID", "SEVERITY"]
    assert "GpuLost of GPU 1" in first
    assert "GpuNearSlowdown of GPU 0" in second


def test_acknowledged_is_that_alert_alone(run: Run, fire, eventually):
    ids = fire(alert("GpuLost", "1"), alert("GpuLost", "2"))
    done = run("ack", ids["1"][:8], "--comment", "in work", "--author", "ann", "--for", "2h")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Acknowledged for 2h: GpuLost of GPU 1\n"

    def states() -> dict[str, str]:
        return {a["labels"]["gpu"]: a["state"] for a in listed(run)}

    eventually(lambda: states() == {"1": "acknowledged", "2": "active"}, 5, "one of two")
    (one,) = [a for a in listed(run) if a["labels"]["gpu"] == "1"]
    (silence,) = one["acknowledged"]
    assert (silence["author"], silence["comment"]) == ("ann", "in work")
    until = datetime.fromisoformat(silence["until"]) - datetime.now(timezone.utc)
    assert 7100 < until.total_seconds() <= 7200
    assert "acknowledged by ann until" in run("list").stdout

    assert run("unack", ids["1"]).returncode == 0
    eventually(lambda: states() == {"1": "active", "2": "active"}, 5, "none")
    again = run("unack", ids["1"])
    assert again.returncode == 1
    assert "is not acknowledged" in again.stderr


def test_wrong_use_is_one_line(run: Run, fire):
    fire(alert("GpuLost", "1"))
    for arguments, code, said in (
        (["ack", "ffffffff", "--comment", "x"], 1, "is no alert that fires"),
        (["ack", "", "--comment", " "], 2, "a comment"),
        (["ack", "x", "--comment", "y", "--for", "3"], 2, "is no duration"),
        (["ack", "x"], 2, "Missing option '--comment'"),
        (["unack", "ffffffff"], 1, "is no alert that fires"),
    ):
        result = run(*arguments)
        assert result.returncode == code, result.stderr
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_no_alertmanager(free_port):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "gpu_sentinel", "alerts"),
            *("--url", f"http://127.0.0.1:{free_port()}", "list"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("gpu-sentinel: no Alertmanager answers at http://127.0.0.1:")
    assert len(result.stderr.splitlines()) == 1
