"""A host with simulated GPUs and its exporter in simulated time: no thread, no waiting.

Samplers, watch, store and page are the real ones. What the inventory's thread does, and the kernel
log with XIDs, is done here at the same moments.
"""

from __future__ import annotations

import math
import re

from gpu_sentinel.exposition import DeviceRenderer, MetricsPage, OwnRenderer, ReloadState, Workings
from gpu_sentinel.host import PciGpu
from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling import Governor, Pace, SnapshotStore
from gpu_sentinel.sampling.instances import InstanceSampler
from gpu_sentinel.sampling.inventory import PCI_SECONDS, WATCH_SECONDS
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from gpu_sentinel.sampling.registry import Registry
from gpu_sentinel.sampling.roster import Roster
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.watch import GpuWatch
from gpu_sentinel.sampling.xidbook import XidBook
from gpu_sentinel.simulator import Simulation, load_scenario
from simulatedpeople import SimulatedPeople, has_people
from simulatedtime import Clock

Sampler = DeviceSampler | InstanceSampler | ProcessSampler
#: An exporter's process begins when the test does, whatever the simulated time.
_STARTED = re.compile(r"^process_start_time_seconds .*$", re.MULTILINE)


class SimulatedHost:
    """One exporter at a time; two hosts must not run at once, because pynvml has one library.

    Attributes:
        ahead: seconds by which the host's clock is ahead of the one that is asked for.
        expected: how many GPUs the exporter is told to expect.
    """

    def __init__(
        self,
        scenario: str,
        pace: Pace,
        *,
        start: float = 0.0,
        ahead: float = 0.0,
        expected: int | None = None,
        wanted: frozenset[str] | None = None,
    ) -> None:
        self.clock = Clock(start)
        self.pace = pace
        self.ahead = ahead
        self._wanted = wanted
        loaded = load_scenario(scenario)
        self.simulation = Simulation(loaded, self.clock)
        self._inhabited = has_people(loaded)
        self._people: SimulatedPeople | None = None
        self.expected = len(self.simulation.gpus) if expected is None else expected
        self._start = start
        self._watched: GpuWatch | None = None
        self.start_exporter()

    def wall(self) -> float:
        """What the host takes for the time."""
        return self.clock.now + self.ahead

    def start_exporter(self) -> None:
        """A new process: nothing is remembered but what the kernel log holds."""
        self.stats, self.store = CallStats(), SnapshotStore()
        self.governor, self.registry = Governor(), Registry()
        self.reload = ReloadState(self.wall)
        self._started = self.wall()
        if self._inhabited:
            interval = max(self.pace.fast, 1.0)
            self._people = SimulatedPeople(
                self.simulation, lambda: self.store.current, self.clock, self.wall, interval
            )
        workings = Workings(
            self.stats,
            self.reload,
            self.governor,
            self.registry.lateness,
            lambda: (self.wall() - self._started) / 1e3,
            owner_sources=self._people.sources if self._people else dict,
        )
        self._own = OwnRenderer(workings)
        self._page = MetricsPage(
            lambda: self.store.current, self._own, DeviceRenderer(), clock=self.clock
        )
        self._roster = Roster(
            self.store, self.registry, self._pci_gpus, lambda: self.expected, self.clock
        )
        self._watched = GpuWatch(
            Driver(self.stats, self.simulation.library, self._wanted),
            self.store,
            self._roster,
            self.registry,
            governor=self.governor,
            pace=lambda: self.pace,
            owners=self._people.owners if self._people else None,
            clock=self.clock,
            wall=self.wall,
        )
        self._book = XidBook(
            self.store,
            lambda: [(k.id, k.address) for k in self.registry.gpus.values()],
            self.clock,
            reported=self._watched.ask_again,
            stranger=self._roster.stranger,
        )
        self._told = 0
        self._tell_xids(new=False)
        self._watch_at = self._count_at = self.clock.now

    def stop_exporter(self) -> None:
        """Kill it: no call is made any more, as one might hang; `start_exporter` may follow."""
        self._watched = None
        if self._people:
            self._people.close()
            self._people = None
        nvml_library.detach()

    def run(self, until: float) -> None:
        """Let everything happen that is due up to this time."""
        while True:
            self.simulation.catch_up()
            if self._people:
                self._people.look()
            if self.clock.now >= self._watch_at:
                self._watch()
                self._watch_at = self.clock.now + WATCH_SECONDS
            due = min((s.step() for s in self._samplers if self._answers(s)), default=math.inf)
            due = min(due, self._watch_at)
            if due > until:
                break
            self.clock.now = due
        self.clock.now = until

    def rest(self, until: float) -> None:
        """Time passes without an exporter."""
        self.clock.now = until
        self.simulation.catch_up()

    def body(self, accept: str = "") -> str:
        """What a scrape gets now."""
        self._tell_xids(new=True)
        self._book.settle()
        text = self._page.body(accept, "")[0].decode()
        return _STARTED.sub(f"process_start_time_seconds {self._started}", text)

    def _answers(self, sampler: Sampler) -> bool:
        """Whether a call would come back; a real sampler's thread would be inside of it."""
        listed = self.simulation.listed()
        gpu = listed[sampler.index] if sampler.index < len(listed) else None
        return not (self.simulation.hanging or (gpu is not None and gpu.hanging))

    @property
    def _samplers(self) -> tuple[Sampler, ...]:
        return self._watched.everything if self._watched else ()

    def _pci_gpus(self) -> tuple[PciGpu, ...]:
        return self.simulation.pci_gpus()

    def _watch(self) -> None:
        """As the inventory does it."""
        if self.simulation.hanging or self._watched is None:
            return
        if self.clock.now >= self._count_at:
            self._roster.count()
            self._count_at = self.clock.now + PCI_SECONDS
        if not self._watched.opened:
            self._watched.open()
            return
        for sampler in self._watched.samplers:
            if not self._answers(sampler):
                sampler.introduce()
        reopen = self._watched.look()
        if reopen is not None:
            self._watched.closing(reopen)
            self._watched.close()
            if not reopen.gone:
                self._watched.open()

    def _tell_xids(self, *, new: bool) -> None:
        xids = self.simulation.xids
        for since, gpu, xid, _ in xids[self._told :]:
            wall = self._start + since + self.ahead
            self._book.by_gpu(DeviceId(gpu.index, gpu.uuid), xid, wall, new=new)
        self._told = len(xids)
