"""What of one GPU is read when: deadlines on a common grid, so that GPUs are read together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import Bound, Device, Ring
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.pace import GAUGE_SECONDS, PUBLISH_SECONDS, Pace
from gpu_sentinel.sampling.signals import ENERGY, HOT, REASONS, WARM, History, Signal

#: Deadlines are sums of floating-point numbers.
_EPSILON = 1e-6


@dataclass(slots=True)
class Slot:
    """One call, or one sample buffer, and when it is due.

    Attributes:
        query: its name.
        hot: readings that have peaks; see `signals.HOT`.
        warm: it has a window, but no peaks.
        signals: what it feeds.
        flags: it answers the clock event reasons.
        energy: it answers the counter of energy.
        interval: seconds between two readings.
        due: monotonic seconds of the next one.
    """

    query: str
    tier: Tier
    bound: Bound | None = None
    ring: Ring | None = None
    hot: frozenset[str] = frozenset()
    warm: bool = False
    signals: tuple[Signal, ...] = ()
    flags: bool = False
    energy: bool = False
    interval: float = 0.0
    due: float = 0.0

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
            )
    for ring in device.rings:
        yield Slot(f"samples.{ring.key}", Tier.BUFFERS, ring=ring)


class Schedule:
    """The slots of one GPU.

    Attributes:
        deadline: monotonic seconds of the next pass.
        period: seconds between two passes.
    """

    def __init__(self, device: Device, history: History, now: float) -> None:
        self.deadline = now
        self.period = 0.0
        self._history = history
        self._slots = list(_slots(device, history))
        # Read in every pass; the others when they are due.
        self._always: list[Slot] = []
        self._others: list[Slot] = []
        self._next_other = now
        self._seen: object = None

    def adapt(self, pace: Pace, governor: Governor, *, idle: bool) -> bool:
        """Take up what was set, decided or noticed since the last pass; True where that is new."""
        seen = (pace, governor.version, idle, self._history.sources)
        if seen == self._seen:
            return False
        self._seen = seen
        fast = max(pace.fast, pace.idle or 0.0) if idle else pace.fast
        for slot in self._slots:
            factor = governor.factors.get(slot.query, 1)
            slot.interval = self._interval(slot, pace, fast) * factor
            slot.due = min(slot.due, self.deadline + slot.interval)
        self.period = max(fast, min((s.interval for s in self._slots), default=fast))
        self._always = [s for s in self._slots if s.interval <= self.period]
        self._others = [s for s in self._slots if s.interval > self.period]
        self._next_other = self.deadline
        return True

    def due(self) -> list[Slot]:
        """The slots that are due at the deadline; they are due again after their interval."""
        until = self.deadline + _EPSILON
        if self._next_other > until:
            return self._always
        others = [s for s in self._others if s.due <= until]
        for slot in others:
            slot.due = self.deadline + slot.interval
        self._next_other = min((s.due for s in self._others), default=math.inf)
        return self._always + others

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

    def _interval(self, slot: Slot, pace: Pace, fast: float) -> float:
        if slot.tier is Tier.FAST:
            if slot.hot and not slot.hot <= self._history.sources:
                return fast
            return max(fast, PUBLISH_SECONDS if slot.warm or slot.hot else GAUGE_SECONDS)
        if slot.tier is Tier.BUFFERS:
            return max(pace.buffers, fast)
        return pace.slow if slot.tier is Tier.SLOW else pace.static
