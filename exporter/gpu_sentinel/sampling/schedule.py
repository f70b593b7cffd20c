"""What of one GPU is read when: deadlines on a common grid, so that GPUs are read together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import Bound, Device, FieldBuffer, Profiler, Ring, SharedFields
from gpu_sentinel.sampling.counters import COUNTERS
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.pace import GAUGE_SECONDS, PUBLISH_SECONDS, Pace
from gpu_sentinel.sampling.signals import (
    ENERGY,
    HOT,
    REASONS,
    UTILIZATION,
    WARM,
    History,
    Signal,
)

#: A query that fails is asked for as ever at first, then after 1, 2, 4 seconds, up to this. So one
#: that always fails costs next to nothing, and one that works again is there soon.
FAILURES = 3
BACK_OFF_SECONDS_MAX = 60.0

#: Deadlines are sums of floating-point numbers.
_EPSILON = 1e-6


@dataclass(slots=True)
class Slot:
    """One call, one sample buffer or the profiler, and when it is due.

    Attributes:
        query: its name.
        hot: readings that have peaks; see `signals.HOT`.
        warm: it has a window, but no peaks.
        signals: what it feeds.
        flags: it answers the clock event reasons.
        energy: it answers the counter of energy.
        counters: the other counters that it answers.
        interval: seconds between two readings.
        due: monotonic seconds of the next one.
        told, seen: the answer that was taken in last, and until when it was the same.
        repeated: it was the same since it was taken in.
        failures: how often in a row it was not answered.
        longest: of a sample buffer: what `Ring.longest` said last.
    """

    query: str
    tier: Tier
    bound: Bound | None = None
    ring: Ring | None = None
    profiler: Profiler | None = None
    hot: frozenset[str] = frozenset()
    warm: bool = False
    signals: tuple[Signal, ...] = ()
    flags: bool = False
    energy: bool = False
    counters: tuple[str, ...] = ()
    interval: float = 0.0
    due: float = 0.0
    told: object = None
    seen: float = 0.0
    repeated: bool = False
    failures: int = 0
    longest: float = 0.0

    @property
    def put_off(self) -> bool:
        """Whether it has failed so often that it is asked for less and less often."""
        return self.failures >= FAILURES

    @property
    def source(self) -> object:
        """What is asked: the call, the sample buffer or the profiler."""
        return self.bound or self.ring or self.profiler

    def repeats(self, told: object, now: float) -> bool:
        """Whether an answer is the one that was taken in last, without a gap; notes it then."""
        if told is None or told is not self.told or now - self.seen > self.max_gap:
            return False
        self.seen, self.repeated = now, True
        return True

    @property
    def max_gap(self) -> float:
        """Seconds between two readings beyond which nobody knows what happened."""
        return 2.0 * self.interval


def _slots(device: Device, history: History) -> Iterator[Slot]:
    for tier, plan in device.plan.items():
        for bound in plan:
            fast = tier is Tier.FAST
            yield Slot(
                bound.query,
                tier,
                bound,
                hot=HOT.intersection(bound.keys) if fast else frozenset(),
                warm=fast and not WARM.isdisjoint(bound.keys),
                signals=tuple(history.signals[k] for k in bound.keys if k in history.signals),
                flags=bound.keys[0] in REASONS,
                energy=ENERGY in bound.keys,
                counters=tuple(key for key in bound.keys if key in COUNTERS),
            )
    for ring in device.rings:
        yield Slot(f"samples.{ring.key}", Tier.BUFFERS, ring=ring)
    if device.profiler is not None:
        yield Slot(device.profiler.query, Tier.PROFILING, profiler=device.profiler)


def _in_time(interval: float, longest: float, fast: float) -> float:
    """An interval of a sample buffer that is not beyond `longest`, on the grid of the passes."""
    if math.ceil(interval / fast - _EPSILON) * fast <= longest:
        return interval
    if fast <= longest:
        return math.floor(longest / fast + _EPSILON) * fast
    return fast / math.ceil(fast / longest - _EPSILON)


_NONE: list[Slot] = []


class Schedule:
    """The slots of one GPU.

    Attributes:
        deadline: monotonic seconds of the next pass.
        period: seconds between two passes.
        slots: all of them.
        always: those that are read in every pass, calls only; the others when they are due.
        bounds: their calls.
    """

    def __init__(self, device: Device, history: History, now: float) -> None:
        self.deadline = now
        self.period = 0.0
        self._history = history
        self.slots: tuple[Slot, ...] = tuple(_slots(device, history))
        self.always: list[Slot] = []
        self.bounds: list[Bound] = []
        self._others: list[Slot] = []
        self._next_other = now
        self._pace: Pace | None = None
        self._version = -1
        self._idle = False
        self._sources: frozenset[str] = frozenset()

    def refresh(self, device: Device) -> None:
        """Take up that the device answers more than before; what was read goes on as it was."""
        kept = {id(slot.source): slot for slot in self.slots}
        self.slots = tuple(
            kept.get(id(slot.source), slot) for slot in _slots(device, self._history)
        )
        self._version = -1

    def failed(self, slot: Slot, now: float) -> None:
        """Note that a slot was not answered at `now`; it may be put off."""
        slot.failures += 1
        if slot.put_off:
            wait = min(2.0 ** (slot.failures - FAILURES), BACK_OFF_SECONDS_MAX)
            slot.due = now + max(wait, slot.interval)
            self._version = -1

    def answered(self, slot: Slot) -> None:
        """Note that a slot that had failed was answered: it is read as ever again."""
        if slot.put_off:
            self._version = -1
        slot.failures = 0

    def again(self, tier: Tier, now: float) -> None:
        """Read a tier at the next pass, as something has happened that may change it."""
        for slot in self.slots:
            if slot.tier is tier:
                slot.due = now
        self._next_other = now

    def unasked(self, failures: Iterable[tuple[Slot, object]]) -> list[Slot]:
        """The calls that are made often and were not made in this pass, in which these failed."""
        asked = {id(slot) for slot, _ in failures}
        return [s for s in self.slots if s.tier is Tier.FAST and id(s) not in asked]

    def adapt(self, pace: Pace, governor: Governor, *, idle: bool) -> bool:
        """Take up what was set, decided or noticed since the last pass; True where that is new."""
        sources, version = self._history.sources, governor.version
        if (
            pace is self._pace
            and version == self._version
            and idle == self._idle
            and sources is self._sources
        ):
            return False
        self._pace, self._version, self._idle, self._sources = pace, version, idle, sources
        fast = max(pace.fast, pace.idle or 0.0) if idle else pace.fast
        for slot in self.slots:
            # What was set is kept; so is the interval of an idle GPU, which must have been set.
            stretched = slot.tier not in pace.kept and not (idle and slot.tier is Tier.FAST)
            factor = governor.factors.get(slot.query, 1) if stretched else 1
            before = slot.interval
            slot.interval = self._interval(slot, pace, fast) * factor
            if slot.ring is not None and not idle:
                slot.interval = _in_time(slot.interval, slot.ring.longest, fast)
            if before and not slot.put_off:
                # As long after the last reading as if it had been so then.
                slot.due += slot.interval - before
        self.period = min((s.interval for s in self.slots), default=fast)
        if idle:
            self.period = max(fast, self.period)
        self.always = [
            s for s in self.slots if s.interval <= self.period and s.bound and not s.put_off
        ]
        self.bounds = [s.bound for s in self.always if s.bound]
        self._others = [s for s in self.slots if s not in self.always]
        self._next_other = self.deadline
        return True

    def others(self) -> list[Slot]:
        """What is due at the deadline beside `always`; it is due again after its interval."""
        until = self.deadline + _EPSILON
        if self._next_other > until:
            return _NONE
        others = [s for s in self._others if s.due <= until]
        for slot in others:
            slot.due = self.deadline + slot.interval
            if slot.tier is Tier.FAST:
                # On a grid of their own, so that those that can share a call meet.
                slot.due = math.floor(slot.due / slot.interval + _EPSILON) * slot.interval
            if slot.ring is not None and slot.ring.longest != slot.longest:
                slot.longest = slot.ring.longest
                self._pace = None  # it has told how often it is filled: adapt to that
        self._next_other = min((s.due for s in self._others), default=math.inf)
        self._share(others)
        return others

    def _share(self, others: Sequence[Slot]) -> None:
        """Let queries for fields that are due together share a call."""
        due: dict[SharedFields, list[FieldBuffer]] = {}
        for slot in (*self.always, *others):
            buffer = slot.bound.fields if slot.bound else None
            if buffer is not None and buffer.shared is not None:
                due.setdefault(buffer.shared, []).append(buffer)
        for shared, buffers in due.items():
            if len(buffers) > 1:
                shared.expect(buffers)

    def advance(self, now: float) -> int:
        """Set the next deadline, on the grid and after `now`; returns how many were missed."""
        period = self.period
        following = (math.floor(self.deadline / period + 0.5) + 1) * period
        missed = 0
        if following < now:
            missed = math.ceil((now - following) / period)
            following += missed * period
        self.deadline = following
        return missed

    def slowest(self, tier: Tier) -> float:
        """Seconds between two readings of what is read least often in a tier.

        Of the fast tier: among what has peaks that the driver's own samples do not hold.
        """
        slots = [s for s in self.slots if s.tier is tier]
        if tier is Tier.FAST:
            slots = [s for s in slots if self._peaks(s)] or slots
        return max((s.interval for s in slots), default=self.period)

    def _peaks(self, slot: Slot) -> bool:
        return bool(slot.hot) and not slot.hot <= self._history.sources

    def _interval(self, slot: Slot, pace: Pace, fast: float) -> float:
        if slot.tier is Tier.FAST:
            if self._peaks(slot):
                return fast
            # The driver renews utilisation every 1/6 to 1 s (nvml.h, nvmlUtilization_t), and where
            # its samples are read, all that is wanted of the call is the gauge.
            gauge = UTILIZATION in slot.hot or not (slot.warm or slot.hot)
            return max(fast, GAUGE_SECONDS if gauge else PUBLISH_SECONDS)
        if slot.tier is Tier.BUFFERS:
            return max(pace.buffers, fast)
        if slot.tier is Tier.PROFILING:
            return max(pace.profiling, fast)
        return pace.slow if slot.tier is Tier.SLOW else pace.static
