"""One GPU: what is due is read, windows take it in, and the result is published."""

from __future__ import annotations

import logging
import math
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
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.pace import IDLE_SECONDS, PUBLISH_SECONDS, Lateness, Pace
from gpu_sentinel.sampling.profiling import Activities
from gpu_sentinel.sampling.readings import Readings
from gpu_sentinel.sampling.schedule import Schedule
from gpu_sentinel.sampling.signals import UTILIZATION, History
from gpu_sentinel.sampling.store import Session, SnapshotStore

log = logging.getLogger(__name__)

#: Between two attempts to find a GPU again that is lost or fails.
RETRY_SECONDS = 2.0
#: Passes in a row that bring nothing before the GPU is looked up anew.
FAILED_PASSES = 3


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
        #: By UUID of the GPU and number of the GPU instance: the MIG devices in it, and integrals.
        self.instances: dict[str, dict[int, tuple[frozenset[str], Activities]]] = {}
        self.lateness = Lateness()

    def meet(self, id_: DeviceId) -> Known:
        """What is remembered of this GPU; its index may have changed."""
        known = self.gpus.setdefault(id_.uuid, Known(id_))
        known.id = id_
        return known


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the samplers of one driver share."""

    driver: Driver
    store: SnapshotStore
    session: Session
    registry: Registry
    governor: Governor
    pace: Callable[[], Pace]
    on_gone: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class DeviceSampler:
    """Samples the GPU of one index; one thread at a time calls `step`.

    Attributes:
        known: the GPU, None until it told its UUID.
        failure: what the driver answers instead of readings, None while it answers readings.
        inside: a thread is inside of `step`; where a call hangs, it stays so.
        gone: set when NVML has to be initialised anew; `step` does nothing from then on.
    """

    def __init__(self, index: int, around: Surroundings) -> None:
        self.index = index
        self.known: Known | None = None
        self.failure: NvmlError | None = None
        self.inside = False
        self.gone: DriverGoneError | None = None
        self._around = around
        self._clock = around.clock
        self._device: Device | None = None
        self._work: tuple[Schedule, Readings] | None = None
        self._tiers: dict[Tier, TierSample] = {}
        self._retry = 0.0
        self._publish_at = 0.0
        self._failed = 0
        self._working_at = 0.0
        self._stopped = False
        self._anew = False

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""
        return self._device.asked if self._device else "handle"

    def stop(self) -> None:
        """From now on nothing is read and nothing published."""
        self._stopped = True

    def look_again(self) -> None:
        """Find out anew what the GPU supports, as after MIG was changed; from any thread."""
        self._anew = True

    def release(self) -> None:
        """Give back what the library holds for this GPU; nobody may be inside of `step`."""
        if self._device is not None:
            self._device.close()

    def step(self) -> float:
        """Do what is due.

        Returns:
            Monotonic seconds at which something is due again.
        """
        self.inside = True
        try:
            return self._step()
        finally:
            self.inside = False

    def _step(self) -> float:
        if self._stopped or self.gone is not None:
            return math.inf
        try:
            if self._work is None or self._anew:
                if self._clock() < self._retry:
                    return self._retry
                self._work = self._connect()
            return self._tick(*self._work)
        except DriverGoneError as error:
            self.gone = self.failure = error
            self._around.on_gone()
            return math.inf
        except NvmlError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._fail(UnexpectedError(error))
        self._work = None
        self._retry = self._clock() + RETRY_SECONDS
        return self._retry

    def _connect(self) -> tuple[Schedule, Readings]:
        """Look the GPU up and find out what it supports."""
        self.release()
        self._anew = False
        device = self._device = self._around.driver.device(self.index)
        known = self.known = self._around.registry.meet(device.id)
        device.probe()
        known.identity = device.identity()
        # It takes two samples of the counters until there is something to show again.
        self._tiers = {t: s for t, s in self._tiers.items() if t is Tier.PROFILING}
        self._failed, self._publish_at = 0, 0.0
        self._working_at = self._clock()
        known.history.unplug()
        return (
            Schedule(device, known.history, self._working_at),
            Readings(device, known.history, self._clock),
        )

    def _tick(self, schedule: Schedule, readings: Readings) -> float:
        """Make the pass that is due, and say when the next one is.

        Raises:
            NvmlError: nothing was answered, `FAILED_PASSES` times in a row, or the GPU or the
                driver is gone.
        """
        now = self._clock()
        if now < schedule.deadline:
            return schedule.deadline
        around, known = self._around, self.known
        if known is None:
            raise RuntimeError("a GPU is read after it was looked up")
        pace = around.pace()
        idle = pace.idle is not None and now - self._working_at > IDLE_SECONDS
        if schedule.adapt(pace, around.governor, idle=idle):
            known.history.distribute(pace.distributions)
        around.registry.lateness.add(now - schedule.deadline)
        others = schedule.others()
        answered = readings.glance(schedule.always, schedule.bounds, now)
        if others:
            answered |= readings.take(others, now)
        if answered:
            self._failed = 0
            known.history.samples += 1
            if now >= self._publish_at:
                self._publish_at = now + PUBLISH_SECONDS - schedule.period / 2
                self._show(schedule, readings, now)
        else:
            self._failed += 1
            if readings.failure is not None and self._failed >= FAILED_PASSES:
                raise readings.failure
        known.history.overruns += schedule.advance(self._clock())
        return schedule.deadline

    def _show(self, schedule: Schedule, readings: Readings, now: float) -> None:
        """Publish what has been read since the last time."""
        readings.finish(schedule.slots, now)
        pace, wall = self._around.pace(), self._around.wall()
        if self.known is not None:
            self.known.history.show_reset(now, wall, readings.values[Tier.FAST])
        for tier in readings.fresh:
            slow = schedule.slowest(tier) if tier is Tier.PROFILING else schedule.period
            lifetime = pace.lifetime(tier, slow)
            self._tiers[tier] = TierSample(now, wall, lifetime, readings.values[tier].copy())
        if readings.values[Tier.FAST].get(UTILIZATION) != 0.0:
            self._working_at = now
        slow = Tier.SLOW in readings.fresh
        readings.fresh.clear()
        self._publish(schedule.period)
        if self.failure is not None:
            log.info("GPU answers again", extra={"fields": self._fields()})
            self.failure = None
        if slow and self._device is not None and self._device.incomplete:
            # What could not be told apart from unsupported is asked for once more.
            self._work = None
            self._retry = 0.0

    def _publish(self, interval: float, *, lost: bool = False) -> None:
        known = self.known
        if known is None or self._stopped:
            return
        snapshot = DeviceSnapshot(
            id=known.id,
            identity=known.identity,
            lost=lost,
            answered=self._clock(),
            interval=interval,
            samples=known.history.samples,
            overruns=known.history.overruns,
            tiers={} if lost else self._tiers.copy(),
        )
        self._around.store.put_device(snapshot, self._around.session)

    def _fail(self, error: NvmlError) -> None:
        lost = isinstance(error, GpuLostError)
        self._publish(self._around.pace().fast, lost=lost)
        if self._stopped or (self.failure and self.failure.code == error.code):
            return
        self.failure = error
        fields = self._fields() | {"query": self.asked, "error": error.name}
        if isinstance(error, UnexpectedError):
            fields["reason"] = str(error)
        log.warning("GPU is lost" if lost else "GPU fails", extra={"fields": fields})

    def _fields(self) -> dict[str, object]:
        return {"gpu": self.index, "uuid": self.known.id.uuid if self.known else ""}
