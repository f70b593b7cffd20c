"""One GPU: what is due is read, windows take it in, and the result is published."""

from __future__ import annotations

import logging
import math

from gpu_sentinel.model import DeviceSnapshot, Tier, TierSample, Value
from gpu_sentinel.nvml import (
    Device,
    DriverGoneError,
    GpuLostError,
    NvmlError,
    UnexpectedError,
    worst,
)
from gpu_sentinel.sampling.backoff import BackOff
from gpu_sentinel.sampling.pace import IDLE_SECONDS, PUBLISH_SECONDS
from gpu_sentinel.sampling.readings import Readings
from gpu_sentinel.sampling.registry import Known, Surroundings
from gpu_sentinel.sampling.schedule import FAILURES, Schedule
from gpu_sentinel.sampling.signals import RESET, UTILIZATION

log = logging.getLogger(__name__)

#: Between two attempts to find a GPU again that fails: at first, and at most.
RETRY_SECONDS, RETRY_SECONDS_MAX = 2.0, 30.0
#: Passes in a row that bring nothing before the GPU is looked up anew.
FAILED_PASSES = 3
#: Until a GPU is asked once more for what it did not answer: at first, doubled each time, up to
#: this; sooner where it fails, or where something happened that may change the answer.
LOOK_SECONDS, LOOK_SECONDS_MAX, LOOK_SECONDS_FAILING = 2.0, 600.0, 30.0
#: Before, only what failed is asked for again; then also what is not supported.
LOOK_SECONDS_ALL = 60.0
#: So many queries of these in one pass.
LOOKS_IN_A_PASS = 4
_FABRIC = ("fabric.state", "fabric.status")


