"""What owners cost the exporter: processor, memory, threads and lateness; see README.md."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import (
    PLAIN,
    BenchmarkError,
    Client,
    Subject,
    cpu_seconds,
    free_port,
    memory,
    running,
    start_up,
)

#: Owners were looked up, and the governor has decided twice; see sampling/meter.py.
SETTLE_SECONDS = 25.0
#: None of them changes what is read of the GPUs.
SETTINGS: Mapping[str, Sequence[str]] = {
    "off": ["--metrics.disable", "owners"],
    "owners": [],
    "owners and processes": ["--metrics.enable", "processes"],
}
_LATE = re.compile(r'^gpu_sentinel_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
_OF_OWNERS = re.compile(r"^gpu_(?:owner|process|allocation)_\w+\{", re.MULTILINE)


@dataclass
class Found:
    """What was measured of one setting at one cost, a number a round."""

    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    series: list[int] = field(default_factory=list)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--nvml-dir", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--each", type=int, default=8, help="processes on each GPU")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--costs", default="0,50,150,500", help="microseconds a call takes")
    args = parser.parse_args()
    if not (args.nvml_dir / "libnvidia-ml.so.1").exists():
        parser.error(f"--nvml-dir: no libnvidia-ml.so.1 in {args.nvml_dir}")
    found: dict[tuple[str, str], Found] = {}
    with sleepers(args.each) as pids:
        for number in range(args.rounds):
            for cost in args.costs.split(","):
                for setting, more in SETTINGS.items():
                    print(f"{number + 1}/{args.rounds} {cost} us, {setting}", file=sys.stderr)
                    env = dict(os.environ) | {
                        "LD_LIBRARY_PATH": str(args.nvml_dir.resolve()),
                        "FAKE_NVML_GPUS": str(args.gpus),
                        "FAKE_NVML_PIDS": ",".join(map(str, pids)),
                        "FAKE_NVML_DELAY_US": cost,
                        "FAKE_NVML_DELAY_MODE": "busy",
                    }
                    into = found.setdefault((cost, setting), Found())
                    measure(more, env, args.gpus, args.seconds, into)
    print(
        f"{args.gpus} GPUs with {args.each} processes each, {args.rounds} x {args.seconds:g} s.\n"
    )
    header = ("us a call", "setting", "CPU, % of a core", "more", "MiB", "more", "threads")
    print("| " + " | ".join((*header, "late, p99", "series")) + " |")
    print("|" + " --- |" * 9)
    for (cost, setting), one in found.items():
        without = found[cost, "off"]
        cpu, rss = statistics.mean(one.cpu), statistics.median(one.rss)
        cells = (
            cost,
            setting,
            f"{cpu:.2f}",
            f"{cpu - statistics.mean(without.cpu):+.2f}",
            f"{rss:.1f}",
            f"{rss - statistics.median(without.rss):+.1f}",
            f"{max(one.threads)}",
            f"{1000 * statistics.median(one.late):g} ms",
            f"{max(one.series)}",
        )
        print("| " + " | ".join(cells) + " |")


def measure(
    more: Sequence[str], env: Mapping[str, str], gpus: int, seconds: float, into: Found
) -> None:
    """One process, from its start to its end."""
    command = [sys.executable, "-m", "gpu_sentinel", "serve", *more]
    command += ["--web.listen-address", "127.0.0.1:{port}", "--log.level", "error"]
    subject, port = Subject("gpu-sentinel", "", command, "gpu_power_watts"), free_port()
    with running(subject, port, env) as process, contextlib.closing(Client(port)) as client:
        start_up(subject, process, port, gpus)
        time.sleep(SETTLE_SECONDS)
        before = client.get(PLAIN)[1].decode()
        began, used = time.perf_counter(), cpu_seconds(process.pid)
        time.sleep(seconds)
        into.cpu.append(100 * (cpu_seconds(process.pid) - used) / (time.perf_counter() - began))
        after = client.get(PLAIN)[1].decode()
        into.rss.append(memory(process.pid)[0])
        into.threads.append(sum(1 for _ in Path(f"/proc/{process.pid}/task").iterdir()))
    into.late.append(_late(before, after))
    into.series.append(len(_OF_OWNERS.findall(after)))


def _late(before: str, after: str) -> float:
    """The bound, in seconds, below which 99 of 100 passes in between began late."""
    start = {bound: float(count) for bound, count in _LATE.findall(before)}
    grown = {b: float(count) - start[b] for b, count in _LATE.findall(after)}
    return next(float(b) for b, count in grown.items() if count >= 0.99 * grown["+Inf"])


@contextlib.contextmanager
def sleepers(count: int) -> Iterator[list[int]]:
    """Real processes that do nothing; the stand-in tells them of every GPU."""
    processes = [subprocess.Popen(["sleep", "36000"]) for _ in range(count)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(str(error))
