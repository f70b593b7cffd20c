"""The processes of a simulated machine, and who has its GPUs; a part of `Simulation`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from gpu_sentinel.model import Allocation
from gpu_sentinel.simulator import processspec
from gpu_sentinel.simulator.workers import Process, Worker

if TYPE_CHECKING:
    from gpu_sentinel.simulator.gpu import SimulatedGpu
    from gpu_sentinel.simulator.scenario import Scenario


class Population(ABC):
    """Lets processes be born and die; the methods are named like the scenario's actions.

    A process may use several GPUs. A number that lives on a GPU already, and is started there
    anew, is another process: the one before has ended.

    Attributes:
        epoch: Unix time of the start, by the driver's clock and the host's.
        privileged: who calls the driver may see the processes of all MIG devices at once, and
            where GPU instances lie.
    """

    gpus: tuple[SimulatedGpu, ...]
    epoch: float = 1_700_000_000.0
    privileged: bool = False

    @abstractmethod
    def happening(self) -> float:
        """When what happens now does, in seconds since the start."""

    @abstractmethod
    def catch_up(self) -> float:
        """Let everything happen that is due by now."""

    def populate(self, scenario: Scenario) -> None:
        """Start what a scenario starts with."""
        self._born: dict[int, float] = {}
        for gpu, users in zip(self.gpus, scenario.users, strict=False):
            for process in users.processes:
                self._begin(gpu, process)
            gpu.holdings.extend(users.holdings)

    def start_process(self, gpu: int, **process: Any) -> None:
        """Let a process use a GPU."""
        self._begin(self.gpus[gpu], Process(**process))

    def end_process(self, gpu: int, pid: int, *, zombie: bool = False) -> None:
        """Let a process end; a zombie keeps its memory."""
        self.gpus[gpu].end_process(pid, self.happening(), zombie=zombie)

    def allocate(self, gpu: int, **holding: Any) -> None:
        """Give a GPU, or a part of it, to somebody."""
        self.gpus[gpu].holdings.append(processspec.held(**holding))

    def release(self, gpu: int, owner: str) -> None:
        """Take it from him again."""
        kept = [h for h in self.gpus[gpu].holdings if h.owner.name != owner]
        self.gpus[gpu].holdings[:] = kept

    def process_answers(self, gpu: int, fault: str | None) -> None:
        """Break what is told of processes (`processcalls`), or mend it."""
        self.gpus[gpu].process_fault = fault

    def processes(self) -> dict[int, tuple[Worker, float]]:
        """The processes that there are, with the time of their birth, by number."""
        self.catch_up()
        found: dict[int, tuple[Worker, float]] = {}
        for gpu in self.gpus:
            for worker in gpu.workers():
                pid = worker.process.pid
                found.setdefault(pid, (worker, self._born[pid]))
        return found

    def users(self) -> dict[int, str]:
        """The users of the machine: name by number."""
        return {w.process.uid: w.process.user for w, _ in self.processes().values()}

    def gpu_allocations(self) -> tuple[Allocation, ...]:
        """Who has which GPUs; a part is named by the UUID of its first MIG device."""
        self.catch_up()
        return tuple(
            Allocation(holding.owner, device, holding.resource, holding.source)
            for gpu in self.gpus
            for holding in gpu.holdings
            if (device := _device(gpu, holding))
        )

    def micros(self, t: float) -> int:
        """The driver's clock at a time since the start."""
        return round((self.epoch + t) * 1e6)

    def _begin(self, gpu: SimulatedGpu, process: Process) -> None:
        now = self.happening()
        if process.place in gpu.board.workers.here:
            for other in self.gpus:
                other.end_process(process.pid, now)
        if not any(one.board.workers.has(process.pid) for one in self.gpus):
            self._born[process.pid] = now
        gpu.start_process(process, now)


def _device(gpu: SimulatedGpu, holding: processspec.Holding) -> str:
    """Empty where the part does not exist at the moment."""
    name = gpu.uuid
    if holding.gpu_instance is not None:
        there = (d for d in gpu.mig.devices.values() if d.instance.id == holding.gpu_instance)
        name = next((device.uuid for device in there), "")
    return f"{name}::{holding.replica}" if name and holding.replica is not None else name
