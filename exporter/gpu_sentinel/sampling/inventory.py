"""Which GPUs there are: opens and closes the driver, starts a sampler a GPU, looks after them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gpu_sentinel.host import PciGpu
from gpu_sentinel.model import DeviceId, DriverState
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.health import HANG_SECONDS
from gpu_sentinel.sampling.kernelbook import KernelBook
from gpu_sentinel.sampling.lanes import Lanes, Sampler
from gpu_sentinel.sampling.lending import RELEASED, Lending
from gpu_sentinel.sampling.meter import Meter
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from gpu_sentinel.sampling.owners.shared import Owners
from gpu_sentinel.sampling.owners.xids import XidOwners
from gpu_sentinel.sampling.pace import Lateness, Pace
from gpu_sentinel.sampling.registry import Registry
from gpu_sentinel.sampling.roster import Roster
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.stalls import Stalls
from gpu_sentinel.sampling.store import SnapshotStore
from gpu_sentinel.sampling.watch import GpuWatch, Reopen
from gpu_sentinel.sampling.xidbook import XidBook
from gpu_sentinel.sampling.xidwatch import Session, XidState, XidWatcher

log = logging.getLogger(__name__)

#: Between two looks at the samplers, and at the driver.
WATCH_SECONDS = 1.0
#: Between two attempts to initialise NVML, at first and at most.
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 4.0
PCI_SECONDS = 30.0
#: Between two looks at whether the processes of a GPU hang, which hold up those of others only.
PROCESSES_LOOK_SECONDS = 1.0


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
        pci_gpus: Callable[[], tuple[PciGpu, ...] | None],
        module_loaded: Callable[[], bool | None] = lambda: None,
        kernel_log: Path | None = None,
        owners: Owners | None = None,
    ) -> None:
        """Prepare; `start` does the work.

        Args:
            driver: NVML.
            store: where everything that is known goes.
            pace: how often to read; the same object until something is set otherwise.
            stats: what the calls to the driver cost.
            expected_gpus: as set; None for as many as are on the PCI bus.
            pci_gpus: NVIDIA display devices on the PCI bus; None where nobody knows.
            module_loaded: whether the kernel module is loaded, found out without NVML; None
                where that cannot be known.
            kernel_log: where XIDs are read; None to ask NVML for them.
            owners: whose the processes are; None where nobody wants to know.
        """
        self._store = store
        self._pace = pace
        self._registry = Registry()
        self._roster = Roster(store, self._registry, pci_gpus, expected_gpus)
        self.governor = Governor()
        self._meter = Meter(stats, self.governor)
        #: When the exporter itself stood still.
        self.stalls = Stalls()
        self._stalls_seen = 0
        self.lending = Lending(module_loaded)
        self._wake = threading.Event()
        self._watched = GpuWatch(
            driver,
            store,
            self._roster,
            self._registry,
            governor=self.governor,
            pace=pace,
            owners=owners,
            on_gone=self._wake.set,
        )
        self._events = driver.events
        book = XidBook(
            store,
            self._addresses,
            reported=self._watched.ask_again,
            named=XidOwners(owners, store).take if owners is not None else None,
            stranger=self._roster.stranger,
        )
        events = KernelBook(
            store,
            self._addresses,
            behind=self._roster.behind,
            stranger=self._roster.stranger,
        )
        self._xids = XidWatcher(book, events, kernel_log)
        self._lanes: list[Lanes] = []
        self._processes_cpu = 0.0
        self._hanging: set[Sampler] = set()
        #: Why the driver is being closed, as long as a call to it hangs.
        self._leaving: Reopen | None = None
        self._next_pci = 0.0
        self._stop = threading.Event()
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
        for lanes in self._lanes:
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
            self._roster.count()
            self._next_pci = now + PCI_SECONDS
        self._wake.clear()
        if self.lending.wanted(now):
            self._let_go()
            self.tried.set()
            return WATCH_SECONDS
        if self._watched.opened:
            self._watch()
        else:
            self._open()
            self.tried.set()
        return WATCH_SECONDS if self._watched.opened else min(last_pause * 2, RETRY_SECONDS_MAX)

    def _open(self) -> None:
        if not self._watched.open():
            return
        samplers = self._watched.samplers
        gpus: tuple[Sampler, ...] = (*samplers, *self._watched.instances)
        self._lanes = [Lanes(gpus, partial(self._measure, len(samplers)), self.stalls.since)]
        if self._watched.processes:
            # Lists of processes take milliseconds: no reading of a GPU waits for them.
            self._lanes.append(
                Lanes(
                    self._watched.processes,
                    self._measure_processes,
                    self.stalls.since,
                    PROCESSES_LOOK_SECONDS,
                )
            )
        self._processes_cpu = 0.0
        for lanes in self._lanes:
            lanes.start()
        self._xids.attach(Session(self._events, partial(_present, samplers)))

    def _let_go(self) -> None:
        """Release every handle, so that GPUs can be reset, MIG changed, the driver unloaded."""
        if not self._store.current.driver.released:
            self._store.put_driver(DriverState(error=RELEASED, released=True))
            self._store.clear_devices()
            self._roster.excuse()
        if self._watched.opened and not self._close(WATCH_SECONDS):
            self.lending.stuck(self._asked())
        elif not self.lending.free:
            self.lending.freed()

    def _asked(self) -> str:
        """What a call that does not come back was about."""
        busy = self._busy()
        asked = [f"GPU {sampler.index}: {sampler.asked}" for sampler in busy]
        return ", ".join(asked if self._xids.outside(0.0) else [*asked, "events"])

    def _watch(self) -> None:
        self._report_hanging(time.monotonic())
        if self.stalls.count != self._stalls_seen:
            # The machine may have been suspended, and its GPUs with it.
            self._stalls_seen = self.stalls.count
            self._watched.ask_again()
        began = time.monotonic()
        reopen = self._leaving or self._watched.look()
        took = time.monotonic() - began - self.stalls.since(began)
        if took > HANG_SECONDS:
            # Only now: this thread, which tells of GPUs that hang, was in that call itself.
            fields: dict[str, object] = {"seconds": round(took, 1)}
            log.warning("driver did not answer", extra={"fields": fields})
        # As long as a call hangs the driver cannot be closed: GPUs that answer are left alone then.
        if reopen is not None and (reopen is self._leaving or reopen.gone or not self._hanging):
            self._reopen(reopen)

    def _reopen(self, reopen: Reopen) -> None:
        if not reopen.gone and reopen is not self._leaving and not self._paused():
            return
        self._watched.closing(reopen)
        self._leaving = None if self._close(WATCH_SECONDS) else reopen
        if self._leaving is None and not reopen.gone:
            self._open()

    def _paused(self) -> bool:
        """Whether nobody is inside the driver, so that it can be closed.

        A call may hang and not be known to yet. Whoever was told to stop for the driver's sake
        would be read no more until it came back.
        """
        for number, lanes in enumerate(self._lanes):
            if not lanes.pause(WATCH_SECONDS):
                for other in self._lanes[:number]:
                    other.resume()
                return False
        return True

    def _busy(self) -> dict[Sampler, float]:
        """What is read at this moment, and monotonic seconds since when."""
        return {s: since for lanes in self._lanes for s, since in lanes.busy().items()}

    def _measure(self, gpus: int, cpu: float) -> None:
        self._meter.look(gpus, self._pace, cpu + self._processes_cpu)

    def _measure_processes(self, cpu: float) -> None:
        self._processes_cpu = cpu

    def _report_hanging(self, now: float) -> None:
        busy = self._busy()
        for sampler in self._watched.everything:
            since = busy.get(sampler)
            # Long calls are few: the rest need not be asked whether we stood still ourselves.
            hanging = since is not None and now - since > HANG_SECONDS
            if hanging and since is not None:
                hanging = now - since - self.stalls.since(since) > HANG_SECONDS
            if hanging == (sampler in self._hanging):
                continue
            fields: dict[str, object] = {"gpu": sampler.index, "query": sampler.asked}
            of_processes = isinstance(sampler, ProcessSampler)
            if hanging:
                self._hanging.add(sampler)
                if isinstance(sampler, DeviceSampler):
                    sampler.introduce()
                    if sampler.known is not None:
                        sampler.known.stops()
                what = "GPU does not answer"
                if of_processes:
                    what = "processes of a GPU cannot be read: a call does not come back"
                log.warning(what, extra={"fields": fields})
            else:
                self._hanging.discard(sampler)
                what = (
                    "processes of a GPU are read again" if of_processes else "GPU no longer hangs"
                )
                log.info(what, extra={"fields": fields})

    def _addresses(self) -> list[tuple[DeviceId, str]]:
        known = self._registry.gpus.copy().values()
        return [(k.id, k.address) for k in known if k.identity]

    def _close(self, timeout: float) -> bool:
        """Stop all who call the driver and let go of it; False where one is stuck in a call."""
        self._xids.detach()
        # Each of them is told to stop, also where one is stuck in a call.
        closed = [lanes.close(timeout) for lanes in self._lanes]
        if not all(closed):
            return False
        if not self._xids.outside(timeout):
            return False
        self._lanes = []
        self._hanging.clear()
        self._watched.close()
        return True


def _present(samplers: list[DeviceSampler]) -> list[DeviceId]:
    """The GPUs that have told who they are."""
    return [sampler.known.id for sampler in samplers if sampler.known]
