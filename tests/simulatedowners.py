"""A machine in simulated time with processes, and those who own them."""

from __future__ import annotations

from gpu_sentinel.model import OwnerUse, Usage
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from simulatedpeople import SimulatedPeople
from simulatedtime import SimulatedTime

#: A pass costs real time, and processes are looked at once a second.
PACE = Pace(fast=1.0, slow=10.0, buffers=1.0, profiling=1.0)


class OwnersInSimulatedTime(SimulatedTime):
    """A simulated machine with processes, and those who own them."""

    def __init__(self, scenario: str, pace: Pace = PACE) -> None:
        super().__init__(scenario, pace)
        self._people = SimulatedPeople(
            self.simulation,
            lambda: self.store.current,
            self.clock,
            lambda: self.simulation.epoch + self.clock(),
            1.0,
        )
        around = self.samplers[0]._around
        self.instances += [
            ProcessSampler(gpu, around, self._people.owners, parts.devices)
            for gpu, parts in zip(self.samplers, self.instances, strict=True)
        ]
        self.between = lambda _: self._people.look()
        self._people.look()

    def close(self) -> None:
        """Let go of the driver, and of the files of processes."""
        super().close()
        self._people.close()

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
