"""A real Prometheus is copied while it stores, compacts and deletes; the copies are read back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests

from gpu_sentinel.backup import manifest
from gpu_sentinel.backup.restore import places, restore
from gpu_sentinel.backup.sources import Sources
from gpu_sentinel.backup.take import Taken, copies, take


def quiet(_done: int, _total: int) -> None:
    pass


def taken(data: Path, target: Path) -> Taken:
    return take(Sources(prometheus=data), target, keep=None, link=True, progress=quiet)


def same_numbers(start_history, live, copy: Path, tmp_path: Path) -> None:
    """What a Prometheus on the restored copy answers is what the live one answered then."""
    created = datetime.fromisoformat(manifest.read(copy).created).timestamp()
    back = tmp_path / f"restored-{copy.name}" / "prometheus"
    restore(copy, places(None, {"prometheus": back}), force=False, progress=quiet)
    server = start_history(back)
    restored = server.samples(created + 60)
    until = max(float(values[-1][0]) for values in restored.values())
    # A scrape under way at the time of the copy is stored a moment later.
    before = [float(t) for values in live.samples(created - 3).values() for t, _ in values]
    assert until >= max(before, default=0.0), "the newest samples are missing"
    expected = live.samples(until)
    assert restored.keys() == expected.keys()
    assert len(restored) > 100
    assert restored == expected
    assert "level=error" not in server.log.read_text()
    server.kill()


@pytest.mark.timeout(300)
def test_copies_of_a_prometheus_that_compacts(serve, start_history, eventually, tmp_path: Path):
    exporter = serve("steady")
    live = start_history(tmp_path / "live", exporter.port)
    eventually(lambda: live.samples(time.time()), 20, "Prometheus scrapes")
    target = tmp_path / "copies"
    seen: set[str] = set()

    def busy() -> bool:
        """Copies again and again until Prometheus has compacted, and deleted what it had."""
        taken(live.data, target)
        seen.update(path.parent.name for path in live.data.glob("*/meta.json"))
        gone = seen - {path.parent.name for path in live.data.glob("*/meta.json")}
        return len(gone) >= 1 and any((live.data / "wal").glob("checkpoint.*"))

    eventually(busy, 90, "Prometheus compacts")
    found = copies(target)
    assert len(found) > 5
    for copy in (found[0], found[len(found) // 2], found[-1]):
        same_numbers(start_history, live, copy, tmp_path)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gpu_sentinel", *map(str, arguments)]


@pytest.mark.long
def test_a_record_that_is_cut_off(serve, start_history, eventually, tmp_path: Path):
    """As when the copy is taken in the middle of a write: all but the last record is there."""
    exporter = serve("steady")
    live = start_history(tmp_path / "live", exporter.port)
    eventually(live.newest, 30, "Prometheus scrapes")
    before = live.newest()
    eventually(lambda: live.newest() > before + 2, 30, "Prometheus scrapes again")
    live.kill()
    last = max(path for path in live.data.glob("wal/0*") if path.stat().st_size)
    # Fewer might be zeros, which Prometheus takes a short last page to end in.
    os.truncate(last, last.stat().st_size - 40)
    made = taken(live.data, tmp_path / "copies")
    back = tmp_path / "back"
    restore(made.folder, places(None, {"prometheus": back}), force=False, progress=quiet)
    server = start_history(back)
    assert server.newest() >= before
    assert "attempting repair" in server.log.read_text()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_kills_while_copying(serve, start_history, eventually, tmp_path: Path):
    """Backups and Prometheus are killed at any moment: each copy that is there can be used."""
    exporter = serve("steady")
    data, target = tmp_path / "live", tmp_path / "copies"
    chance = random.Random(7)  # moments, not secrets
    for round_ in range(8):
        live, began = start_history(data, exporter.port), time.time()
        eventually(lambda live=live, at=began: live.newest() > at, 30, "Prometheus scrapes")
        time.sleep(chance.uniform(1, 4))
        process = subprocess.Popen(command("backup", "--prometheus-dir", data, "--to", target))
        time.sleep(chance.uniform(0.2, 0.6))
        if round_ % 2:
            process.kill()
        live.kill()
        code = process.wait()
        assert code in {0, -signal.SIGKILL}
    assert len(copies(target)) >= 4
    live = start_history(data)
    for copy in copies(target):
        same_numbers(start_history, live, copy, tmp_path)


def test_silences_are_restored(tool, free_port, eventually, tmp_path: Path):
    program = tool("alertmanager", "prometheus-alertmanager")
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: x}\nreceivers: [{name: x}]\n")
    running: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> str:
        address = f"127.0.0.1:{free_port()}"
        options = (
            f"--config.file={config}",
            f"--storage.path={folder}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            "--data.maintenance-interval=1s",
        )
        running.append(subprocess.Popen([program, *options], stderr=subprocess.DEVNULL))
        url = f"http://{address}/api/v2/silences"
        eventually(lambda: answers(url), 20, "Alertmanager answers")
        return url

    def answers(url: str) -> bool:
        try:
            return requests.get(url, timeout=2).ok
        except requests.RequestException:
            return False

    try:
        url = start(tmp_path / "alertmanager")
        now = time.time()
        silence = {
            "matchers": [{"name": "host", "value": "a", "isRegex": False, "isEqual": True}],
            "startsAt": datetime.fromtimestamp(now, timezone.utc).isoformat(),
            "endsAt": datetime.fromtimestamp(now + 3600, timezone.utc).isoformat(),
            "createdBy": "ops",
            "comment": "fan is replaced",
        }
        requests.post(url, json=silence, timeout=5).raise_for_status()
        stored = tmp_path / "alertmanager" / "silences"
        eventually(lambda: stored.exists() and stored.stat().st_size, 20, "it is stored")
        made = take(
            Sources(alertmanager=tmp_path / "alertmanager"),
            tmp_path / "copies",
            keep=None,
            link=True,
            progress=quiet,
        )
        new = tmp_path / "new"
        restore(made.folder, places(new, {}), force=False, progress=quiet)
        assert requests.get(start(new / "alertmanager"), timeout=5).json() == (
            requests.get(url, timeout=5).json()
        )
    finally:
        for process in running:
            process.kill()
            process.wait()
