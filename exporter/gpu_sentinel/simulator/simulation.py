"""A machine with simulated GPUs: its clock, its driver, and the hand that makes things go wrong."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpu_sentinel.catalogue.errors import ECC_LOCATIONS
from gpu_sentinel.simulator.bus import Bus
from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import Library
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.misbehaviour import Misbehaviour
from gpu_sentinel.simulator.models import DRIVERS, DriverVersion
from gpu_sentinel.simulator.population import Population
from gpu_sentinel.simulator.scenario import Event, Scenario, ScenarioError

_POLL_SECONDS = 0.02


class ReportedXid(NamedTuple):
    """An XID that a GPU has reported: when, in seconds since the start, and of which instance."""

    at: float
    gpu: SimulatedGpu
    xid: int
    gpu_instance: int | None


class Simulation(Bus, Misbehaviour, Population):
    """Runs a scenario; tests do more to it by the methods named like the scenario's actions.

    Any number of threads may call the driver meanwhile.

    Attributes:
        driver: the kernel module that is loaded, None while none is.
        installed: the library that is installed, None while none is.
        generation: grows whenever a module is loaded; what was initialised before is void.
        hanging: every call to the driver hangs.
        confidential: confidential computing protects the machine's GPUs.
        xids: what was reported.
    """

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.driver: DriverVersion | None = DRIVERS[scenario.driver]
        self.installed: DriverVersion | None = self.driver
        self.generation = 1
        self.hanging = False
        self.confidential = False
        #: How often something was allocated, and freed, by any library.
        self.allocations: Counter[str] = Counter()
        self.xids: list[ReportedXid] = []
        self.gpus = tuple(
            SimulatedGpu(index, model, load, scenario.seed)
            for index, (model, load) in enumerate(scenario.gpus)
        )
        self._order = itertools.count()
        self._repeat = scenario.repeat
        # When, in which order, what, and whether it repeats itself.
        self._due = [(event.at, next(self._order), event, True) for event in scenario.events]
        heapq.heapify(self._due)
        self._lock = threading.RLock()
        self._happening: float | None = 0.0
        self.populate(scenario)
        self._happening = None

    def now(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def library(self) -> Library:
        """The driver's library as `dlopen` finds it.

        Raises:
            OSError: none is installed.
        """
        self.catch_up()
        if self.installed is None:
            raise OSError("libnvidia-ml.so.1: cannot open shared object file")
        return Library(self, self.installed)

    def catch_up(self) -> float:
        """Let everything happen that is due by now; returns the seconds since the start."""
        now = self.now()
        if self._due and self._due[0][0] <= now:
            with self._lock:
                while self._due and self._due[0][0] <= now:
                    at, _, event, again = heapq.heappop(self._due)
                    self._happening = at
                    try:
                        self.do(event)
                    finally:
                        self._happening = None
                    if again and self._repeat is not None:
                        due = (at + self._repeat, next(self._order), event, True)
                        heapq.heappush(self._due, due)
        return now

    def wait_while(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Block a call; False where `timeout` seconds were not enough."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while condition():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
            self.catch_up()
        return True

    def happening(self) -> float:
        """When what happens now does: an event may be late, since it waits for a call."""
        return self.now() if self._happening is None else self._happening

    def at(self, event: Event) -> None:
        """Let an event happen when it is time, once."""
        with self._lock:
            heapq.heappush(self._due, (event.at, next(self._order), event, False))

    def do(self, event: Event) -> None:
        """Let an event happen now."""
        method = getattr(self, event.action.replace("-", "_"))
        if event.action in ("hang", "unhang") or event.gpu is not None:
            method(event.gpu, **event.parameters)
        elif event.action.endswith("-driver"):
            method(**event.parameters)
        else:
            for gpu in self.gpus:
                method(gpu.index, **event.parameters)

    # What a scenario can ask for; `gpu` is an index.

    def load(self, gpu: int, load: Load) -> None:
        """Let it work on something else."""
        board = self.gpus[gpu].board
        now = self.now()
        self.gpus[gpu].state(now)
        board.set_load(load, now)

    def cooling(self, gpu: int, factor: float) -> None:
        """1 is as designed, less is worse."""
        self.gpus[gpu].board.cooling = factor

    def power_limit(self, gpu: int, watts: float) -> None:
        """Set another power limit, within what the board allows."""
        low, _, high = self.gpus[gpu].model.limits
        self.gpus[gpu].board.limit = min(max(watts, low), high)

    def xid(self, gpu: int, xid: int, gpu_instance: int | None = None) -> None:
        """Report an XID to who waits for events."""
        with self._lock:
            self.xids.append(ReportedXid(self.now(), self.gpus[gpu], xid, gpu_instance))

    def ecc(
        self,
        gpu: int,
        type: str,  # noqa: A002 - the scenario's name
        count: int = 1,
        location: str = "dram",
    ) -> None:
        """Count memory errors in a part of the GPU."""
        errors = self.gpus[gpu].errors
        if (type, location) == ("uncorrected", "sram"):
            errors.sram_error("parity", "other", count)
        else:
            errors.volatile[type, ECC_LOCATIONS[location]] += count

    def sram(
        self,
        gpu: int,
        code: str = "parity",
        source: str = "sm",
        count: int = 1,
        *,
        exceeded: bool | None = None,
    ) -> None:
        """Count uncorrectable errors in on-chip memory; there may be too many of them by now."""
        errors = self.gpus[gpu].errors
        errors.sram_error(code, source, count)
        if exceeded is not None:
            errors.sram_exceeded = exceeded

    def remap(
        self,
        gpu: int,
        type: str,  # noqa: A002 - the scenario's name
        *,
        pending: bool = True,
        failure: bool = False,
    ) -> None:
        """Remap a row, at the next reset where `pending`."""
        errors = self.gpus[gpu].errors
        errors.remapped[type] += 1
        errors.remap_pending = pending
        errors.remap_failure |= failure

    def retire(self, gpu: int, cause: str, *, pending: bool = True) -> None:
        """Retire a page, at the next reset where `pending`."""
        errors = self.gpus[gpu].errors
        errors.retired[cause] += 1
        if pending:
            errors.waiting.add(cause)

    def repair(self, gpu: int, unit: str, *, pending: bool = True) -> None:
        """A memory channel or a group of SMs waits to be replaced by a spare one."""
        waiting = self.gpus[gpu].errors.repairs
        if pending:
            waiting.add(unit)
        else:
            waiting.discard(unit)

    def unrepairable(self, gpu: int) -> None:
        """Memory is broken that cannot be replaced."""
        self.gpus[gpu].errors.unrepairable = True

    def recovery(self, gpu: int, action: int) -> None:
        """What the driver asks for, by number (nvml.h, nvmlDeviceGpuRecoveryAction_t)."""
        self.gpus[gpu].errors.recovery = action

    def pcie(self, gpu: int, type: str, count: int = 1) -> None:  # noqa: A002 - the scenario's name
        """Count errors on the PCIe link."""
        self.gpus[gpu].errors.pcie[type] += count

    def nvlink(
        self,
        gpu: int,
        link: int,
        type: str | None = None,  # noqa: A002 - the scenario's name
        count: int = 1,
        *,
        up: bool | None = None,
    ) -> None:
        """Count errors on an NVLink, let it go down, or bring it up again."""
        board = self.gpus[gpu]
        if type is not None:
            board.nvlinks.links[link].errors[type] += count
        if up is not None:
            board.switch_link(link, self.now(), up=up)

    def fans(self, gpu: int, count: int) -> None:
        """Only the first fans answer from now on."""
        self.gpus[gpu].fans = count

    def links(self, gpu: int, count: int) -> None:
        """Only the first NVLinks answer from now on."""
        self.gpus[gpu].nvlinks.there = count

    def license(self, gpu: int, *, valid: bool) -> None:
        """A virtual GPU gets its licence, or loses it."""
        self.gpus[gpu].licensed = valid

    def set(self, gpu: int, reading: str, value: int) -> None:
        """Give this instead of the true reading."""
        self.gpus[gpu].override(reading, value)

    def unset(self, gpu: int, reading: str) -> None:
        """Give the true reading again."""
        self.gpus[gpu].override(reading, None)

    def buffers(self, gpu: int, fault: str | None) -> None:
        """Break the sample buffers (`samplecalls`), or mend them."""
        self.gpus[gpu].buffer_fault = fault

    def mig(self, gpu: int, profiles: list[str] | None) -> None:
        """Cut it up so; None switches MIG off."""
        before = {i.id for i in self.gpus[gpu].mig.instances}
        self.gpus[gpu].mig.switch(profiles, self.gpus[gpu].done(self.now()))
        gone = before - {i.id for i in self.gpus[gpu].mig.instances}
        for worker in self.gpus[gpu].workers():
            if worker.process.gpu_instance in gone:
                self.gpus[gpu].end_process(worker.process.pid, self.happening())

    def lose(self, gpu: int) -> None:
        """It falls off the bus."""
        self.gpus[gpu].lost = True

    def restore(self, gpu: int) -> None:
        """It is back, which takes a reset."""
        self.gpus[gpu].lost = False
        self.gpus[gpu].reset_energy(self.now())

    def hang(self, gpu: int | None = None) -> None:
        """Calls about this GPU, or to the driver at all, do not come back."""
        if gpu is None:
            self.hanging = True
        else:
            self.gpus[gpu].hanging = True

    def unhang(self, gpu: int | None = None) -> None:
        """The calls that hang come back, and later ones do."""
        if gpu is None:
            self.hanging = False
        else:
            self.gpus[gpu].hanging = False

    def unload_driver(self) -> None:
        """The kernel module is gone; its library stays."""
        self.driver = None

    def uninstall_driver(self) -> None:
        """Neither module nor library are there."""
        self.driver = self.installed = None

    def load_driver(self, version: str | None = None) -> None:
        """Install and load a driver: of this version, else of the one that was installed last."""
        found = DRIVERS[version] if version else self.installed
        if found is None:
            raise ScenarioError("load-driver: version: is missing: no driver is installed")
        self.installed = self.driver = found
        self.generation += 1
        for gpu in self.gpus:
            gpu.reset_energy(self.now())
            gpu.errors.driver_loaded()
            gpu.nvlinks.driver_loaded()

    def xids_after(self, number: int) -> Iterator[tuple[int, ReportedXid]]:
        """The XIDs from a position on, each with the next position."""
        yield from enumerate(self.xids[number:], number + 1)
