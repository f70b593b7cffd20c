"""One GPU: what is due is read, windows take it in, and the result is published."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gpu_sentinel.model import DeviceId, DeviceSnapshot, Tier, TierSample, Value
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
from gpu_sentinel.sampling.schedule import Schedule
from gpu_sentinel.sampling.signals import ENERGY, UTILIZATION, History
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
        gone: set when NVML has to be initialised anew; `step` does nothing from then on.
    """

    def __init__(self, index: int, around: Surroundings) -> None:
        self.index = index
        self.known: Known | None = None
        self.failure: NvmlError | None = None
        self.gone: DriverGoneError | None = None
        self._around = around
        self._clock = around.clock
        self._device: Device | None = None
        self._schedule: Schedule | None = None
        self._tiers: dict[Tier, TierSample] = {}
        self._values: dict[Tier, dict[str, Value]] = {}
        self._retry = 0.0
        self._fresh: set[Tier] = set()  # answered since the last publishing
        self._publish_at = 0.0
        self._failed = 0
        self._working_at = 0.0
        self._stopped = False

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""
        return self._device.asked if self._device else "handle"

    def stop(self) -> None:
        """From now on nothing is read and nothing published."""
        self._stopped = True

    def step(self) -> float:
        """Do what is due.

        Returns:
            Monotonic seconds at which something is due again.
        """
        if self._stopped or self.gone is not None:
            return math.inf
        try:
            if self._schedule is None:
                if self._clock() < self._retry:
                    return self._retry
                self._schedule = self._connect()
            return self._tick(self._schedule)
        except DriverGoneError as error:
            self.gone = self.failure = error
            self._around.on_gone()
            return math.inf
        except NvmlError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._fail(UnexpectedError(error))
        self._schedule = None
        self._retry = self._clock() + RETRY_SECONDS
        return self._retry

    def _connect(self) -> Schedule:
        """Look the GPU up and find out what it supports."""
        device = self._device = self._around.driver.device(self.index)
        known = self.known = self._around.registry.meet(device.id)
        device.probe()
        known.identity = device.identity()
        self._tiers, self._values = {}, {tier: {} for tier in Tier}
        self._fresh.clear()
        self._failed, self._publish_at = 0, 0.0
        self._working_at = self._clock()
        known.history.unplug()
        return Schedule(device, known.history, self._working_at)

    def _tick(self, schedule: Schedule) -> float:
        now = self._clock()
        if now < schedule.deadline:
            return schedule.deadline
        if self._device is None or self.known is None:
            raise RuntimeError("a GPU is read after it was looked up")
        pace = self._around.pace()
        idle = pace.idle is not None and now - self._working_at > IDLE_SECONDS
        if schedule.adapt(pace, self._around.governor, idle=idle):
            self.known.history.distribute(pace.distributions)
        self._around.registry.lateness.add(now - schedule.deadline)
        self._pass(self._device, self.known, schedule, now)
        missed = schedule.advance(self._clock())
        self.known.history.overruns += missed
        return schedule.deadline

    def _pass(self, device: Device, known: Known, schedule: Schedule, now: float) -> None:
        """Read what is due, and publish it where that is due too.

        Raises:
            NvmlError: nothing was answered, `FAILED_PASSES` times in a row, or the GPU or the
                driver is gone.
        """
        failure = self._read(device, known.history, schedule, now)
        if not self._fresh:
            self._failed += 1
            if failure is not None and self._failed >= FAILED_PASSES:
                raise failure
            return
        self._failed = 0
        if Tier.FAST in self._fresh:
            known.history.samples += 1
        if now < self._publish_at:
            return
        self._publish_at = now + PUBLISH_SECONDS - schedule.period / 2
        self._finish(device, known.history, now)
        pace, wall = self._around.pace(), self._around.wall()
        for tier in self._fresh:
            lifetime = pace.lifetime(tier, schedule.period)
            self._tiers[tier] = TierSample(now, wall, lifetime, self._values[tier].copy())
        slow = Tier.SLOW in self._fresh
        self._fresh.clear()
        self._publish(schedule.period)
        if self.failure is not None:
            log.info("GPU answers again", extra={"fields": self._fields()})
            self.failure = None
        if device.incomplete and slow:
            # What could not be told apart from unsupported is asked for once more.
            device.probe()
            self._schedule = Schedule(device, known.history, self._clock() + schedule.period)

    def _read(
        self, device: Device, history: History, schedule: Schedule, now: float
    ) -> NvmlError | None:
        """Make the calls that are due, note the tiers that answered, and return a failure."""
        read = self._fresh
        failure: NvmlError | None = None
        fast, buffers = self._values[Tier.FAST], self._values[Tier.BUFFERS]
        for slot in schedule.due():
            if slot.ring is not None:
                batch = device.drain(slot.ring, self._clock)
                history.drain(now, slot.ring.key, batch, buffers, fast)
                read.add(Tier.BUFFERS)
                continue
            if slot.bound is None:
                continue
            values = self._values[slot.tier]
            failed = device.ask(slot.bound, values)
            if failed is None:
                read.add(slot.tier)
            else:
                failure = failed
            if slot.flags:
                history.poll_flags(now, slot.bound.told, slot.bound.keys, values, slot.max_gap)
            elif slot.signals:
                history.poll(now, slot.signals, values, slot.max_gap)
            if slot.energy and not history.count_energy(now, values):
                device.reject(ENERGY)
        return failure

    def _finish(self, device: Device, history: History, now: float) -> None:
        """What is made of a whole pass of the fast tier."""
        values = self._values[Tier.FAST]
        history.show_extremes(now, values)
        if not device.counts_energy:
            history.integrate_energy(values)
        if values.get(UTILIZATION) != 0.0:
            self._working_at = now

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
