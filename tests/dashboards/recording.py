"""Hours of simulated hosts in seconds: the real samplers and the real page, in simulated time.

What they show is written as OpenMetrics with times and target labels, which `promtool` makes into
blocks of Prometheus.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.host import KernelEvent
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.kernelbook import KernelBook
from simulatedhost import SimulatedHost

PACE = Pace(fast=3.0, slow=15.0, buffers=3.0, profiling=15.0)


@dataclass(frozen=True)
class Stretch:
    """What is recorded of a host.

    Attributes:
        start: unix time.
        every: seconds between two scrapes.
    """

    host: str
    scenario: Path
    start: float
    seconds: float
    every: float = 15.0


def samples(stretch: Stretch) -> Iterator[str]:
    """Lines of OpenMetrics, without the last."""
    host = SimulatedHost(str(stretch.scenario), PACE, start=stretch.start)
    try:
        yield from _run(host, stretch)
    finally:
        host.stop_exporter()


def _run(host: SimulatedHost, stretch: Stretch) -> Iterator[str]:
    target = f'job="gpu-sentinel",instance="{stretch.host}:9836",host="{stretch.host}"'
    # No scenario has a kernel log; this is what its reader would hand on.
    book = KernelBook(host.store, lambda: ())
    book.take(KernelEvent("sxid_fatal", "0:84:0", "20034"), stretch.start, new=True)
    book.settle()
    passed = 0.0
    while passed < stretch.seconds:
        passed += stretch.every
        now = stretch.start + passed
        host.run(now)
        host.registry.lateness.add(0.0004)
        body = host.body("application/openmetrics-text")
        yield from _labelled(body.splitlines(), target, now)
        yield f"up{{{target}}} 1 {now:.3f}"
        yield f"scrape_duration_seconds{{{target}}} 0.004 {now:.3f}"


def _labelled(lines: Iterable[str], target: str, now: float) -> Iterator[str]:
    for line in lines:
        if line.startswith("#"):
            continue
        name, brace, rest = line.partition("{")
        if brace:
            yield f"{name}{{{target},{rest} {now:.3f}"
        else:
            name, _, value = line.partition(" ")
            yield f"{name}{{{target}}} {value} {now:.3f}"


def write_blocks(promtool: str, stretches: Iterable[Stretch], text: Path, data: Path) -> None:
    """Record, and add it to Prometheus' data."""
    with text.open("w") as file:
        for stretch in stretches:
            file.writelines(f"{line}\n" for line in samples(stretch))
        file.write("# EOF\n")
    data.mkdir(parents=True, exist_ok=True)
    arguments = [promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(data)]
    subprocess.run(arguments, check=True, capture_output=True)
