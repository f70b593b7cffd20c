"""The sampler at work on a simulation that the test steers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from gpu_sentinel.catalogue import Selection, keys_needed
from gpu_sentinel.model import DeviceSnapshot, Snapshot, Tier
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling import Inventory, Pace, SnapshotStore
from gpu_sentinel.simulator import Simulation, load_scenario

INTERVAL = 0.25
#: Readings are published twice a second.
FRESH_SECONDS = 1.0


class Running:
    """An inventory with its samplers, and the machine below it."""

    def __init__(self, scenario: str) -> None:
        self.simulation = Simulation(load_scenario(scenario))
        self.store = SnapshotStore()
        self.stats = CallStats()
        self.pace = Pace(INTERVAL, 1.0)
        self.expected: int | None = None
        self.inventory = Inventory(
            # As by default: without P2P, for which GPUs are asked about each other.
            Driver(self.stats, self.simulation.library, keys_needed(Selection().metrics())),
            self.store,
            pace=lambda: self.pace,
            stats=self.stats,
            expected_gpus=lambda: self.expected,
            pci_gpus=self.simulation.pci_gpus,
            module_loaded=lambda: self.simulation.driver is not None,
        )

    @property
    def current(self) -> Snapshot:
        return self.store.current

    def gpu(self, index: int) -> DeviceSnapshot:
        (found,) = [d for d in self.current.devices if d.id.index == index]
        return found

    def integral(self, index: int, key: str) -> float:
        """A window of a GPU, whichever source it has."""
        tiers = self.gpu(index).tiers.values()
        (value,) = {t.values[key] for t in tiers if key in t.values}
        assert isinstance(value, float)
        return value

    def age(self, index: int) -> float:
        """Seconds since the last readings of the fast tier."""
        return time.monotonic() - self.gpu(index).tiers[Tier.FAST].taken

    def fresh(self, *indices: int) -> bool:
        """Whether these GPUs have readings as young as they should be."""
        devices = {d.id.index: d for d in self.current.devices if Tier.FAST in d.tiers}
        return all(i in devices and self.age(i) <= FRESH_SECONDS for i in indices)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(scenario: str, before: Callable[[Running], None] | None = None) -> Running:
        running = Running(scenario)
        started.append(running)
        if before:
            before(running)
        running.inventory.start()
        return running

    yield start
    for running in started:
        simulation = running.simulation
        simulation.unhang()
        for gpu in simulation.gpus:
            simulation.unhang(gpu.index)
        assert running.inventory.stop(60.0)
    nvml_library.detach()
