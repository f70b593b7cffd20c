"""What owners cost the exporter: processor, memory, threads and lateness; see README.md."""

from __future__ import annotations

import contextlib
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
    lateness,
    memory,
    running,
    start_up,
)
from run import COSTS, LIBRARY, Parser, environment, numbers, serving, table

#: Owners were looked up, and the governor has decided twice; see sampling/meter.py.
SETTLE_SECONDS = 25.0
#: None of them changes what is read of the GPUs.
SETTINGS: Mapping[str, Sequence[str]] = {
    "off": ["--metrics.disable", "owners"],
    "owners": [],
    "owners and processes": ["--metrics.enable", "processes"],
}
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
    parser = Parser(prog="benchmarks/owners.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--nvml-dir", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--each", type=int, default=8, help="processes on each GPU")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--costs", type=numbers, default=COSTS, help="microseconds of a call")
    args = parser.parse_args()
    if not (args.nvml_dir / LIBRARY).exists():
        parser.error(f"--nvml-dir: no {LIBRARY} in {args.nvml_dir}")
    found = {(cost, setting): Found() for cost in args.costs for setting in SETTINGS}
    with sleepers(args.each) as pids:
        for number in range(args.rounds):
            for (cost, setting), into in found.items():
                print(f"{number + 1}/{args.rounds} {cost} us, {setting}", file=sys.stderr)
                env = environment(
                    args,
                    FAKE_NVML_PIDS=",".join(map(str, pids)),
                    FAKE_NVML_DELAY_US=str(cost),
                    FAKE_NVML_DELAY_MODE="busy",
                )
                measure(SETTINGS[setting], env, args.gpus, args.seconds, into)
    what = f"{args.gpus} GPUs with {args.each} processes each"
    print(f"{what}, {args.rounds} x {args.seconds:g} s.\n")
    rows = [["us a call", "setting", "CPU, % of a core", "more", "MiB", "more", "threads"]]
    rows[0] += ["late, p99", "series"]
    for (cost, setting), one in found.items():
        without = found[cost, "off"]
        cpu, rss = statistics.mean(one.cpu), statistics.median(one.rss)
        rows.append(
            [
                str(cost),
                setting,
                f"{cpu:.2f}",
                f"{cpu - statistics.mean(without.cpu):+.2f}",
                f"{rss:.1f}",
                f"{rss - statistics.median(without.rss):+.1f}",
                f"{max(one.threads)}",
                f"{1000 * statistics.median(one.late):g} ms",
                f"{max(one.series)}",
            ]
        )
    print(table(rows), end="")


def measure(
    more: Sequence[str], env: Mapping[str, str], gpus: int, seconds: float, into: Found
) -> None:
    """One process, from its start to its end."""
    command = [*serving(), *more, "--log.level", "error"]
    subject, port = Subject("gpu-sentinel", "", command, "gpu_power_watts"), free_port()
    with running(subject, port, env) as process, contextlib.closing(Client(port)) as client:
        start_up(subject, process, port, gpus)
        time.sleep(SETTLE_SECONDS)
        before = lateness(client)
        began, used = time.perf_counter(), cpu_seconds(process.pid)
        time.sleep(seconds)
        passed = time.perf_counter() - began
        into.cpu.append(100 * (cpu_seconds(process.pid) - used) / passed)
        into.late.append(lateness(client).since(before).quantile(0.99))
        into.series.append(len(_OF_OWNERS.findall(client.get(PLAIN)[1].decode())))
        into.rss.append(memory(process.pid)[0])
        into.threads.append(sum(1 for _ in Path(f"/proc/{process.pid}/task").iterdir()))


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
