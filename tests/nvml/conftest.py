"""What the tests of NVML's calls share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from processbench import Bench

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.nvml import CallStats, Device, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.models import MODELS

#: The simulation, its one GPU, what was counted, and the time, which a test sets.
Machine = tuple[Simulation, Device, CallStats, list[float]]


@pytest.fixture(scope="session")
def metric_names() -> set[str]:
    return {metric.name for metric in METRICS}


@pytest.fixture
def board() -> Iterator[Callable[..., Machine]]:
    """A board in a machine of its own whose clock a test sets, probed."""

    def make(model: str, **changes: object) -> Machine:
        scenario = load_scenario("training")
        changed = replace(MODELS[model], **changes)
        load = scenario.gpus[0][1]
        now = [0.0]
        simulation = Simulation(
            replace(scenario, gpus=((changed, load),), driver=changed.driver), lambda: now[0]
        )
        now[0] = 60.0
        stats = CallStats()
        driver = Driver(stats, simulation.library)
        driver.open()
        device = driver.device(0)
        device.probe()
        return simulation, device, stats, now

    yield make
    nvml_library.detach()


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    yield Bench
    nvml_library.detach()
