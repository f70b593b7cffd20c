"""Prometheus on a data directory of its own, with blocks that take seconds instead of hours."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

#: Samples of one series: time and value.
Samples = dict[str, list[list[Any]]]


#: Runs a command, and waits for ever once something was copied.
_HELD = """
import contextlib, importlib, signal, sys
from gpu_sentinel import cli

def show(done, _total):
    if done:
        print("copying", flush=True)
        signal.pause()

for name in ("backup", "restore"):
    module = importlib.import_module(f"gpu_sentinel.cli.{name}")
    module.progress_bar = lambda _: contextlib.nullcontext(show)
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.fixture
def held() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command, which stands still in the middle of its work."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _HELD, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n", process.communicate()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


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

    def newest(self) -> float:
        """When the last sample was taken, 0 without one."""
        found = self.samples(time.time(), "up").values()
        return max((float(values[-1][0]) for values in found), default=0.0)

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


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


BLOCKS = ("01M8GGX14RXV5CV8C6CHKA94FQ", "01M8GGX17GMB7GBA5B1F9SS1F3")


def _fill(data: Path) -> None:
    for name in BLOCKS:
        block = data / "prometheus" / name
        for file in ("chunks/000001", "index", "meta.json", "tombstones"):
            _write(block / file, f"{file} of {name}".encode() * 50)
    wal = data / "prometheus" / "wal"
    # 2 is covered by the checkpoint: Prometheus is about to delete it.
    for number in (2, 3, 4):
        _write(wal / f"{number:08}", bytes(1000))
    _write(wal / "checkpoint.00000002" / "00000000", b"checkpoint")
    _write(wal / "checkpoint.00000003.tmp" / "00000000", b"unfinished")
    _write(data / "prometheus" / f"{BLOCKS[0]}.tmp-for-deletion" / "index", b"old")
    _write(data / "prometheus" / "chunks_head" / "000001", b"head")
    _write(data / "prometheus" / "queries.active", b"")
    _write(data / "prometheus" / "lock", b"")
    _write(data / "alertmanager" / "silences", b"silences")
    _write(data / "alertmanager" / "nflog", b"nflog")
    _write(data / "dashboards" / "team" / "Mine, ä.json", b"{}", 0o604)
    _write(data / "thresholds.yml", b"temperature: 90\n", 0o640)
    _write(data / "secrets" / "admin", b"secret", 0o600)
    _write(data / "grafana-password", b"secret", 0o600)
    _write(data / "logs" / "prometheus.log", b"log")
    _write(data / "config" / "alertmanager" / "alertmanager.yml", b"receivers: []", 0o600)
    (data / "grafana").mkdir()
    with closing(sqlite3.connect(data / "grafana" / "grafana.db")) as database, database:
        database.execute("CREATE TABLE dashboard (title)")
        database.execute("INSERT INTO dashboard VALUES ('mine')")
    (data / "grafana" / "grafana.db").chmod(0o640)


@pytest.fixture
def fill() -> Callable[[Path], None]:
    """Makes a data directory like that of `gpu-sentinel up`, without a program."""
    return _fill


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory like that of `gpu-sentinel up`, without a program."""
    _fill(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def small_disk(tool: Callable[..., str], tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        tool("mount as root")
    subprocess.run([tool("mount"), "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=True)
    yield folder
    subprocess.run([tool("umount"), str(folder)], check=True)
