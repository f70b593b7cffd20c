"""What the delivered rules cost a real Prometheus, at 1,000 hosts with 8 GPUs each.

Everything runs on loopback and ends by itself: one server plays all exporters with a page of a
simulated H100, Prometheus scrapes it and evaluates the rules as they are delivered. The hour before
is filled in for the counters that rules look at for so long. Prints a table of the groups of rules.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml
from measure import cpu_seconds, free_port, memory

from gpu_sentinel.catalogue import GROUPS, METRICS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "tests" / "exposition" / "golden" / "h100-sxm.prom"
GPUS = 8
#: Prometheus is ended before it takes more of the machine. MiB.
MOST_MEMORY = 12 * 1024
#: What the exporter says of itself; the page has the device's only.
OWN = """\
gpu_sentinel_nvml_up{} 1
gpu_sentinel_nvml_released{} 0
gpu_sentinel_last_sample_timestamp_seconds{gpu="0",uuid="UUID",tier="fast"} 1
gpu_sentinel_last_sample_timestamp_seconds{gpu="0",uuid="UUID",tier="slow"} 1
gpu_sentinel_samples_total{gpu="0",uuid="UUID"} 1
gpu_sentinel_overruns_total{gpu="0",uuid="UUID"} 0
gpu_sentinel_sample_interval_seconds{gpu="0",uuid="UUID"} 0.25
""" + "".join(
    f'gpu_sentinel_nvml_{what}_total{{query="{number}"}} 7\n'
    for number in range(30)
    for what in ("calls", "call_seconds")
)
#: Counters -> how much they count in a second; others stand still.
RATES = {
    "gpu_energy_joules_total": 400.0,
    "gpu_busy_seconds_total": 0.95,
    "gpu_memory_busy_seconds_total": 0.5,
    "gpu_observed_seconds_total": 1.0,
    "gpu_sentinel_samples_total": 4.0,
    "gpu_sentinel_last_sample_timestamp_seconds": 1.0,
}
#: What rules look at for an hour: series of a GPU, with further labels.
HOURLY = (
    ("gpu_energy_joules_total", ""),
    ("gpu_busy_seconds_total", ""),
    ("gpu_observed_seconds_total", ',signal="utilization"'),
    ("gpu_ecc_volatile_errors_total", ',type="corrected"'),
)


class Fleet:
    """All exporters: `/N` is the page of host N."""

    def __init__(self) -> None:
        self.scrapes = 0
        host, device = [], []
        shown = {m.name for m in METRICS if GROUPS[m.group].on}
        for line in (*PAGE.read_text().splitlines(), *OWN.splitlines()):
            if not line.startswith("gpu_sentinel_") and line.partition("{")[0] not in shown:
                continue
            (device if 'gpu="0"' in line else host if 'gpu="' not in line else []).append(line)
        self._host = "\n".join(host) + "\n"
        self._fixed = "\n".join(x for x in device if self._rate(x) is None) + "\n"
        self._moving = [(x.rpartition(" ")[0], self._rate(x)) for x in device if self._rate(x)]
        self.series = len(host) + GPUS * len(device)
        uuid = re.search(r'uuid="([^"]+)"', device[0])
        assert uuid
        self._uuid = uuid[1]
        self._made = (0.0, "")
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = fleet.page(self.path[1:]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._web.daemon_threads = True
        self.address = f"127.0.0.1:{self._web.server_port}"
        threading.Thread(target=self._web.serve_forever, daemon=True).start()

    @staticmethod
    def _rate(line: str) -> float | None:
        return RATES.get(line.partition("{")[0])

    def page(self, number: str) -> str:
        """What the exporter of a host answers now; the values are those of all hosts."""
        self.scrapes += 1
        now = time.time() // 5 * 5
        if now != self._made[0]:
            moving = "".join(f"{name} {rate * now:.3f}\n" for name, rate in self._moving if rate)
            gpu = (self._fixed + moving).replace(self._uuid, "UUID")
            pages = (
                gpu.replace('gpu="0"', f'gpu="{i}"').replace("UUID", f"GPU-NODE-{i}")
                for i in range(GPUS)
            )
            self._made = now, self._host + "".join(pages)
        return self._made[1].replace("NODE", number)

    def close(self) -> None:
        self._web.shutdown()
        self._web.server_close()


def labels(host: int, gpu: int, more: str) -> str:
    who = f'job="gpu-sentinel",instance="node-{host}:9836",host="node-{host}"'
    return f'{{{who},gpu="{gpu}",uuid="GPU-{host}-{gpu}"{more}}}'


def history(path: Path, hosts: int, until: float, seconds: int, step: int) -> None:
    """The hour before, as OpenMetrics."""
    times = [until - seconds + i for i in range(0, seconds, step)]
    with path.open("w") as file:
        for name, more in HOURLY:
            family = name.removesuffix("_total")
            file.write(f"# TYPE {family} counter\n")
            rate = RATES.get(name, 0.0)
            values = [f" {rate * t:.3f} {t:.3f}\n" for t in times]
            for host in range(hosts):
                for gpu in range(GPUS):
                    series = name + labels(host, gpu, more)
                    file.write("".join(series + value for value in values))
        file.write("# EOF\n")


def configure(folder: Path, fleet: Fleet, hosts: int, scrape: int) -> None:
    shutil.copytree(ROOT / "prometheus", folder)
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": f"{scrape}s", "scrape_timeout": f"{scrape}s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    for discovered in ("targets", "alertmanagers", "stack"):
        shutil.rmtree(folder / discovered)
    (folder / "targets").mkdir()
    targets = [
        {
            "targets": [fleet.address],
            "labels": {
                "host": f"node-{n}",
                "instance": f"node-{n}:9836",
                "__metrics_path__": f"/{n}",
            },
        }
        for n in range(hosts)
    ]
    (folder / "targets" / "fleet.yml").write_text(yaml.safe_dump(targets))


def watch(
    process: subprocess.Popen[bytes], url: str, seconds: float
) -> Iterator[list[dict[str, Any]]]:
    """The groups of rules, every 5 s."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(5)
        if process.poll() is not None:
            sys.exit("benchmarks/rules.py: Prometheus has ended")
        if memory(process.pid)[0] > MOST_MEMORY:
            sys.exit("benchmarks/rules.py: Prometheus takes too much memory: try fewer hosts")
        try:
            answer = requests.get(f"{url}/api/v1/rules", timeout=30).json()
        except requests.RequestException:
            continue
        yield answer["data"]["groups"]


