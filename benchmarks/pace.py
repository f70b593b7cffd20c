"""How each exporter keeps its pace when the calls to the driver cost something; see README.md."""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from measure import PLAIN, Client, Subject, cpu_seconds, free_port, running, start_up

#: Our governor has decided twice, and that shows, so long after the start; see sampling/meter.py.
DECIDED_SECONDS = 25.0
#: The others do not adapt.
SETTLE_SECONDS = 2.0
#: How their pace is seen: a reading that always changes is looked at so often, for so long.
LOOK_SECONDS, LOOKS_SECONDS = 0.04, 4.0

_INTERVAL = re.compile(r"^gpu_sentinel_sample_interval_seconds\{.*\} (\S+)$", re.MULTILINE)
_LOST = re.compile(r"^gpu_sentinel_driver_samples_lost_total\{.*\} (\S+)$", re.MULTILINE)
_FACTOR = re.compile(r"^gpu_sentinel_query_interval_factor\{", re.MULTILINE)


@dataclass(frozen=True)
class Paced:
    """An exporter, and how its pace is seen.

    Attributes:
        changing: start of the line of a reading that is another one in every pass; "" for ours,
            which tells its interval.
    """

    subject: Subject
    changing: str = ""


@dataclass
class Found:
    """What was measured of one exporter at one cost, a number a round."""

    interval: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    stretched: list[int] = field(default_factory=list)


def ours(command: Sequence[str]) -> Paced:
    """GPU Sentinel as it is when nothing was set."""
    return Paced(Subject("gpu-sentinel", "250 ms (default)", command, "gpu_power_watts"))


def peers(nvitop: Sequence[Subject], go_exporter: str | None) -> list[Paced]:
    """The others; `go_exporter` is nvidia_gpu_exporter, built with its backend for NVML."""
    found = [Paced(subject, r"gpu_memory_used_MiB\{.*") for subject in nvitop]
    if go_exporter is not None:
        command = [go_exporter, "--web.listen-address", "127.0.0.1:{port}"]
        subject = Subject("nvidia_gpu_exporter", "", command, "nvidia_smi_memory_used_bytes")
        for name in ("1s", "250ms"):
            collect = [*command, "--collect.backend", "nvml", "--collect.interval", name]
            shown = name.replace("s", " s").replace("m s", " ms")
            one = replace(subject, interval=shown, command=collect)
            found.append(Paced(one, r"nvidia_smi_memory_used_bytes\{.*"))
    return found


def page(
    args: argparse.Namespace,
    all_: Sequence[Paced],
    environment: Callable[..., Mapping[str, str]],
    table: Callable[[Sequence[Sequence[str]]], str],
) -> str:
    """The table: one row for each exporter and cost; the exporters take turns."""
    found = {(cost, number): Found() for cost in args.costs for number in range(len(all_))}
    for number in range(1, args.pace_rounds + 1):
        for cost in args.costs:
            env = environment(
                args, FAKE_NVML_DELAY_US=str(cost), FAKE_NVML_DELAY_MODE="busy"
            )  # processor time, not sleep: that is what a driver's calls take
            for which, paced in enumerate(all_):
                title = f"{paced.subject.title}, {paced.subject.interval}"
                print(f"{number}/{args.pace_rounds} {cost} us a call: {title}", file=sys.stderr)
                one = found[cost, which]
                _measure(paced, env, args.gpus, args.seconds, one)
    rows = [
        ["Microseconds a call", "Exporter", "Achieved", "CPU, % of a core", "Stretched", "Lost"]
    ]
    for (cost, which), one in found.items():
        subject = all_[which].subject
        lost = f"{max(one.lost):.0f}" if one.lost else "not read"
        stretched = f"{max(one.stretched)}" if one.stretched else ""
        rows.append(
            [
                str(cost),
                f"{subject.title}, {subject.interval}",
                f"{1000 * statistics.median(one.interval):.0f} ms",
                f"{statistics.median(one.cpu):.2f}",
                stretched,
                lost,
            ]
        )
    return "\n" + table(rows)


def _measure(paced: Paced, env: Mapping[str, str], gpus: int, seconds: float, into: Found) -> None:
    port = free_port()
    with running(paced.subject, port, env) as process, contextlib.closing(Client(port)) as client:
        start_up(paced.subject, process, port, gpus)
        time.sleep(SETTLE_SECONDS if paced.changing else DECIDED_SECONDS)
        began, used = time.perf_counter(), cpu_seconds(process.pid)
        time.sleep(seconds)
        passed = time.perf_counter() - began
        into.cpu.append(100 * (cpu_seconds(process.pid) - used) / passed)
        if paced.changing:
            into.interval.append(_seen(client, re.compile(f"^{paced.changing}$", re.MULTILINE)))
            return
        body = client.get(PLAIN)[1].decode()
        into.interval.append(max(map(float, _INTERVAL.findall(body))))
        into.lost.append(sum(map(float, _LOST.findall(body))))
        into.stretched.append(len(_FACTOR.findall(body)))


def _seen(client: Client, reading: re.Pattern[str]) -> float:
    """Seconds between two changes of the first reading that matches, on average."""
    first = last = changes = 0.0
    told: str | None = None
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < LOOKS_SECONDS:
        line = reading.search(client.get(PLAIN)[1].decode())
        shown = line[0] if line else None
        if told is not None and shown != told:
            first = first or now
            changes += 1 if first < now else 0
            last = now
        told = shown
        time.sleep(LOOK_SECONDS)
    return (last - first) / changes if changes else float("inf")
