"""A real Prometheus is copied while it stores, compacts and deletes; the copies are read back."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

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
    back = tmp_path / f"restored-{copy.name[-6:]}" / "prometheus"
    restore(copy, places(None, {"prometheus": back}), force=False, progress=quiet)
    server = start_history(back)
    restored = server.samples(created + 60)
    until = max(float(values[-1][0]) for values in restored.values())
    assert until > created - 3, "the newest samples are missing"
    expected = live.samples(until)
    assert restored.keys() == expected.keys()
    assert len(restored) > 100
    assert restored == expected
    said = server.log.read_text()
    assert "level=error" not in said
    assert "orrupt" not in said.replace("Encountered WAL read error", "")
    server.kill()


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
        return len(gone) >= 3 and any((live.data / "wal").glob("checkpoint.*"))

    eventually(busy, 90, "Prometheus compacts")
    found = copies(target)
    assert len(found) > 5
    for copy in (found[0], found[len(found) // 2], found[-1]):
        same_numbers(start_history, live, copy, tmp_path)