def report(
    found: dict[str, list[float]], intervals: dict[str, float], counts: dict[str, int]
) -> None:
    print("| group | rules | interval | median | longest | of the interval |")
    print("|---|---|---|---|---|---|")
    share = 0.0
    for name, times in sorted(found.items()):
        middle, most, interval = statistics.median(times), max(times), intervals[name]
        share += middle / interval
        print(
            f"| `{name}` | {counts[name]} | {interval:g} s | {middle:.2f} s | {most:.2f} s "
            f"| {100 * middle / interval:.0f} % |"
        )
    print(f"\nAll groups together: {100 * share:.0f} % of one core's time, by their medians.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=300, help="how long, once all is scraped")
    parser.add_argument("--scrape", type=int, default=15, help="seconds between two scrapes")
    args = parser.parse_args()
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            sys.exit(f"benchmarks/rules.py: {program} is not installed")
    with tempfile.TemporaryDirectory(prefix="rules-") as name:
        run(args, Path(name))


def run(args: argparse.Namespace, folder: Path) -> None:
    fleet = Fleet()
    configure(folder / "prometheus", fleet, args.hosts, args.scrape)
    history(folder / "history.prom", args.hosts, time.time(), 3600, args.scrape)
    data = folder / "data"
    subprocess.run(
        [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "-q",
            folder / "history.prom",
            data,
        ],
        check=True,
    )
    (folder / "history.prom").unlink()
    port = free_port()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus' / 'prometheus.yml'}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=log,
    )
    found: dict[str, list[float]] = {}
    intervals: dict[str, float] = {}
    counts: dict[str, int] = {}
    failed: set[str] = set()
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in watch(process, url, 3 * args.scrape + 30):
            pass  # until everything was scraped and evaluated
        began, used = time.monotonic(), cpu_seconds(process.pid)
        firing: set[str] = set()
        for groups in watch(process, url, args.seconds):
            for group in groups:
                name = group["name"]
                found.setdefault(name, []).append(group["evaluationTime"])
                intervals[name], counts[name] = group["interval"], len(group["rules"])
                failed |= {r["name"] for r in group["rules"] if r["health"] == "err"}
                firing |= {r["name"] for r in group["rules"] if r.get("state") == "firing"}
        cores = (cpu_seconds(process.pid) - used) / (time.monotonic() - began)
        report(found, intervals, counts)
        up = requests.get(
            f"{url}/api/v1/query", params={"query": "count(up == 1)"}, timeout=30
        ).json()["data"]["result"]
        print(
            f"{up[0]['value'][1] if up else 0} hosts up, {args.hosts * fleet.series} series, "
            f"scraped every {args.scrape} s; Prometheus: {cores:.2f} cores, "
            f"{memory(process.pid)[0] / 1024:.1f} GiB."
        )
        print(f"Rules that fail: {', '.join(sorted(failed)) or 'none'}. Firing: {sorted(firing)}.")
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()
        fleet.close()
    worst = max(statistics.median(t) / intervals[n] for n, t in found.items())
    sys.exit(1 if failed or worst > 0.5 else 0)


if __name__ == "__main__":
    main()