class DeviceSampler:
    """Samples the GPU of one index; one thread at a time calls `step`.

    Attributes:
        known: the GPU, None until it was looked up.
        failure: what the driver answers instead of readings, None while it answers readings.
        inside: a thread is inside of `step`; where a call hangs, it stays so.
    """

    def __init__(self, index: int, around: Surroundings) -> None:
        self.index = index
        self.known: Known | None = None
        self.failure: NvmlError | None = None
        self.inside = False
        self._around = around
        self._clock = around.clock
        self._device: Device | None = None
        self._work: tuple[Schedule, Readings] | None = None
        self._tiers: dict[Tier, TierSample] = {}
        self._retry = 0.0
        self._back_off = BackOff(RETRY_SECONDS, RETRY_SECONDS_MAX)
        self._look_at, self._look_wait = 0.0, LOOK_SECONDS
        self._publish_at = 0.0
        self._failed = 0
        self._working_at = 0.0
        self._fabric: tuple[Value | None, ...] = ()
        self._reset: Value | None = None
        self._stopped = False
        self._anew = self._ask_again = False

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

    def ask_again(self) -> None:
        """Something happened after which a GPU may answer more: ask soon; from any thread."""
        self._ask_again = True

    def introduce(self) -> None:
        """Show a GPU that hangs before it has told who it is; called from another thread."""
        if self.known is None:
            self._meet("", "")
            self._publish(self._around.pace().fast)

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
        if self._stopped:
            return math.inf
        try:
            if self._work is None or self._anew:
                if self._clock() < self._retry:
                    return self._retry
                self._work = self._connect()
            return self._tick(*self._work)
        except NvmlError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._fail(UnexpectedError(error))
        self._work = None
        self._retry = self._clock() + self._back_off.failed()
        return self._retry

    def _connect(self) -> tuple[Schedule, Readings]:
        """Look the GPU up and find out what it supports.

        Raises:
            NvmlError: it cannot be opened, or answers nothing at all.
        """
        self.release()
        self._anew = False
        device = self._device = self._around.driver.device(self.index)
        known = self._meet(device.uuid, device.address)
        device.probe()
        known.describe(device.identity())
        failure = device.failure or (device.refusal if known.told else None)
        if failure is not None:
            if not any(device.plan.values()):
                raise failure
            self._fail(failure)
        known.told |= any(device.plan.values())
        # It takes two samples of the counters until there is something to show again.
        self._tiers = {t: s for t, s in self._tiers.items() if t is Tier.PROFILING}
        self._failed, self._publish_at = 0, 0.0
        self._working_at = now = self._clock()
        self._look_wait = LOOK_SECONDS
        self._look_at = now + LOOK_SECONDS
        known.history.unplug()
        return Schedule(device, known.history, now), Readings(device, known.history, self._clock)

    def _meet(self, uuid: str, address: str) -> Known:
        """Find out which GPU this is; what it does not tell may be known from elsewhere."""
        if not uuid or not address:
            guess = self._around.guess(self.index)
            uuid, address = uuid or guess[0], address or guess[1]
        before, known = self.known, self._around.registry.meet(self.index, uuid, address)
        if before is not None and before is not known:
            self._around.store.forget_device(before.id.uuid, self._around.session)
            self._around.registry.forget(before.id.uuid)
        if known.identity is None and address:
            known.identity = {"pci_bus_id": address}
        self.known = known
        return known

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
        self._look_for_more(schedule, known, now)
        pace = around.pace()
        idle = pace.idle is not None and now - self._working_at > IDLE_SECONDS
        if schedule.adapt(pace, around.governor, idle=idle):
            known.history.distribute(pace.distributions)
        around.registry.lateness.add(now - schedule.deadline)
        if self._pass(schedule, readings, now):
            known.history.samples += 1
            if now >= self._publish_at:
                self._publish_at = now + PUBLISH_SECONDS - schedule.period / 2
                self._show(schedule, readings, now)
        else:
            self._publish(schedule.period)  # it fails, which is no hang, however slow the pace
        known.history.overruns += schedule.advance(self._clock())
        return schedule.deadline

    def _pass(self, schedule: Schedule, readings: Readings, now: float) -> bool:
        """Ask for what is due; False where nothing was answered.

        Raises:
            NvmlError: nothing has been for so long that the GPU fails as a whole.
        """
        others = schedule.others()
        answered = readings.glance(schedule.always, schedule.bounds, now)
        if others:
            answered |= readings.take(others, now)
        if not readings.failures and not readings.recovered:
            return True
        if not answered:
            self._failed += 1
            if self._failed >= FAILED_PASSES or any(
                isinstance(failure, GpuLostError | DriverGoneError)
                for _, failure in readings.failures
            ):
                # One query that says so is not the GPU: only where all say so, it is.
                answered = readings.take(schedule.unasked(readings.failures), now)
        for slot in readings.recovered:
            schedule.answered(slot)
        for slot, failure in readings.failures:
            schedule.failed(slot, now)
            if answered and slot.failures == FAILURES:
                self._log(logging.WARNING, "query fails", query=slot.query, error=failure.name)
        error = worst(failure for _, failure in readings.failures)
        readings.failures.clear()
        readings.recovered.clear()
        if answered:
            self._failed = 0
        elif error is not None and (
            self._failed >= FAILED_PASSES or isinstance(error, GpuLostError | DriverGoneError)
        ):
            raise error
        return answered

    def _look_for_more(self, schedule: Schedule, known: Known, now: float) -> None:
        """Ask for what the GPU did not answer before: now and then, and a little in each pass."""
        device = self._device
        if device is None:
            return
        if self._ask_again:
            self._ask_again = False
            self._look_at, self._look_wait = now + LOOK_SECONDS, LOOK_SECONDS
            schedule.again(Tier.STATIC, now)
            device.look_again()
        if now >= self._look_at:
            device.look_again(failed_only=self._look_wait < LOOK_SECONDS_ALL)
            most = LOOK_SECONDS_FAILING if self.failure else LOOK_SECONDS_MAX
            self._look_wait = min(2 * self._look_wait, most)
            self._look_at = now + self._look_wait
        if device.looking():
            if device.look_for_more(LOOKS_IN_A_PASS):
                schedule.refresh(device)
                known.told = True
            if device.looking():
                return
            known.describe(device.identity())
            if device.names_itself(known.id.uuid):
                self.look_again()

    def _show(self, schedule: Schedule, readings: Readings, now: float) -> None:
        """Publish what has been read since the last time."""
        readings.finish(schedule.slots, now)
        pace, wall = self._around.pace(), self._around.wall()
        if self.known is not None:
            self.known.history.show_reset(now, wall, readings.values[Tier.FAST])
        for tier in readings.fresh:
            lifetime = pace.lifetime(tier, schedule.slowest(tier))
            self._tiers[tier] = TierSample(now, wall, lifetime, readings.values[tier].copy())
        if readings.values[Tier.FAST].get(UTILIZATION) != 0.0:
            self._working_at = now
        readings.fresh.clear()
        self._notice(readings)
        if self.failure is not None and self._device is not None and not self._device.failure:
            self._log(logging.INFO, "GPU answers again")
            self.failure = None
        if self.failure is None:
            self._back_off.succeeded()
            if self.known is not None:
                self.known.answers()
        self._publish(schedule.slowest(Tier.FAST))

    def _notice(self, readings: Readings) -> None:
        """Ask for more after a reset, and after the fabric has changed; tell what was lost."""
        for signal, lost in readings.lost:
            if lost:
                self._log(
                    logging.WARNING,
                    "driver overwrote samples before they were read",
                    signal=signal,
                    samples=lost,
                )
            else:
                self._log(logging.INFO, "driver's samples are read in time again", signal=signal)
        readings.lost.clear()
        fabric = tuple(readings.values[Tier.SLOW].get(key) for key in _FABRIC)
        reset = readings.values[Tier.FAST].get(RESET)
        if (self._fabric and fabric != self._fabric) or reset != self._reset:
            self.ask_again()
        self._fabric, self._reset = fabric, reset

    def _publish(self, interval: float) -> None:
        known = self.known
        if known is None or self._stopped:
            return
        snapshot = DeviceSnapshot(
            id=known.id,
            identity=known.identity,
            lost=known.lost,
            failure=self.failure.name if self.failure else "",
            outages=known.outages,
            answered=self._clock(),
            interval=interval,
            samples=known.history.samples,
            overruns=known.history.overruns,
            lost_samples=known.history.lost(),
            tiers={} if known.lost else self._tiers.copy(),
        )
        self._around.store.put_device(snapshot, self._around.session)

    def _fail(self, error: NvmlError) -> None:
        """Take down that the GPU as a whole does not answer, and why."""
        if self._stopped:
            return
        known = self.known or self._meet("", "")
        before, self.failure = self.failure, error
        if before is not None or not isinstance(error, DriverGoneError):
            # Most often the driver is gone as a whole, which is known before this is asked again.
            known.stops()
        known.lost |= isinstance(error, GpuLostError)
        self._publish(self._around.pace().fast)
        if isinstance(error, DriverGoneError):
            self._around.on_gone()
        if before is None or before.code != error.code:
            fields = {"query": self.asked, "error": error.name}
            if isinstance(error, UnexpectedError):
                fields["reason"] = str(error)
            self._log(logging.WARNING, "GPU is lost" if known.lost else "GPU fails", **fields)

    def _log(self, level: int, message: str, **fields: object) -> None:
        gpu = {"gpu": self.index, "uuid": self.known.id.uuid if self.known else ""}
        log.log(level, message, extra={"fields": gpu | fields})
