"""Time and size of `gpu-sentinel backup` and `restore`, and what they do to scrapes meanwhile.

A real Prometheus scrapes a simulated exporter every second; beside its own data lie blocks of
random bytes. Prometheus itself tells how long its scrapes took, and whether one is missing. The
folder should be on a disk: copies are not done before their bytes are there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests
import yaml
from measure import free_port

BLOCK = 100 << 20
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PROGRAM = [sys.executable, "-m", "gpu_sentinel"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1000, help="size of all blocks")
    parser.add_argument("--quiet", type=int, default=20, help="seconds to compare with")
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary one")
    given = parser.parse_args()
    with ExitStack() as ends:
        work = Path(ends.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        data = work / "data"
        url = _start(work, data, ends)
        time.sleep(given.quiet)
        quiet = _scrapes(url, given.quiet)
        # Prometheus looks for blocks when it starts and when it compacts: these it never sees.
        blocks = _blocks(data / "prometheus", given.mebibytes << 20)
        os.sync()
        print(f"{blocks} blocks, {given.mebibytes} MiB")
        print(f"scrapes in {given.quiet} s without a copy: {quiet}")
        copies = work / "copies"
        for name in ("first copy", "second copy"):
            seconds = _timed("backup", "--data-dir", data, "--to", copies)
            print(f"{name}: {seconds:.1f} s, {_used(copies) / 2**20:.0f} MiB on the disk")
            if name == "first copy":
                print(f"scrapes meanwhile: {_scrapes(url, seconds)}")
        newest = max(copies.glob("gpu-sentinel-*"))
        print(f"verify: {_timed('backup', 'verify', newest):.1f} s")
        print(f"restore: {_timed('restore', newest, '--data-dir', work / 'new'):.1f} s")
    return 0


def _start(work: Path, data: Path, ends: ExitStack) -> str:
    exporter, prometheus = free_port(), free_port()
    data.mkdir()
    (data / "thresholds.yml").write_text("")
    config = work / "prometheus.yml"
    target = {"targets": [f"127.0.0.1:{exporter}"]}
    scrape = {"job_name": "gpu", "scrape_interval": "1s", "static_configs": [target]}
    config.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    url = f"http://127.0.0.1:{prometheus}"
    _run(
        ends,
        [
            *PROGRAM,
            "serve",
            "--simulate",
            "steady",
            "--web.listen-address",
            f"127.0.0.1:{exporter}",
        ],
    )
    _run(
        ends,
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        ],
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/-/ready", timeout=2).ok and _query(url, "up == 1"):
                return url
        except requests.RequestException:
            pass
        time.sleep(0.2)
    sys.exit("Prometheus did not start")


def _run(ends: ExitStack, command: Sequence[str]) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends.callback(process.wait)
    ends.callback(process.terminate)


def _query(url: str, expression: str) -> float | None:
    answer = requests.get(f"{url}/api/v1/query", params={"query": expression}, timeout=10).json()
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def _scrapes(url: str, seconds: float) -> str:
    span = f"[{max(round(seconds), 2)}s]"
    count = _query(url, f"count_over_time(up{span})") or 0
    failed = count - (_query(url, f"sum_over_time(up{span})") or 0)
    mean, worst = (
        1000 * (_query(url, f"{of}_over_time(scrape_duration_seconds{span})") or 0)
        for of in ("avg", "max")
    )
    return f"{count:.0f}, {failed:.0f} failed, mean {mean:.1f} ms, longest {worst:.1f} ms"


def _blocks(folder: Path, size: int) -> int:
    count = max(size // BLOCK, 1)
    for number in range(count):
        block = folder / f"01M8GGX14RXV5CV8C6CHKA9{number // 32:02}{LETTERS[number % 32]}"
        (block / "chunks").mkdir(parents=True)
        with (block / "chunks" / "000001").open("wb") as file:
            for _ in range(size // count >> 20):
                file.write(os.urandom(1 << 20))
        (block / "index").write_bytes(os.urandom(1 << 16))
        (block / "meta.json").write_text("{}")
    return count


def _timed(*arguments: object) -> float:
    start = time.monotonic()
    subprocess.run([*PROGRAM, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def _used(folder: Path) -> int:
    """Bytes on the disk, a file with several names once."""
    found = {(s.st_dev, s.st_ino): s.st_blocks for p in folder.rglob("*") if (s := p.lstat())}
    return 512 * sum(found.values())


if __name__ == "__main__":
    sys.exit(main())
