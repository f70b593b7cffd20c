"""A disk that is full or cannot be written to, with real file systems; a clock that went back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509

from gpu_sentinel.stack import certificates, credentials
from gpu_sentinel.stack.storage import NEWER, Storage

#: A service that rings when it is not called.
SWITCH = """
receivers:
  - name: dead-mans-switch
    webhook_configs: [{url: "%s", send_resolved: false}]
routes:
  - matchers: ['alertname="Watchdog"']
    receiver: dead-mans-switch
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 1s
"""


@pytest.fixture
def disk(tool, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 32 MiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = [tool("mount"), "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode != 0:
        if os.environ.get("SENTINEL_REQUIRE_TOOLS"):
            pytest.fail(result.stderr)
        pytest.skip(f"nothing can be mounted: {result.stderr.strip()}")
    yield folder
    # Parts that are still ending hold it; it goes with the last of them.
    subprocess.run([tool("umount"), "--lazy", str(folder)], timeout=20, check=True)


def fill(disk: Path) -> Path:
    """Take all that is left."""
    path = disk / "fill"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


@pytest.mark.long
@pytest.mark.timeout(400)
def test_full_disk_is_told_and_ends(up, disk: Path, eventually, webhook, tmp_path: Path):
    switch = tmp_path / "switch.yml"
    switch.write_text(SWITCH % webhook.url)
    stack = up("--receiver", str(switch))
    stack.lines()

    def rings() -> bool:
        """Nobody has called for a while, as it finds when it looks."""
        calls = len(webhook.got)
        time.sleep(8)
        return len(webhook.got) == calls

    eventually(lambda: webhook.got, 60, "the Watchdog calls")
    assert not rings()
    filled = fill(disk)
    assert "is almost full" in stack.until("The disk of")[-1]
    told = stack.until("Prometheus has stored nothing for")[-1]
    assert f"the disk of {disk} is almost full (0 MiB free): free space" in told
    eventually(rings, 150, "the dead man's switch goes off")
    api = stack.url("alertmanager") + "/api/v2/alerts"

    def alerts() -> set[str]:
        return {a["labels"]["alertname"] for a in requests.get(api, timeout=5).json()}

    eventually(lambda: "PrometheusStoresNothing" in alerts(), 150, "Alertmanager knows it")
    filled.unlink()
    # In either order.
    missing = {"has space again", "Prometheus stores again"}
    while missing:
        line = stack.until("again")[-1]
        missing = {words for words in missing if words not in line}
    eventually(lambda: not rings(), 60, "the Watchdog calls again")


def test_start_on_a_full_disk_is_one_line(up, disk: Path):
    fill(disk)
    stack = up()
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert "No space left on device: free space, or name a --data-dir on another disk" in errors


def test_prometheus_that_finds_no_space_at_its_start_is_one_line(
    up, tool, disk: Path, tmp_path: Path, monkeypatch
):
    """The disk fills up after the configuration was written."""
    wrapper = tmp_path / "bin" / "prometheus"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"""#!/bin/sh
