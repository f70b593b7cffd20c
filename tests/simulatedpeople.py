"""Who uses and holds the GPUs of a simulated host: what an exporter's threads do, without one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from gpu_sentinel.host.owners.resolver import Resolver
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import Allocation, Snapshot
from gpu_sentinel.sampling.owners.holders import Holders, Source
from gpu_sentinel.sampling.owners.shared import Owners
from gpu_sentinel.simulator import Simulation
from gpu_sentinel.simulator.proctree import UPTIME, ProcTree
from gpu_sentinel.simulator.scenario import Scenario

_COME_AND_GO = ("start-process", "allocate")


def has_people(scenario: Scenario) -> bool:
    """Whether anybody ever uses or holds a GPU there."""
    there = any(users.processes or users.holdings for users in scenario.users)
    return there or any(event.action in _COME_AND_GO for event in scenario.events)


class SimulatedPeople:
    """What an exporter finds owners with; one for each process of it.

    Attributes:
        owners: for the samplers of processes.
    """

    def __init__(
        self,
        simulation: Simulation,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        wall: Callable[[], float],
        interval: float,
    ) -> None:
        self._simulation = simulation
        self._folder = tempfile.TemporaryDirectory(prefix="gpu-sentinel-people-")
        proc, nowhere = Path(self._folder.name, "proc"), Path(self._folder.name, "nowhere")
        logs = Path(self._folder.name, "log")
        self._tree = ProcTree(proc, simulation, logs)
        users = Users(lambda uid: simulation.users()[uid], clock)
        self._resolver = Resolver(
            proc,
            logs,
            nowhere,
            nowhere,
            users=users,
            clock=clock,
            wall=wall,
            boot=lambda: UPTIME + simulation.now(),
        )
        self._told: dict[str, bool] = {}
        source = Source("simulation", lambda _now: self._allocations(), lambda: True, str)
        self._holders = Holders((source,), snapshot, clock)
        self.owners = Owners(
            self._resolver.resolve,
            self._holders.of,
            recent=self._resolver.recent,
            interval=lambda: interval,
            boot=lambda: UPTIME + simulation.now(),
        )

    def look(self) -> None:
        """What the threads of a real exporter see to between two steps."""
        self._tree.update()
        self._holders.look()

    def sources(self) -> Mapping[str, bool]:
        """Those that tell of processes, and those that have told who holds what."""
        return {**self._resolver.sources(), **self._told}

    def close(self) -> None:
        """Nothing stays behind."""
        self._folder.cleanup()

    def _allocations(self) -> tuple[Allocation, ...]:
        found = self._simulation.gpu_allocations()
        self._told.update({allocation.source: True for allocation in found})
        return found
