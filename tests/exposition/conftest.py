"""Snapshots of simulated GPUs at a fixed time, the same in every run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gpu_sentinel.model import DriverState, Snapshot
from gpu_sentinel.sampling import Pace
from gpu_sentinel.simulator import load_scenario

#: The time of the snapshot, seconds since the start of the scenario; all clocks agree.
NOW = 60.0


@pytest.fixture
def sampled(simulated) -> Callable[..., Snapshot]:
    """The GPUs of a scenario, each sampled for the ten seconds before `NOW`."""

    def snapshot(scenario: str, pace: Pace | None = None) -> Snapshot:
        # Each GPU has the machine for itself, so that all are seen at the same instants.
        devices, instances = [], []
        for index in range(len(load_scenario(scenario).gpus)):
            machine = simulated(scenario, pace, index)
            machine.clock.now = NOW - 10.0
            machine.run(NOW)
            devices.append(machine.gpu(index))
            instances += machine.store.current.instances
            machine.driver.close()
        count = len(devices)
        state = DriverState(info=machine.info, listed=count, opened=0.0, answered=NOW)
        return Snapshot(1, state, tuple(devices), count, count, instances=tuple(instances))

    return snapshot
