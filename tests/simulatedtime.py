"""Samplers that run in simulated time, as fast as they can: no thread, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gpu_sentinel.model import DeviceSnapshot, Tier, Value
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling import Governor, Pace, SnapshotStore
from gpu_sentinel.sampling.instances import InstanceSampler
from gpu_sentinel.sampling.registry import Registry, Surroundings
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.simulator import Simulation, load_scenario


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class SimulatedTime:
    """A machine with its samplers, and the time that passes for both.

    Attributes:
        between: called with the time before each step; whatever is to happen then.
    """

    def __init__(self, scenario: str, pace: Pace, *gpus: int, start: float = 0.0) -> None:
        self.clock = Clock(start)
        self.simulation = Simulation(load_scenario(scenario), self.clock)
        self.stats = CallStats()
        self.store = SnapshotStore()
        self.governor = Governor()
        self.registry = Registry()
        self.pace = pace
        self.between: Callable[[float], None] = lambda _: None
        self.driver = Driver(self.stats, self.simulation.library)
        self.info = self.driver.open()
        around = Surroundings(
            self.driver,
            self.store,
            self.store.session,
            self.registry,
            self.governor,
            lambda: self.pace,
            lambda: None,
            self.clock,
            self.clock,
        )
        chosen = gpus or range(len(self.simulation.gpus))
        self.samplers = [DeviceSampler(index, around) for index in chosen]
        self.instances = [InstanceSampler(s, around) for s in self.samplers]

    def run(self, until: float) -> None:
        """Let everything happen that is due up to this time (seconds since the start)."""
        while True:
            due = min(sampler.step() for sampler in (*self.samplers, *self.instances))
            if due > until:
                break
            self.clock.now = due
            self.between(due)
        self.clock.now = until

    def close(self) -> None:
        """Let go of the driver, as the inventory does."""
        for sampler in (*self.samplers, *self.instances):
            sampler.stop()
            sampler.release()
        self.driver.close()

    def gpu(self, index: int = 0) -> DeviceSnapshot:
        """What is known of a GPU."""
        (found,) = [d for d in self.store.current.devices if d.id.index == index]
        return found

    def values(self, index: int = 0) -> dict[str, Value]:
        """All that is shown of a GPU."""
        return {
            key: value
            for tier in Tier
            if (sample := self.gpu(index).tiers.get(tier))
            and self.clock.now <= sample.taken + sample.lifetime
            for key, value in sample.values.items()
        }

    def number(self, key: str, index: int = 0) -> float:
        """One of them."""
        value = self.values(index)[key]
        assert isinstance(value, float)
        return value


@pytest.fixture
def simulated() -> Iterator[Callable[..., SimulatedTime]]:
    """Makes a machine in simulated time: scenario, pace, indices of the GPUs to sample."""

    def make(scenario: str, pace: Pace | None = None, *gpus: int) -> SimulatedTime:
        return SimulatedTime(scenario, pace or Pace(), *gpus)

    yield make
    nvml_library.detach()
