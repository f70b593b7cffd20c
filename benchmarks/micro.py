"""What one pass, one window update and one rendering cost, and what a million passes leave behind.

    .venv/bin/python benchmarks/micro.py [--passes 1000000]

On simulated GPUs in simulated time: no thread, no waiting, everything hot in the caches.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pynvml

from gpu_sentinel.catalogue import Selection
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.host.owners import Resolver
from gpu_sentinel.model import DeviceId, Snapshot, Tier
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.sampling import Governor, Pace, SnapshotStore
from gpu_sentinel.sampling.registry import Registry, Surroundings
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.windows import Integral, SlidingExtremes

WARM_UP = 5_000
PROCESSES = 64
STEP = 0.05


class Machine:
    """The GPUs of a scenario, sampled in time that passes as fast as it can."""

    def __init__(self, scenario: str) -> None:
        self.now = 1000.0
        self.simulation = Simulation(load_scenario(scenario), lambda: self.now)
        driver = Driver(CallStats(), self.simulation.library)
        driver.open()
        self.store = SnapshotStore()
        pace = Pace(fast=STEP)
        around = Surroundings(
            driver,
            self.store,
            self.store.session,
            Registry(),
            Governor(),
            lambda: pace,
            lambda: None,
            lambda: self.now,
            lambda: self.now,
        )
        self.device = driver.device(0)
        self.device.probe()
        self.samplers = [DeviceSampler(i, around) for i in range(len(self.simulation.gpus))]

    def passes(self, count: int) -> None:
        for _ in range(count):
            self.now += STEP
            for sampler in self.samplers:
                sampler.step()


def microseconds(work: Callable[[], object], times: int) -> float:
    work()
    began = time.perf_counter()
    for _ in range(times):
        work()
    return 1e6 * (time.perf_counter() - began) / times


def eight_gpus(snapshot: Snapshot) -> Snapshot:
    """Four times these GPUs, under other names."""
    copies = [
        replace(device, id=DeviceId(4 * copy + device.id.index, f"{device.id.uuid}-{copy}"))
        for copy in range(4)
        for device in snapshot.devices
    ]
    return replace(snapshot, devices=tuple(copies))


def anew(snapshot: Snapshot) -> Snapshot:
    """The same readings in new samples: a renderer keeps nothing of what it rendered before."""
    devices = (
        replace(d, tiers={tier: replace(sample) for tier, sample in d.tiers.items()})
        for d in snapshot.devices
    )
    return replace(snapshot, devices=tuple(devices))


def resident() -> float:
    """Resident memory in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024


def windows() -> tuple[float, float]:
    integral, extremes = Integral(), SlidingExtremes(60.0)
    clock = iter(range(10_000_000))

    def integrate() -> None:
        integral.add(next(clock) * STEP, 300.0, 0.1)

    def slide() -> None:
        t = next(clock)
        extremes.add(t * STEP, float(t * 7919 % 701))
        extremes.at(t * STEP)

    return microseconds(integrate, 200_000), microseconds(slide, 200_000)


def owners() -> tuple[float, float]:
    """Microseconds for a process that is known, and for one that is new, of real ones."""
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(PROCESSES)]
    try:
        resolver = Resolver()
        pids = [sleeper.pid for sleeper in sleepers]
        found = sum(resolver.resolve(pid) is not None for pid in pids)
        if found < PROCESSES:
            raise SystemExit(f"only {found} processes of {PROCESSES} are seen")

        def known() -> None:
            for pid in pids:
                resolver.resolve(pid)

        def new() -> None:
            fresh = Resolver()
            for pid in pids:
                fresh.resolve(pid)

        return microseconds(known, 200) / PROCESSES, microseconds(new, 20) / PROCESSES
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def main() -> None:
    """Print a table; exit code 1 where memory grew by more than 1 MiB."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--passes", type=int, default=1_000_000)
    count = parser.parse_args().passes
    machine = Machine("steady")
    gpus = len(machine.samplers)
    machine.passes(WARM_UP)
    renderer, snapshot = DeviceRenderer(Selection().metrics()), machine.store.current
    everything, eight = DeviceRenderer(), eight_gpus(snapshot)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    (utilization,) = [b for b in machine.device.plan[Tier.FAST] if b.query == "utilization"]
    integral, extremes = windows()
    known, new = owners()
    rows = [
        ("one pass of one GPU at 20 Hz, the simulated driver included",
         microseconds(lambda: machine.passes(1), 5000) / gpus),
        ("utilisation through pynvml",
         microseconds(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle), 20_000)),
        ("utilisation through a raw reader", microseconds(utilization.read, 20_000)),
        ("one sample into an integral", integral),
        ("one sample into sliding extremes, and looking at them", extremes),
        (f"rendering {gpus} GPUs",
         microseconds(lambda: renderer.render(snapshot, machine.now, TEXT), 500)),
        ("rendering 8 GPUs, all groups, nothing kept from before",
         microseconds(lambda: everything.render(anew(eight), machine.now, TEXT), 200)),
        ("the owner of a process that is known", known),
        ("the owner of a process that is new", new),
    ]  # fmt: skip
    for what, cost in rows:
        print(f"| {what} | {cost:.2f} us |")
    # Each process is looked at once a second, and all that is known of it read anew once a minute.
    share = PROCESSES * (known + new / 60) / 1e4
    print(f"| the owners of {PROCESSES} processes, share of a core | {share:.3f} % |")
    before, began = resident(), time.perf_counter()
    machine.passes(count // gpus)
    grown = resident() - before
    passed = time.perf_counter() - began
    print(f"| {count} passes in {passed:.0f} s, memory grew by | {grown:.0f} KiB |")
    raise SystemExit(grown > 1024)


if __name__ == "__main__":
    main()
