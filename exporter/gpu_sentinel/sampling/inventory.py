"""Which GPUs there are: opens and closes the driver, starts a sampler a GPU, looks after them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gpu_sentinel.host import pci
from gpu_sentinel.model import DeviceId, DeviceSnapshot, DriverState
from gpu_sentinel.nvml import CallStats, Driver, GpuLostError, NvmlError
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.instances import InstanceSampler
from gpu_sentinel.sampling.lanes import Lanes, Sampler
from gpu_sentinel.sampling.lending import RELEASED, Lending
from gpu_sentinel.sampling.meter import Meter
from gpu_sentinel.sampling.pace import Lateness, Pace
from gpu_sentinel.sampling.sampler import DeviceSampler, Registry, Surroundings
from gpu_sentinel.sampling.stalls import Stalls
from gpu_sentinel.sampling.store import SnapshotStore
from gpu_sentinel.sampling.xidbook import XidBook
from gpu_sentinel.sampling.xidwatch import Session, XidState, XidWatcher

log = logging.getLogger(__name__)

#: A call that takes longer is reported as hanging; without any answer the driver counts as down.
HANG_SECONDS = 5.0
#: Between two looks at the samplers, and at the driver.
WATCH_SECONDS = 1.0
COUNT_SECONDS = 2.0
#: Between two attempts to initialise NVML, at first and at most.
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 4.0
#: At least between two initialisations for no better reason than that every GPU fails.
REOPEN_SECONDS = 8.0
PCI_SECONDS = 30.0


class Inventory:
    """Keeps one sampler running for every GPU that the driver lists, whatever happens to it.

    Its thread may hang in the driver as the samplers may; nothing else waits for it.
    """

    def __init__(
        self,
        driver: Driver,
        store: SnapshotStore,
        pace: Callable[[], Pace],
        *,
        stats: CallStats,
        expected_gpus: Callable[[], int | None],
        pci_gpus: Callable[[], tuple[pci.PciGpu, ...] | None],
        module_loaded: Callable[[], bool | None] = lambda: None,
        kernel_log: Path | None = None,
    ) -> None:
        """Prepare; `start` does the work.

        Args:
            driver: the door to NVML.
            store: where everything that is known goes.
            pace: how often to read; the same object until something is set otherwise.
            stats: what the calls to the driver cost.
            expected_gpus: as set; None for as many as are on the PCI bus.
            pci_gpus: NVIDIA display devices; None where the PCI bus cannot be seen.
            module_loaded: whether the kernel module is loaded, found out without NVML; None
                where that cannot be known.
            kernel_log: where XIDs are read; None to ask NVML for them.
        """
        self._driver = driver
        self._store = store
        self._pace = pace
        self._expected_gpus = expected_gpus
        self._pci_gpus = pci_gpus
        self._registry = Registry()
        self.governor = Governor()
        self._meter = Meter(stats, self.governor)
        #: When the exporter itself stood still.
        self.stalls = Stalls()
        self.lending = Lending(module_loaded)
        self._xids = XidWatcher(XidBook(store, self._addresses), kernel_log)
        self._samplers: list[DeviceSampler] = []
        self._instances: list[InstanceSampler] = []
        self._lanes: Lanes | None = None
        self._hanging: set[Sampler] = set()
        self._open = False
        self._next_pci = 0.0
        self._stop = threading.Event()
        self._wake = threading.Event()
        #: Set once the first attempt to open the driver has ended, either way.
        self.tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inventory", daemon=True)

    @property
    def lateness(self) -> Lateness:
        """How late passes began."""
        return self._registry.lateness

    @property
    def sampler_cpu(self) -> float:
        """Processor seconds that the sampling threads have used."""
        return self._meter.cpu

    @property
    def xids(self) -> XidState:
        """Where XIDs come from."""
        return self._xids.state

    def start(self) -> None:
        """Start the thread; it starts the samplers."""
        self.stalls.start()
        self._xids.start()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End all threads within `timeout` seconds and let go of the driver.

        Returns:
            False where a call to the driver is still running: NVML was not shut down then,
            because that would wait for the call.
        """
        deadline = time.monotonic() + timeout
        self._stop.set()
        self._wake.set()
        self.stalls.stop(timeout)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._xids.stop(0.0)
            return False
        closed = self._close(max(deadline - time.monotonic(), 0.1))
        return self._xids.stop(max(deadline - time.monotonic(), 0.1)) and closed

    def wake(self) -> None:
        """Look at everything now, as after the settings were changed."""
        self._wake.set()
        if (lanes := self._lanes) is not None:
            lanes.wake()

    def release(self, seconds: float) -> None:
        """Let go of the driver, for so long at most; `lending.wait` tells when it is done."""
        self.lending.release(seconds)
        self._wake.set()

    def acquire(self) -> bool:
        """Take the driver again; False where it was not let go of."""
        taken = self.lending.acquire()
        self._wake.set()
        return taken

    def _run(self) -> None:
        pause = RETRY_SECONDS
        while not self._stop.is_set():
            try:
                pause = self._step(pause)
            except Exception:
                # A defect of ours must not end the one thread that can bring the GPUs back.
                log.exception("inventory failed")
                pause = RETRY_SECONDS_MAX
            self._wake.wait(pause)

    def _step(self, last_pause: float) -> float:
        """Do what is due, and return the seconds until something is due again."""
        now = time.monotonic()
        if now >= self._next_pci or self._wake.is_set():
            self._count()
            self._next_pci = now + PCI_SECONDS
        self._wake.clear()
        if self.lending.wanted(now):
            self._let_go()
            self.tried.set()
            return WATCH_SECONDS
        if self._open:
            self._watch()
            return WATCH_SECONDS
        self._try_open()
        self.tried.set()
        return WATCH_SECONDS if self._open else min(last_pause * 2, RETRY_SECONDS_MAX)

    def _count(self) -> None:
        gpus = self._pci_gpus()
        expected = self._expected_gpus()
        if expected is None and gpus is not None:
            expected = pci.expected(gpus)
        cards = None if gpus is None else sum(not gpu.virtual for gpu in gpus)
        self._store.put_counts(cards, expected)

    def _try_open(self) -> None:
        state = self._store.current.driver
        try:
            info = self._driver.open()
            try:
                listed = self._driver.count()
            except NvmlError:
                self._driver.close()
                raise
        except NvmlError as error:
            if state.error != str(error):
                log.warning("driver not available", extra={"fields": {"reason": str(error)}})
                self._store.put_driver(DriverState(error=str(error)))
            return
        now = time.monotonic()
        self._open = True
        self._store.put_driver(DriverState(info=info, listed=listed, opened=now, answered=now))
        log.info(
            "driver opened",
            extra={"fields": {"driver_version": info.driver_version, "gpus": listed}},
        )
        around = Surroundings(
            self._driver,
            self._store,
            self._store.session,
            self._registry,
            self.governor,
            self._pace,
            self._wake.set,
        )
        self._samplers = [DeviceSampler(index, around) for index in range(listed)]
        self._instances = [InstanceSampler(s, around) for s in self._samplers]
        self._lanes = Lanes(
            self._everything, partial(self._meter.look, listed, self._pace), self.stalls.since
        )
        self._lanes.start()
        self._xids.attach(Session(self._driver.events, partial(_present, self._samplers)))

    @property
    def _everything(self) -> tuple[Sampler, ...]:
        return (*self._samplers, *self._instances)

    def _let_go(self) -> None:
        """Release every handle, so that GPUs can be reset, MIG changed, the driver unloaded."""
        if not self._store.current.driver.released:
            self._store.put_driver(DriverState(error=RELEASED, released=True))
            self._store.clear_devices()
        if self._open and not self._close(WATCH_SECONDS):
            self.lending.stuck(self._asked())
        elif not self.lending.free:
            self.lending.freed()

    def _asked(self) -> str:
        """What a call that does not come back was about."""
        busy = self._lanes.busy() if self._lanes else {}
        asked = [f"GPU {sampler.index}: {sampler.asked}" for sampler in busy]
        return ", ".join(asked if self._xids.outside(0.0) else [*asked, "events"])

    def _watch(self) -> None:
        now = time.monotonic()
        self._report_hanging(now)
        reason = self._reason_to_reopen(now)
        if reason is None:
            self._report_missing(now)
            return
        if self._store.current.driver.error != reason:
            log.warning("driver is opened anew", extra={"fields": {"reason": reason}})
        self._store.put_driver(DriverState(error=reason))
        self._store.clear_devices()
        self._close(WATCH_SECONDS)

    def _reason_to_reopen(self, now: float) -> str | None:
        gone = next((s.gone for s in self._samplers if s.gone), None)
        if gone is not None:
            return str(gone)
        state = self._store.current.driver
        if state.info is None:
            return state.error  # a sampler hung when the driver should have been closed
        failures = [s.failure for s in self._samplers]
        if (
            failures
            and all(f is not None and not isinstance(f, GpuLostError) for f in failures)
            and now - state.opened > REOPEN_SECONDS
        ):
            return f"every GPU fails: {failures[0]}"
        if now - state.answered >= COUNT_SECONDS:
            return self._ask_count(state)
        return None

    def _ask_count(self, state: DriverState) -> str | None:
        try:
            listed = self._driver.count()
        except NvmlError as error:
            return str(error)
        if listed != state.listed:
            return f"the driver lists {listed} GPUs instead of {state.listed}"
        self._store.put_driver(replace(state, answered=time.monotonic()))
        return None

    def _report_hanging(self, now: float) -> None:
        busy = self._lanes.busy() if self._lanes else {}
        for sampler in self._everything:
            since = busy.get(sampler)
            # Long calls are few: the rest need not be asked whether we stood still ourselves.
            hanging = since is not None and now - since > HANG_SECONDS
            if hanging and since is not None:
                hanging = now - since - self.stalls.since(since) > HANG_SECONDS
            if hanging == (sampler in self._hanging):
                continue
            fields: dict[str, object] = {"gpu": sampler.index, "query": sampler.asked}
            if hanging:
                self._hanging.add(sampler)
                log.warning("GPU does not answer", extra={"fields": fields})
            else:
                self._hanging.discard(sampler)
                log.info("GPU no longer hangs", extra={"fields": fields})

    def _report_missing(self, now: float) -> None:
        """GPUs that were here before and that the driver lists no more are lost."""
        if now - self._store.current.driver.opened < WATCH_SECONDS:
            return
        if any(sampler.known is None for sampler in self._samplers):
            return  # one that has not told its UUID yet may be the missing one
        here = {s.known.id.uuid for s in self._samplers if s.known}
        shown = {d.id.uuid for d in self._store.current.devices}
        for uuid, known in self._registry.gpus.copy().items():
            if uuid not in here and uuid not in shown:
                log.warning("GPU is no longer listed", extra={"fields": {"uuid": uuid}})
                self._store.put_device(
                    DeviceSnapshot(id=known.id, identity=known.identity, lost=True, answered=now)
                )

    def _addresses(self) -> list[tuple[DeviceId, str]]:
        known = self._registry.gpus.copy().values()
        return [(k.id, k.identity.get("pci_bus_id", "")) for k in known if k.identity]

    def _close(self, timeout: float) -> bool:
        """Stop all who call the driver and let go of it; False where one is stuck in a call."""
        self._xids.detach()
        if self._lanes is not None and not self._lanes.close(timeout):
            return False
        if not self._xids.outside(timeout):
            return False
        for sampler in self._everything:
            sampler.release()
        self._lanes = None
        self._samplers, self._instances = [], []
        self._hanging.clear()
        if self._open:
            self._driver.close()
            self._open = False
        return True


def _present(samplers: list[DeviceSampler]) -> list[DeviceId]:
    """The GPUs that have told who they are."""
    return [sampler.known.id for sampler in samplers if sampler.known]
