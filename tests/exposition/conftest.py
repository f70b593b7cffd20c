"""Snapshots of simulated GPUs at a fixed time, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gpu_sentinel.model import DeviceSnapshot, DriverState, Snapshot, Tier, TierSample
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling.history import History
from gpu_sentinel.simulator import Simulation, load_scenario

#: The time of the snapshot, seconds since the start of the scenario; all clocks agree.
NOW = 60.0
INTERVAL = 0.25


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _device(driver: Driver, index: int, clock: _Clock) -> DeviceSnapshot:
    """A GPU that was sampled for five seconds up to `NOW`."""
    clock.now = NOW - 5.0
    device = driver.device(index)
    device.probe()
    history = History()
    while clock.now < NOW:
        clock.now += INTERVAL
        fast = device.read(Tier.FAST)
        fast |= history.add(clock.now, fast, device.keys(Tier.FAST), INTERVAL)
    values = {Tier.FAST: fast, Tier.SLOW: device.read(Tier.SLOW)}
    values[Tier.STATIC] = device.read(Tier.STATIC)
    return DeviceSnapshot(
        id=device.id,
        identity=device.identity(),
        answered=NOW,
        interval=INTERVAL,
        samples=20,
        tiers={tier: TierSample(NOW, NOW, 2.0, found) for tier, found in values.items()},
    )


@pytest.fixture
def sampled() -> Iterator[Callable[[str], Snapshot]]:
    def snapshot(scenario: str) -> Snapshot:
        # Each GPU has the machine for itself, so that all are seen over the same five seconds.
        devices = []
        for index in range(len(load_scenario(scenario).gpus)):
            clock = _Clock()
            simulation = Simulation(load_scenario(scenario), clock)
            driver = Driver(CallStats(), simulation.library)
            info = driver.open()
            devices.append(_device(driver, index, clock))
            driver.close()
        count = len(devices)
        state = DriverState(info=info, listed=count, opened=0.0, answered=NOW)
        return Snapshot(1, state, tuple(devices), pci_devices=count, expected_devices=count)

    yield snapshot
    nvml_library.detach()
