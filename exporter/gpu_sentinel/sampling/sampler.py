"""One thread for one GPU: it reads, so that a GPU that hangs blocks only itself."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gpu_sentinel.model import DeviceId, DeviceSnapshot, Tier, TierSample
from gpu_sentinel.nvml import (
    Device,
    Driver,
    DriverGoneError,
    GpuLostError,
    NvmlError,
    UnexpectedError,
)
from gpu_sentinel.sampling.history import History
from gpu_sentinel.sampling.store import SnapshotStore

log = logging.getLogger(__name__)

#: Between two attempts to find a GPU again that is lost or fails.
RETRY_SECONDS = 2.0
#: Passes in a row that bring nothing before the GPU is looked up anew.
FAILED_PASSES = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two passes of each tier."""

    fast: float = 0.25
    slow: float = 10.0

    def lifetime(self, tier: Tier) -> float:
        """Seconds after which a reading of this tier is too old to be shown."""
        if tier is Tier.STATIC:
            return math.inf
        return max(3 * (self.fast if tier is Tier.FAST else self.slow), 2.0)


@dataclass(slots=True)
class Known:
    """A GPU that was seen since the exporter started."""

    id: DeviceId
    history: History = field(default_factory=History)
    identity: dict[str, str] | None = None


class Registry:
    """Every GPU that was seen since the exporter started, by UUID."""

    def __init__(self) -> None:
        self.gpus: dict[str, Known] = {}

    def meet(self, id_: DeviceId) -> Known:
        """What is remembered of this GPU; its index may have changed."""
        known = self.gpus.setdefault(id_.uuid, Known(id_))
        known.id = id_
        return known


class DeviceSampler:
    """Samples the GPU of one index until it is stopped or the driver is gone.

    Attributes:
        known: the GPU, None until it told its UUID.
        busy_since: monotonic seconds since which a call to the driver runs, None outside.
        failure: what the driver answers instead of readings, None while it answers readings.
        gone: set when NVML has to be initialised anew; the thread has ended then.
    """

    def __init__(
        self,
        *,
        index: int,
        driver: Driver,
        store: SnapshotStore,
        registry: Registry,
        pace: Callable[[], Pace],
        on_gone: Callable[[], None],
    ) -> None:
        self.index = index
        self.known: Known | None = None
        self.busy_since: float | None = None
        self.failure: NvmlError | None = None
        self.gone: DriverGoneError | None = None
        self._driver = driver
        self._store = store
        self._registry = registry
        self._pace = pace
        self._on_gone = on_gone
        self._device: Device | None = None
        self._tiers: dict[Tier, TierSample] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"gpu-{index}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; from now on it publishes nothing."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; False where it is still inside a call to the driver."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""
        return self._device.asked if self._device else "handle"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
                self._sample()
            except DriverGoneError as error:
                self.gone = self.failure = error
                self._on_gone()
                return
            except NvmlError as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
                self._fail(UnexpectedError(error))
            finally:
                self.busy_since = None
            self._stop.wait(RETRY_SECONDS)

    def _connect(self) -> None:
        """Look the GPU up and find out what it supports."""
        self.busy_since = time.monotonic()
        device = self._device = self._driver.device(self.index)
        known = self.known = self._registry.meet(device.id)
        device.probe()
        known.identity = device.identity()
        self._tiers = {}
        self._read(Tier.STATIC)
        self.busy_since = None

    def _sample(self) -> None:
        """Read in time until told to stop; deadlines advance by the period.

        Raises:
            NvmlError: the GPU is lost, or has failed `FAILED_PASSES` times in a row.
        """
        deadline = next_slow = time.monotonic()
        failed = 0
        while not self._stop.is_set():
            pace = self._pace()
            now = time.monotonic()
            try:
                self._pass(Tier.FAST)
                failed = 0
                if now >= next_slow:
                    next_slow = now + pace.slow
                    self._probe_again()
                    self._pass(Tier.SLOW)
            except (GpuLostError, DriverGoneError):
                raise
            except NvmlError:
                failed += 1
                if failed >= FAILED_PASSES:
                    raise
            deadline += pace.fast
            late = time.monotonic() - deadline
            if late > 0:
                missed = math.ceil(late / pace.fast)
                deadline += missed * pace.fast
                if self.known:
                    self.known.history.overruns += missed
            self._stop.wait(max(deadline - time.monotonic(), 0.0))

    def _pass(self, tier: Tier) -> None:
        try:
            self.busy_since = time.monotonic()
            self._read(tier)
        finally:
            self.busy_since = None
        self._publish()
        if self.failure is not None:
            log.info("GPU answers again", extra={"fields": self._fields()})
            self.failure = None

    def _read(self, tier: Tier) -> None:
        device, known = self._device, self.known
        if device is None or known is None:
            raise RuntimeError("a GPU is read after it was looked up")
        pace = self._pace()
        taken = time.monotonic()
        values = device.read(tier)
        if tier is Tier.FAST:
            known.history.samples += 1
            values |= known.history.add(taken, values, device.keys(tier), pace.fast)
        self._tiers[tier] = TierSample(taken, time.time(), pace.lifetime(tier), values)

    def _probe_again(self) -> None:
        """Ask once more for what could not be told apart from unsupported before."""
        if self._device is not None and self._device.incomplete:
            self._device.probe()
            self._read(Tier.STATIC)

    def _publish(self, *, lost: bool = False) -> None:
        known = self.known
        if known is None:
            return
        snapshot = DeviceSnapshot(
            id=known.id,
            identity=known.identity,
            lost=lost,
            answered=time.monotonic(),
            interval=self._pace().fast,
            samples=known.history.samples,
            overruns=known.history.overruns,
            tiers={} if lost else dict(self._tiers),
        )
        self._store.put_device(snapshot, valid=lambda: not self._stop.is_set())

    def _fail(self, error: NvmlError) -> None:
        lost = isinstance(error, GpuLostError)
        self._publish(lost=lost)
        if self._stop.is_set() or (self.failure and self.failure.code == error.code):
            return
        self.failure = error
        fields = self._fields() | {"query": self.asked, "error": error.name}
        if isinstance(error, UnexpectedError):
            fields["reason"] = str(error)
        log.warning("GPU is lost" if lost else "GPU fails", extra={"fields": fields})

    def _fields(self) -> dict[str, object]:
        return {"gpu": self.index, "uuid": self.known.id.uuid if self.known else ""}