[ "$1" = --version ] || cat /dev/zero > '{disk / "fill"}' 2> /dev/null
exec '{tool("prometheus")}' "$@"
"""
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    stack = up()
    _, errors = stack.process.communicate(timeout=90)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert f"the disk of {disk} is almost full (0 MiB free): free space" in errors


def test_read_only_data_is_one_line(up, tool, disk: Path):
    subprocess.run([tool("mount"), "-o", "remount,ro", str(disk)], timeout=20, check=True)
    stack = up()
    _, errors = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert "Read-only file system: name a --data-dir that can be written to" in errors


class Seen:
    """A `Storage` whose Prometheus and clock are told what to say."""

    def __init__(self, data: Path) -> None:
        self.lines: list[str] = []
        self.counters = {"appended": 0, "failed": 0, "old": 0}
        self.ahead = 1e9
        self.now = 0.0
        self.storage = Storage(
            data, "http://here/metrics", self._page, self.lines.append, wall=self._wall
        )

    def _wall(self) -> float:
        return self.now + self.ahead

    def _page(self, _url: str) -> str:
        stored, failed, old = self.counters.values()
        return (
            f'prometheus_tsdb_head_samples_appended_total{{type="float"}} {stored}\n'
            'prometheus_tsdb_head_samples_appended_total{type="histogram"} 0\n'
            f"prometheus_tsdb_wal_writes_failed_total {failed}\n"
            f"prometheus_target_scrapes_sample_out_of_order_total {old}\n"
        )

    def pass_time(self, seconds: int, **grows: int) -> list[str]:
        """The lines that it says meanwhile."""
        self.lines.clear()
        for _ in range(seconds // 5):
            self.now += 5
            for name, more in grows.items():
                self.counters[name] += more
            self.storage.tick(self.now)
        return [line.replace(str(self.storage.data), "DATA") for line in self.lines]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


def test_nothing_stored_is_told_once_and_that_it_is_over(seen: Seen, monkeypatch):
    monkeypatch.setattr("gpu_sentinel.stack.storage.full", lambda _data: "")
    assert seen.pass_time(300, appended=100) == []
    assert seen.pass_time(300, failed=1) == [
        "Prometheus has stored nothing for 35 s: it cannot write to DATA."
    ]
    assert seen.pass_time(60, appended=5) == ["Prometheus stores again: 5 min are missing."]
    assert seen.pass_time(60) == ["Prometheus has stored nothing for 35 s: no sample arrives."]


def test_clock_that_is_set_is_told(seen: Seen, monkeypatch):
    monkeypatch.setattr("gpu_sentinel.stack.storage.full", lambda _data: "")
    seen.pass_time(60, appended=100)
    seen.ahead -= 3600
    assert seen.pass_time(60, old=100) == [
        "The clock went back by 60 min: Prometheus may refuse samples for as long.",
        f"Prometheus has stored nothing for 35 s: {NEWER}.",
    ]
    seen.ahead += 3600
    assert seen.pass_time(60, appended=100) == [
        "The clock went forward by 60 min: nothing was measured in between.",
        "Prometheus stores again: 65 s are missing.",
    ]


def _ends(certificate: Path) -> datetime:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def test_certificate_is_renewed_while_up_runs(seen: Seen, monkeypatch):
    monkeypatch.setattr("gpu_sentinel.stack.storage.full", lambda _data: "")
    found = credentials.of_data(seen.storage.data, tls=True)
    with monkeypatch.context() as short:
        short.setattr(certificates, "_SERVER_DAYS", 20)
        found.prepare()
    first = _ends(found.certificate[0])
    seen.pass_time(60, appended=1)
    seen.ahead += 86300
    seen.pass_time(5, appended=1)
    assert _ends(found.certificate[0]) == first, "it is looked at once a day"
    seen.ahead += 100
    renewed = "The certificate was renewed: all parts take it up without a restart."
    assert renewed in seen.pass_time(60, appended=1)
    assert _ends(found.certificate[0]) - first > timedelta(days=340)
    seen.ahead += 86400
    assert renewed not in seen.pass_time(60, appended=1), "it lasts"
    found.ca_file.write_text("nothing")
    seen.ahead += 86400
    assert (
        "The certificate cannot be renewed: DATA/secrets/tls: the CA cannot be read: move the "
        "folder away, and a new one is made"
    ) in seen.pass_time(60, appended=1)


@pytest.mark.parametrize("kept", ["without credentials", "without TLS"])
def test_nothing_is_renewed_without_tls(seen: Seen, kept: str):
    found = credentials.of_data(seen.storage.data, tls=False)
    if kept == "without TLS":
        found.prepare()
    seen.pass_time(5, appended=1)
    seen.ahead += 2 * 86400
    assert not any("certificate" in line for line in seen.pass_time(5, appended=1))
    assert not found.certificate[0].exists()


def test_samples_of_the_future_fire_and_stop_the_watchdog(
    prometheus, serve, tool: Callable[..., str], eventually, tmp_path: Path
):
    """As after a clock that has gone back by an hour."""
    ahead = time.time() + 3600
    samples = "".join(
        f'up{{job="prometheus",host="h",instance="i"}} 1 {ahead + 15 * n:.0f}\n' for n in range(4)
    )
    page = tmp_path / "future.txt"
    page.write_text(f"# TYPE up gauge\n{samples}# EOF\n")
    subprocess.run(
        [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(page), "blocks"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=True,
    )
    shutil.copytree(tmp_path / "blocks", tmp_path / "data")
    server = prometheus(serve("steady").port)

    def firing() -> set[str]:
        found = server.get("alerts")["alerts"]
        return {a["labels"]["alertname"] for a in found if a["state"] == "firing"}

    eventually(lambda: "PrometheusClockWentBack" in firing(), 20, "it fires")
    assert "Watchdog" not in firing()
