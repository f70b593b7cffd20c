"""What is remembered of one GPU across passes, losses and driver reloads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpu_sentinel.catalogue import (
    ALL_ACTIVITIES,
    CLOCK_EVENT_REASONS,
    LEVELS,
    WINDOW_SECONDS,
    Op,
    keys_of,
    value_key,
)
from gpu_sentinel.model import Value
from gpu_sentinel.nvml import Batch
from gpu_sentinel.sampling.counters import Counters
from gpu_sentinel.sampling.profiling import Activities
from gpu_sentinel.windows import Accumulated, FlagSeconds, Integral, Levels, SlidingExtremes

POWER, ENERGY, UTILIZATION = "power.draw.instant", "energy.total", "utilization.gpu"
RESET = "reset.time"
#: No board draws more; a counter of energy that grows faster is not believed. Watts.
MOST_WATTS = 10_000.0
REASONS = tuple(f"clocks_event_reasons.{reason}" for reason in CLOCK_EVENT_REASONS)
#: Readings of a buffer in a row that bring nothing before the polls take over.
SILENT_READINGS = 3
#: Readings of a buffer in a row that miss nothing before it counts as read in time again.
COMPLETE_READINGS = 30

_MINIMA, _MAXIMA = frozenset(keys_of(Op.MIN)), frozenset(keys_of(Op.MAX))
_INTEGRALS, _OBSERVED = frozenset(keys_of(Op.INTEGRAL)), frozenset(keys_of(Op.OBSERVED))

#: What is integrated, but not sample by sample.
_ELSEWHERE = frozenset({*REASONS, *(activity.key for activity in ALL_ACTIVITIES)})

#: What has to be read as often as can be, for a peak between two readings would be missed.
#: Where the driver keeps samples of a signal, these hold the peaks.
HOT = frozenset({POWER, UTILIZATION, "memory.used", *REASONS})
#: What has a window, but no peaks that half a second could hide.
WARM = _MINIMA | _MAXIMA


class Signal:
    """The windows of one signal.

    The integral has one source at a time: the driver's sample buffer while that brings samples,
    else the polls; a change is a gap. Extremes take both, because nothing can count twice there:
    so the gauge, which polls feed, is never outside of them.
    """

    __slots__ = (
        "_keys",
        "_levels_key",
        "extremes",
        "held",
        "integral",
        "key",
        "levels",
        "lost",
        "missing",
        "ring",
        "silent",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.held = 0.0
        self.ring = False
        #: Samples that the driver overwrote unread; None while it is not known to keep any.
        self.lost: int | None = None
        #: While there are some: for how many readings more that counts as going on.
        self.missing = 0
        self.silent = 0
        self.integral = Integral()
        self.extremes = SlidingExtremes(WINDOW_SECONDS) if key in _MINIMA | _MAXIMA else None
        self.levels: Levels | None = None
        self._levels_key = value_key(Op.LEVELS, key)
        self._keys = tuple(
            value_key(op, key) if key in keys else None
            for op, keys in (
                (Op.MIN, _MINIMA),
                (Op.MAX, _MAXIMA),
                (Op.INTEGRAL, _INTEGRALS),
                (Op.OBSERVED, _OBSERVED),
            )
        )

    def distribute(self, on: bool) -> None:
        """Begin to keep the distribution, or forget it."""
        if not on:
            self.levels = None
        elif self.levels is None and self.key in LEVELS:
            self.levels = Levels(LEVELS[self.key])

    def poll(self, t: float, value: float, max_gap: float) -> None:
        """Take a reading of time `t` (monotonic seconds) in."""
        self.held = value
        if self.extremes is not None:
            self.extremes.add(t, value)
        if not self.ring:
            elapsed = self.integral.add(t, value, max_gap)
            if elapsed and self.levels is not None:
                self.levels.add(elapsed, value)

    def repeat(self, t: float, values: dict[str, Value]) -> None:
        """Take in that the readings up to time `t` were as the last one, without a gap."""
        self.poll(t, self.held, math.inf)
        if not self.ring:
            self.show_integral(values)

    def drained(self, t: float, batch: Batch) -> None:
        """Take what the driver's buffer brought at time `t` (monotonic seconds)."""
        samples = batch.samples
        if batch.lost:
            # Nobody knows what was in between; that must be a gap however short it was.
            self.integral.restart()
        if not samples:
            self.silent += 1
            if self.silent >= SILENT_READINGS:
                self.unplug()
            return
        self.silent = 0
        if not self.ring:
            # Polls have counted the time of these samples already: only the newest one is
            # taken, as the start of what follows.
            self.ring = True
            self.integral.restart()
            samples = samples[-1:]
        # Buffers are filled on time, so half an interval is more than enough of tolerance.
        max_gap = 2.5 * batch.interval
        for at, value in samples:
            elapsed = self.integral.add(at, value, max_gap)
            if elapsed and self.levels is not None:
                self.levels.add(elapsed, value)
        if self.extremes is not None:
            values = [value for _, value in samples]
            self.extremes.add(t, min(values))
            self.extremes.add(t, max(values))

    def miss(self, lost: int) -> bool:
        """Count samples that the driver overwrote unread; True where that begins or ends."""
        self.lost = (self.lost or 0) + lost
        before = self.missing
        self.missing = COMPLETE_READINGS if lost else max(before - 1, 0)
        return bool(before) != bool(self.missing)

    def unplug(self) -> None:
        """The buffer is not there any more: polls take over, after a gap."""
        if self.ring:
            self.ring = False
            self.integral.restart()

    def show_extremes(self, t: float, values: dict[str, Value]) -> None:
        """Put the extremes of the window that ends at `t` where they are shown."""
        if self.extremes is None:
            return
        low, high = self._keys[0], self._keys[1]
        found = self.extremes.at(t)
        if found is None:
            for key in (low, high):
                if key is not None:
                    values.pop(key, None)
            return
        if low is not None:
            values[low] = found[0]
        if high is not None:
            values[high] = found[1]

    def show_integral(self, values: dict[str, Value]) -> None:
        """Put integral, observed seconds and distribution where they are shown."""
        integral = self.integral
        _, _, total, observed = self._keys
        if total is not None:
            values[total] = integral.total
        if observed is not None:
            values[observed] = integral.observed
        if self.levels is not None:
            values[self._levels_key] = self.levels.cumulative()
        elif self._levels_key in values:
            del values[self._levels_key]

    def hide_integral(self, values: dict[str, Value]) -> None:
        """Take them away: there is no reading now, or another tier shows them."""
        for key in (*self._keys[2:], self._levels_key):
            if key is not None:
                values.pop(key, None)


