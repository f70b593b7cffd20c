"""How long the dashboards' queries take at 8,000 GPUs over 24 hours, on a real Prometheus.

    .venv/bin/python benchmarks/dashboards.py [--hosts 1000] [--hours 24] [--scrape 15]

Recorded series are there for all of the time (one a minute), raw ones for the last six minutes
(one a scrape), which is what numbers of now ask for.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from measure import free_port

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))
import pages  # noqa: E402 - the tests' reader of dashboards

#: Pages that are asked for everything at once; those of a host or a GPU are not.
WHOLE = ("gpu-fleet", "gpu-health", "gpu-alerts", "gpu-efficiency", "gpu-profiling", "gpu-sentinel")
GPUS_PER_HOST, WINDOW, RAW = 8, 7200, 360
#: Name -> further labels of each series.
LABELS: dict[str, list[str]] = {
    "gpu_health_status": [f',check="{c}"' for c in ("lost", "row_remap_pending", "recovery")],
    "gpu_clock_event_seconds_total": [
        f',reason="{r}"'
        for r in ("sw_power_cap", "sync_boost", "hw_slowdown", "hw_thermal_slowdown")
    ],
    "gpu_remapped_rows": [f',type="{t}"' for t in ("correctable", "uncorrectable")],
    "gpu_ecc_volatile_errors_total": [f',type="{t}"' for t in ("corrected", "uncorrected")],
    "gpu_memory_used_max_bytes": [',window="1m"'],
    "gpu_row_remapper_banks": [',availability="none"'],
    "gpu_sentinel_last_sample_timestamp_seconds": [f',tier="{t}"' for t in ("fast", "slow")],
    "gpu_sentinel_nvml_call_seconds_total": [f',query="q{i}"' for i in range(60)],
    "gpu_sentinel_nvml_calls_total": [f',query="q{i}"' for i in range(60)],
    "gpu_sentinel_nvml_errors_total": [',query="q1",error="unknown"'],
    "gpu_sentinel_rejected_readings_total": [',query="q1"'],
    "host_model:gpu_clock_event_seconds:rate5m": [f',reason="r{i}"' for i in range(6)],
    "host_model:gpu_utilization_ratio:bucket": [
        f',le="{b}"' for b in ("0.05", "0.3", "0.7", "0.9", "+Inf")
    ],
    "host_model:gpu_ecc_volatile_errors:rate5m": [f',type="t{i}"' for i in range(2)],
    "host_model:gpu_nvlink_errors:rate5m": [f',type="t{i}"' for i in range(5)],
    "host_tier:gpu_sentinel_sample_age_seconds:max": [f',tier="{t}"' for t in ("fast", "slow")],
}
OF_HOST = re.compile(r"gpu_sentinel_(nvml|config|rejected)|gpu_(expected_)?devices$")


def names() -> tuple[list[str], list[str]]:
    """What the pages ask for: raw and recorded."""
    found = set()
    for uid, _, target in pages.targets():
        if uid in WHOLE:
            found |= set(re.findall(r"\b(?:gpu|host)[a-z0-9_:]*(?=\{)", target["expr"]))
    for rule in rules():
        found |= set(re.findall(r"\b(?:gpu|scrape)_[a-z_]+", re.sub(r'"[^"]*"', "", rule)))
    found -= {"gpu_price"}
    raw = sorted(n for n in found if ":" not in n)
    return raw, sorted(n for n in found if ":" in n)


def rules() -> list[str]:
    """The expressions of what is recorded for dashboards, from raw series: an upper bound."""
    return [expr for _, _, expr in pages.recorded(ROOT / "prometheus" / "rules")]


def series(name: str, host: int) -> Iterator[str]:
    """Labels of all series of a metric on a host."""
    base = f'job="gpu-sentinel",instance="n{host}:9836",host="n{host}"'
    for more in LABELS.get(name, [""]):
        if name.startswith("host_model:"):
            yield f'{{host="n{host}",name="H100"{more}}}'
        elif ":" in name:
            yield f'{{host="n{host}"{more}}}'
        elif OF_HOST.match(name):
            yield f"{{{base}{more}}}"
        else:
            for gpu in range(GPUS_PER_HOST):
                named = ',name="H100"' if name == "gpu_info" else ""
                yield f'{{{base},gpu="{gpu}",uuid="G-{host}-{gpu}"{named}{more}}}'


def write(path: Path, hosts: int, wanted: list[str], times: range) -> None:
    """A window of all series, as OpenMetrics."""
    with path.open("w") as file:
        for name in wanted:
            for host in range(hosts):
                for labels in series(name, host):
                    value = 1.0 if name == "gpu_info" else random.random()
                    file.writelines(
                        f"{name}{labels} {value * (1 + i / 100):.4f} {at}\n"
                        if name != "gpu_info"
                        else f"{name}{labels} 1 {at}\n"
                        for i, at in enumerate(times)
                    )
        file.write("# EOF\n")


def fill(data: Path, hosts: int, hours: int, scrape: int, now: int) -> None:
    """All blocks."""
    raw, recorded = names()
    first = (now - hours * 3600) // WINDOW * WINDOW
    jobs = [(recorded, at, min(at + WINDOW, now), 60) for at in range(first, now, WINDOW)]
    # In both windows that it touches.
    touched = {(now - RAW) // WINDOW * WINDOW, now // WINDOW * WINDOW}
    jobs += [(raw, max(at, now - RAW), min(at + WINDOW, now), scrape) for at in touched]
    for wanted, start, end, step in jobs:
        text = data.parent / "text"
        write(text, hosts, wanted, range(start, end, step))
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", text, data]
        subprocess.run(command, check=True)
        print(f"{len(wanted)} metrics, {end - start} s", file=sys.stderr, flush=True)


def ask(url: str, expr: str, *, instant: bool, now: int, hours: int) -> float:
    """Seconds until the answer is read, the median of three."""
    taken = []
    parameters: dict[str, object] = {"query": expr}
    if instant:
        path, parameters["time"] = "query", now
    else:
        path = "query_range"
        step = max(hours * 3600 // 720, 15)
        parameters |= {"start": now - hours * 3600, "end": now, "step": step}
    for _ in range(3):
        start = time.perf_counter()
        answer = requests.post(f"{url}/api/v1/{path}", data=parameters, timeout=120)
        taken.append(time.perf_counter() - start)
        if not answer.ok:
            raise RuntimeError(f"{answer.text[:300]}: {expr}")
    return statistics.median(taken)


def measure(url: str, now: int, hours: int) -> list[tuple[float, str, str]]:
    """Seconds, page and panel of every query, the slowest first."""
    found = []
    pages.BUILT_IN |= {"__range": f"{hours}h", "__range_s": str(hours * 3600)}
    for uid, panel, target in pages.targets():
        if uid in WHOLE:
            expr = pages.expand(target["expr"], pages.PAGES[uid], "all")
            seconds = ask(url, expr, instant=target["instant"], now=now, hours=hours)
            found.append((seconds, uid, f"{panel['title']} {target['refId']}"))
    return sorted(found, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--scrape", type=int, default=15, help="seconds between two scrapes")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dashboards-"))
    now = int(time.time())
    try:
        (folder / "data").mkdir()
        fill(folder / "data", given.hosts, given.hours, given.scrape, now)
        (folder / "p.yml").write_text("{}\n")
        address = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={folder / 'p.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, stderr=log)
        try:
            url = f"http://{address}"
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                try:
                    if requests.get(f"{url}/-/ready", timeout=1).ok:
                        break
                except requests.RequestException:
                    time.sleep(0.5)
            found = measure(url, now, given.hours)
            recording = sum(ask(url, r, instant=True, now=now, hours=1) for r in rules())
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)
    for seconds, uid, title in found[:25]:
        print(f"{seconds:7.3f} s  {uid:16} {title}")
    times = [seconds for seconds, _, _ in found]
    print(json.dumps({"queries": len(times), "median": statistics.median(times)}))
    print(f"all rules once: {recording:.2f} s")


if __name__ == "__main__":
    main()
