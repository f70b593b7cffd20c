"""What is known of one GPU since it was looked up, and how a pass adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml import Batch, Bound, Device, NvmlError, Profiler, Ring
from gpu_sentinel.sampling import profiling
from gpu_sentinel.sampling.rates import Rates
from gpu_sentinel.sampling.schedule import Slot
from gpu_sentinel.sampling.signals import ENERGY, History


class Readings:
    """The values of one GPU by tier.

    An answer that is the same as the one before is only noted, and taken in when it changes or
    is to be shown: many passes a second find what they found before.

    Attributes:
        values: by tier and key.
        fresh: tiers that have answered since they were last shown.
        failures: what was not answered since this was cleared, and why.
        recovered: what was answered again, likewise.
        lost: signals of which the driver began to overwrite samples before they were read (how
            many), or of which all are read again (0), likewise.
    """

    def __init__(self, device: Device, history: History, clock: Callable[[], float]) -> None:
        self.values: dict[Tier, dict[str, Value]] = {tier: {} for tier in Tier}
        self.fresh: set[Tier] = set()
        self.failures: list[tuple[Slot, NvmlError]] = []
        self.recovered: list[Slot] = []
        self.lost: list[tuple[str, int]] = []
        self._device = device
        self._history = history
        self._clock = clock
        self._rates = Rates()

    def take(self, slots: Iterable[Slot], now: float) -> bool:
        """Make the calls; returns whether any of them was answered.

        Args:
            slots: what is due.
            now: monotonic seconds.
        """
        answered = False
        for slot in slots:
            failure = self._ask(slot, now)
            if failure is not None:
                self.failures.append((slot, failure))
                continue
            answered |= slot.bound is not None
            if slot.failures:
                self.recovered.append(slot)
        return answered

    def glance(self, slots: Sequence[Slot], bounds: Sequence[Bound], now: float) -> bool:
        """As `take`, for a pass in which most likely nothing has changed.

        Args:
            slots: what is due.
            bounds: their calls.
            now: monotonic seconds.
        """
        try:
            found = self._device.glance(bounds)
        except NvmlError:
            return self.take(slots, now)
        answered = False
        for slot, bound, answers in zip(slots, bounds, found, strict=True):
            if slot.repeats(answers, now):
                answered = True
                continue
            failure = self._device.accept(bound, answers, self.values[slot.tier])
            if failure is not None:
                self.failures.append((slot, failure))
            else:
                answered = True
                self.fresh.add(slot.tier)
                if slot.failures:
                    self.recovered.append(slot)
            self._take_in(slot, now)
        return answered

    def _ask(self, slot: Slot, now: float) -> NvmlError | None:
        if slot.ring is not None:
            return self._drain(slot.ring, now)
        if slot.profiler is not None:
            return self._profile(slot, slot.profiler)
        bound = slot.bound
        if bound is None:
            return None
        failure = self._device.ask(bound, self.values[slot.tier])
        if failure is None:
            if slot.repeats(bound.told, now):
                return None
            self.fresh.add(slot.tier)
        self._take_in(slot, now)
        return failure

    def finish(self, slots: Iterable[Slot], now: float) -> None:
        """Make up everything that is to be shown."""
        for slot in slots:
            if slot.repeated:
                self._catch_up(slot)
                self.fresh.add(slot.tier)
        if Tier.FAST in self.fresh:
            values = self.values[Tier.FAST]
            self._history.show_extremes(now, values)
            self._rates.show(now, values)
            if not self._device.counts_energy:
                self._history.integrate_energy(values)

    def _drain(self, ring: Ring, now: float) -> NvmlError | None:
        drained = self._device.drain(ring, self._clock)
        failure = drained if isinstance(drained, NvmlError) else None
        batch: Batch | None = None if isinstance(drained, NvmlError) else drained
        self._history.drain(now, ring.key, batch, self.values[Tier.BUFFERS], self.values[Tier.FAST])
        self.fresh.add(Tier.BUFFERS)
        if batch is not None:
            signal = self._history.signals[ring.key]
            if signal.miss(batch.lost):
                self.lost.append((signal.key, batch.lost))
        return failure

    def _profile(self, slot: Slot, profiler: Profiler) -> NvmlError | None:
        self._device.asked = slot.query
        values = self.values[Tier.PROFILING]
        activities = self._history.activities
        if profiling.take(profiler, self._clock, slot.max_gap, activities, values):
            self.fresh.add(Tier.PROFILING)
        return profiler.failure

    def _take_in(self, slot: Slot, now: float) -> None:
        if slot.repeated:
            self._catch_up(slot)
        bound = slot.bound
        if bound is None:
            return
        slot.told, slot.seen = bound.told, now
        values = self.values[slot.tier]
        if slot.flags:
            self._history.poll_flags(now, bound.told, bound.keys, values, slot.max_gap)
        elif slot.signals:
            self._history.poll(now, slot.signals, values, slot.max_gap)
        if slot.energy and not self._history.count_energy(now, values):
            self._device.reject(ENERGY)
        if slot.counters:
            holding, dropped = self._history.counters.take(now, slot.counters, values)
            for key in dropped:
                self._device.reject(key)
            if holding:
                # The same answer once more decides, and must not pass for a repetition.
                slot.told = bound.told = None

    def _catch_up(self, slot: Slot) -> None:
        """Take in that the answer was the same up to `seen`, with no gap in between."""
        slot.repeated = False
        bound = slot.bound
        if bound is None:
            return
        values = self.values[slot.tier]
        if slot.flags:
            self._history.repeat_flags(slot.seen, values)
        else:
            for signal in slot.signals:
                signal.repeat(slot.seen, values)