class History:
    """Integrals, extremes and counters of one GPU, and the counts of its passes.

    Written by the thread that samples the GPU, alone.
    """

    def __init__(self) -> None:
        #: The signals whose integrals come from the driver's sample buffers.
        self.sources: frozenset[str] = frozenset()
        self.samples = 0
        self.overruns = 0
        self.energy = Accumulated()
        self.counters = Counters()
        self.flags = FlagSeconds(REASONS)
        self.activities = Activities()
        keys = dict.fromkeys((*_INTEGRALS, *_MINIMA, *_MAXIMA, *_OBSERVED, POWER))
        self.signals = {key: Signal(key) for key in keys if key not in _ELSEWHERE}
        self._extremes = [s for s in self.signals.values() if s.extremes is not None]
        self._told: object = None
        self._active: tuple[str, ...] = ()
        #: When the GPU was reset last: as the pass that saw it took the time, and as Unix time.
        self._reset: tuple[float, float] | None = None

    def distribute(self, on: bool) -> None:
        """Whether distributions are kept."""
        for signal in self.signals.values():
            signal.distribute(on)

    def lost(self) -> dict[str, int]:
        """The samples that the driver overwrote unread, by signal of which it keeps samples."""
        return {key: s.lost for key, s in self.signals.items() if s.lost is not None}

    def unplug(self) -> None:
        """The driver was let go of: its sample buffers begin anew, and its counters may."""
        self.energy.unplug()
        self.counters.unplug()
        for signal in self.signals.values():
            signal.unplug()
        self.sources = frozenset()

    @staticmethod
    def poll(t: float, signals: Sequence[Signal], values: dict[str, Value], max_gap: float) -> None:
        """Take in what a call answered at time `t`, and show what is made of it in `values`."""
        for signal in signals:
            value = values.get(signal.key)
            if isinstance(value, float):
                signal.poll(t, value, max_gap)
                if not signal.ring:
                    signal.show_integral(values)
            elif not signal.ring:
                signal.hide_integral(values)

    def drain(
        self,
        t: float,
        key: str,
        batch: Batch | None,
        values: dict[str, Value],
        polled: dict[str, Value],
    ) -> None:
        """Take in what a sample buffer brought at time `t`; None where it could not be read.

        The integrals are shown in `values` as long as the buffer is their source, in `polled`
        else.
        """
        signal = self.signals[key]
        was = signal.ring
        signal.drained(t, Batch() if batch is None else batch)
        if signal.ring:
            signal.show_integral(values)
        if signal.ring != was:
            self.sources ^= {key}
            signal.hide_integral(polled if signal.ring else values)

    def show_extremes(self, t: float, values: dict[str, Value]) -> None:
        """Show the extremes of the windows that end at `t`."""
        for signal in self._extremes:
            signal.show_extremes(t, values)

    def poll_flags(
        self, t: float, told: object, keys: Sequence[str], values: dict[str, Value], max_gap: float
    ) -> None:
        """Take in which clock event reasons hold; `told` is another object when they change."""
        if told is None or told is not self._told:
            self._told = told
            self._active = tuple(key for key in keys if values.get(key) == 1.0)
            known = keys[0] in values
            for key in keys:
                if known:
                    values[_SHOWN_SECONDS[key]] = self.flags.seconds[key]
                else:
                    values.pop(_SHOWN_SECONDS[key], None)
        if keys[0] in values:
            self._count_flags(t, values, max_gap)

    def repeat_flags(self, t: float, values: dict[str, Value]) -> None:
        """Take in that the reasons were the same up to time `t`, without a gap."""
        self._count_flags(t, values, math.inf)

    def _count_flags(self, t: float, values: dict[str, Value], max_gap: float) -> None:
        self.flags.add(t, self._active, max_gap)
        for key in self._active:
            values[_SHOWN_SECONDS[key]] = self.flags.seconds[key]
        values[_FLAGS_OBSERVED] = self.flags.observed

    def count_energy(self, t: float, values: dict[str, Value]) -> bool:
        """Replace the hardware's counter by one that never falls; False if not believed."""
        reading = values.get(ENERGY)
        if not isinstance(reading, float):
            return True
        believed = self.energy.add(t, reading, MOST_WATTS)
        if self.energy.total is not None:
            values[ENERGY] = self.energy.total
        values["energy.source.hardware"] = 1.0
        return believed

    def show_reset(self, t: float, wall: float, values: dict[str, Value]) -> None:
        """Show when the GPU was seen to have been reset last; `wall` is the Unix time of `t`."""
        began = self.energy.began
        if began is None:
            return
        if self._reset is None or self._reset[0] != began:
            self._reset = began, wall - (t - began)
        values[RESET] = self._reset[1]

    def integrate_energy(self, values: dict[str, Value]) -> None:
        """Energy of a GPU that does not count it: the integral of its power."""
        if POWER in values:
            values[ENERGY] = self.signals[POWER].integral.total
            values["energy.source.integrated"] = 1.0
        else:
            values.pop(ENERGY, None)


_SHOWN_SECONDS = {key: value_key(Op.INTEGRAL, key) for key in REASONS}
_FLAGS_OBSERVED = value_key(Op.OBSERVED, REASONS[0])
