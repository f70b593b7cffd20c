"""A machine in simulated time with processes, and those who own them."""

from __future__ import annotations

from pathlib import Path

from gpu_sentinel.host.owners.resolver import Resolver
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import OwnerUse, Usage
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.owners.holders import Holders, Source
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from gpu_sentinel.sampling.owners.shared import Owners
from gpu_sentinel.simulator.proctree import UPTIME, ProcTree
from simulatedtime import SimulatedTime

#: A pass costs real time, and processes are looked at once a second.
PACE = Pace(fast=1.0, slow=10.0, buffers=1.0, profiling=1.0)


class OwnersInSimulatedTime(SimulatedTime):
    """A simulated machine with processes, and those who own them."""

    def __init__(self, scenario: str, folder: Path, pace: Pace = PACE) -> None:
        super().__init__(scenario, pace)
        proc, logs = folder / "proc", folder / "log"
        tree = ProcTree(proc, self.simulation, logs)

        def allocations(_now: float):
            tree.update()
            return self.simulation.gpu_allocations()

        source = Source("simulation", allocations, lambda: True, str)
        self.holders = Holders((source,), lambda: self.store.current, self.clock)
        users = Users(lambda uid: self.simulation.users()[uid], self.clock)
        resolver = Resolver(
            proc,
            logs,
            users=users,
            clock=self.clock,
            wall=lambda: self.simulation.epoch + self.clock(),
            boot=lambda: UPTIME + self.clock(),
        )
        self.owners = Owners(
            resolver.resolve,
            self.holders.of,
            boot=lambda: UPTIME + self.clock(),
            recent=resolver.recent,
        )
        around = self.samplers[0]._around
        self.instances += [
            ProcessSampler(gpu, around, self.owners, parts.devices)
            for gpu, parts in zip(self.samplers, self.instances, strict=True)
        ]
        self.between = lambda _: self.holders.look()
        self.holders.look()

    def usage(self, index: int) -> Usage:
        (found,) = [u for u in self.store.current.usage if u.device.index == index]
        return found

    def owner(self, index: int, name: str) -> OwnerUse:
        (found,) = [o for o in self.usage(index).owners if o.owner.name == name]
        return found

    def joules(self, index: int) -> float:
        """What all owners of a GPU have cost."""
        owners = self.usage(index).owners
        return sum((o.idle_joules or 0.0) + (o.active_joules or 0.0) for o in owners)
