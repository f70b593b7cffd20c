"""`gpu-sentinel up`: exporter and Prometheus together, from nothing to stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests


def up(data: Path, exporter: int, prometheus: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "gpu_sentinel", "up", "--simulate", "steady"),
            *("--data-dir", str(data)),
            *("--exporter-port", str(exporter), "--prometheus-port", str(prometheus)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def refuses(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    except requests.ConnectionError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_and_stops(tool, free_port, eventually, tmp_path: Path, number: signal.Signals):
    tool("prometheus")
    exporter, prometheus = free_port(), free_port()
    process = up(tmp_path / "data", exporter, prometheus)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert f"http://127.0.0.1:{exporter}/" in lines[0]
        assert "simulated GPUs, scenario steady" in lines[0]
        assert f"http://127.0.0.1:{prometheus}/" in lines[1]
        assert str(tmp_path / "data") in lines[2]

        def scraped() -> bool:
            query = {"query": 'up{job="gpu-sentinel"}'}
            url = f"http://127.0.0.1:{prometheus}/api/v1/query"
            result = requests.get(url, params=query, timeout=5).json()["data"]["result"]
            return bool(result) and result[0]["value"][1] == "1"

        eventually(scraped, 20, "Prometheus scrapes the exporter")
    finally:
        process.send_signal(number)
        out, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert out.endswith("Stopped.\n")
    assert refuses(exporter)
    assert refuses(prometheus)


def test_port_that_is_taken_is_named(tool, serve, free_port, tmp_path: Path):
    tool("prometheus")
    taken = serve("steady")
    process = up(tmp_path / "data", taken.port, free_port())
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert "address already in use" in errors


def test_component_that_dies_ends_the_rest(tool, free_port, eventually, tmp_path: Path):
    tool("prometheus")
    exporter, prometheus = free_port(), free_port()
    process = up(tmp_path / "data", exporter, prometheus)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (killed,) = [c for c in children if "prometheus" in Path(f"/proc/{c}/comm").read_text()]
    os.kill(int(killed), signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Prometheus" in errors
    eventually(lambda: refuses(exporter), 5, "the exporter is stopped too")
