"""Opens the driver, makes its samplers, and decides when the driver has to be opened anew."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gpu_sentinel.catalogue.availability import DRIVER_GONE
from gpu_sentinel.model import DriverState
from gpu_sentinel.nvml import Driver, DriverGoneError, GpuLostError, NvmlError
from gpu_sentinel.sampling.backoff import BackOff
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.instances import InstanceSampler
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from gpu_sentinel.sampling.owners.shared import Owners
from gpu_sentinel.sampling.pace import Pace
from gpu_sentinel.sampling.registry import Registry, Surroundings
from gpu_sentinel.sampling.roster import Roster
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.store import SnapshotStore

log = logging.getLogger(__name__)

#: Between two questions that concern no single GPU.
COUNT_SECONDS = 2.0
#: Until NVML is initialised anew only because no GPU answers, or because the PCI bus shows more
#: GPUs than the driver lists: at first, doubled each time, up to this.
REOPEN_SECONDS, REOPEN_SECONDS_MAX = 8.0, 300.0
#: So often GPUs that answer are disturbed for the sake of one that is not listed.
REOPENS_FOR_ONE = 4


@dataclass(frozen=True, slots=True)
class Reopen:
    """Why NVML is to be initialised anew, for a person; `gone`: nothing answers before that."""

    reason: str
    gone: bool = False


class GpuWatch:
    """The driver and its samplers, without a thread: the inventory's thread calls it."""

    def __init__(
        self,
        driver: Driver,
        store: SnapshotStore,
        roster: Roster,
        registry: Registry,
        *,
        governor: Governor,
        pace: Callable[[], Pace],
        owners: Owners | None = None,
        on_gone: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; `open` calls the driver.

        Args:
            driver: NVML.
            store: where everything that is known goes.
            roster: which GPUs there are.
            registry: the GPUs that were seen.
            governor: how often what is read.
            pace: how often to read; the same object until something is set otherwise.
            owners: whose the processes are; None where nobody wants to know.
            on_gone: called from a sampler that says that the driver is gone.
            clock: monotonic seconds.
            wall: Unix time.
        """
        self._driver = driver
        self._store = store
        self._roster = roster
        self._registry = registry
        self._governor = governor
        self._pace = pace
        self._owners = owners
        self._on_gone = on_gone
        self._clock = clock
        self._wall = wall
        self._back_off = BackOff(REOPEN_SECONDS, REOPEN_SECONDS_MAX)
        self._reopens = 0
        self._bound = 0
        self.opened = False
        self.samplers: list[DeviceSampler] = []
        self.instances: list[InstanceSampler] = []
        self.processes: list[ProcessSampler] = []

    @property
    def everything(self) -> tuple[DeviceSampler | InstanceSampler | ProcessSampler, ...]:
        """All samplers."""
        return (*self.samplers, *self.instances, *self.processes)

    def open(self) -> bool:
        """Initialise NVML and make a sampler for each GPU; False where that fails."""
        state = self._store.current.driver
        try:
            info = self._driver.open()
            try:
                listed = self._count()
            except NvmlError:
                self._driver.close()
                raise
        except NvmlError as error:
            if state.error != str(error):
                log.warning("driver not available", extra={"fields": {"reason": str(error)}})
                self._store.put_driver(DriverState(error=str(error)))
            self._devices_gone()
            return False
        now = self._clock()
        if state.info != info or state.listed != listed:
            fields = {"driver_version": info.driver_version, "gpus": listed}
            log.info("driver opened", extra={"fields": fields})
        self.opened = True
        self._store.put_driver(DriverState(info=info, listed=listed, opened=now, answered=now))
        self._roster.opened(listed)
        self._store.begin_session()
        self._devices_back(now)
        around = Surroundings(
            self._driver,
            self._store,
            self._store.session,
            self._registry,
            self._governor,
            self._pace,
            self._on_gone,
            self._clock,
            self._wall,
            self._roster.guess,
        )
        self.samplers = [DeviceSampler(index, around) for index in range(listed)]
        self.instances = [InstanceSampler(sampler, around) for sampler in self.samplers]
        if self._owners is not None:
            owners = self._owners
            self.processes = [
                ProcessSampler(gpu, around, owners, parts.devices)
                for gpu, parts in zip(self.samplers, self.instances, strict=True)
            ]
        return True

    def look(self) -> Reopen | None:
        """See to GPUs that no sampler reads; returns why the driver is to be opened anew."""
        reopen = self._reopen()
        if reopen is None:
            self._roster.settle(self.samplers)
        return reopen

    def closing(self, reopen: Reopen) -> None:
        """Say that the driver is opened anew; GPUs that are known stay where they are seen."""
        if self._store.current.driver.error != reopen.reason:
            log.warning("driver is opened anew", extra={"fields": {"reason": reopen.reason}})
        if reopen.gone:
            self._store.put_driver(DriverState(error=reopen.reason))
            self._devices_gone()

    def close(self) -> None:
        """Let go of the driver; nobody may be inside of a sampler's `step`."""
        for sampler in self.everything:
            sampler.stop()
            sampler.release()
        self.samplers, self.instances, self.processes = [], [], []
        if self.opened:
            self._driver.close()
            self.opened = False

    def ask_again(self, uuid: str | None = None) -> None:
        """Something happened to a GPU, or all, after which more may be answered than before."""
        for sampler in self.samplers:
            if uuid is None or (sampler.known and sampler.known.id.uuid == uuid):
                sampler.ask_again()

    def _count(self) -> int:
        try:
            return self._driver.count()
        except NvmlError as error:
            bound = len(self._roster.bound)
            if isinstance(error, DriverGoneError) or not bound:
                raise
            return bound  # it does not say how many, so each is tried

    def _reopen(self) -> Reopen | None:
        now, state = self._clock(), self._store.current.driver
        failures = [sampler.failure for sampler in self.samplers]
        silent = all(failure is not None for failure in failures)
        said_gone = any(isinstance(failure, DriverGoneError) for failure in failures)
        if now - state.answered >= COUNT_SECONDS or (silent and said_gone):
            reopen = self._recount(state, silent=silent)
            if reopen is not None:
                return reopen
        if not silent:
            self._back_off.succeeded()
        elif any(not isinstance(failure, GpuLostError) for failure in failures):
            return self._after(state, f"every GPU fails: {failures[0]}")
        return self._listed_too_few(state, silent=silent)

    def _recount(self, state: DriverState, *, silent: bool) -> Reopen | None:
        """Ask the driver how many GPUs it lists: it answers, it is gone, or others came."""
        try:
            listed = self._driver.count()
        except NvmlError as error:
            # Where GPUs answer, the driver does: this one call is to blame.
            gone = silent and isinstance(error, DriverGoneError)
            return Reopen(str(error), gone=True) if gone else None
        if listed != state.listed:
            return Reopen(f"the driver lists {listed} GPUs instead of {state.listed}")
        self._store.put_driver(replace(state, answered=self._clock()))
        return None

    def _listed_too_few(self, state: DriverState, *, silent: bool) -> Reopen | None:
        """GPUs that were added, or came late, are listed only after another initialisation."""
        bound = len(self._roster.bound)
        if bound != self._bound:
            self._bound, self._reopens = bound, 0
            self._back_off.succeeded()
        if bound <= (state.listed or 0) or (self._reopens >= REOPENS_FOR_ONE and not silent):
            return None
        reopen = self._after(state, f"the PCI bus shows {bound} GPUs, the driver {state.listed}")
        self._reopens += reopen is not None
        return reopen

    def _after(self, state: DriverState, reason: str) -> Reopen | None:
        """Open the driver anew, but only after a while, which grows each time."""
        if self._clock() - state.opened < self._back_off.wait:
            return None
        self._back_off.failed()
        return Reopen(reason)

    def _devices_gone(self) -> None:
        self._store.begin_session()
        for device in self._store.current.devices:
            if device.failure != DRIVER_GONE and not device.lost and device.id.address == "":
                self._store.put_device(replace(device, failure=DRIVER_GONE, tiers={}))

    def _devices_back(self, now: float) -> None:
        """Each is given the time to answer: one that does not, hangs."""
        for device in self._store.current.devices:
            if device.failure == DRIVER_GONE:
                self._store.put_device(replace(device, failure="", answered=now))
