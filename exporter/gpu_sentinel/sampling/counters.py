"""The driver's counters, without the reading that cannot be.

A counter that falls for one reading makes `increase()` as large as all that it ever counted, and
so does one that jumps and comes back. Pure: no clock is read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpu_sentinel.catalogue import METRICS, Kind, Metric, Op
from gpu_sentinel.model import Value

#: So many readings in a row that nothing explains are what there is.
MOST_HELD = 3
#: The counter of energy is made to grow only, in `windows.Accumulated`.
_ELSEWHERE = frozenset({"energy.total"})


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a counter can grow: by `slack`, and by `rate` in a second."""

    rate: float
    slack: float

    def allows(self, grown: float, elapsed: float) -> bool:
        """Whether a counter can have grown so much in so many seconds."""
        return 0.0 <= grown <= self.slack + self.rate * elapsed


#: By the unit of the metric. NVLink 6 carries 3.6 TB/s of one GPU; the driver may bring its times
#: up to date late; and errors that are more frequent than these leave no time for anything else.
_LIMITS: Mapping[str, Limit] = {
    "bytes": Limit(rate=1e13, slack=1e13),
    "seconds": Limit(rate=1.05, slack=5.0),
    "": Limit(rate=1e6, slack=1e6),
}


def _limits(metrics: Iterable[Metric], op: Op) -> dict[str, Limit]:
    return {
        key: _LIMITS[metric.unit]
        for metric in metrics
        # What has no range is no reading, but made of readings.
        if metric.kind is Kind.COUNTER and metric.op is op and metric.valid is not None
        for key in metric.series.values()
        if key not in _ELSEWHERE
    }


#: Key of each counter of a GPU, and of each one of a MIG instance -> its limit.
COUNTERS = _limits(METRICS, Op.READ)
INSTANCE_COUNTERS = _limits(METRICS, Op.INSTANCE)


class Counter:
    """One counter: a reading that it cannot have come to is held back until the next one.

    That one tells: it goes on from where the counter was, and the odd one is dropped, or from the
    odd one, and the counter did begin anew (or wrap: some are 32 bits wide).

    Attributes:
        shown: the last reading that was believed; None before the first.
        holding: how many readings in a row are held back.
    """

    __slots__ = ("_apart", "_limit", "_odd", "_odd_t", "_t", "holding", "shown")

    def __init__(self, limit: Limit) -> None:
        self.shown: float | None = None
        self.holding = 0
        self._limit = limit
        self._t = self._odd = self._odd_t = 0.0
        self._apart = False

    def add(self, t: float, reading: float) -> int:
        """Take the reading of time `t` (seconds) in; returns how many were dropped by that."""
        held = self.holding
        if self.shown is None or self._goes_on(t, reading, self.shown):
            dropped = held
        elif held and self._limit.allows(reading - self._odd, t - self._odd_t):
            dropped = held - 1
        elif held >= MOST_HELD:
            dropped = held
        else:
            self._odd, self._odd_t = reading, t
            self.holding = held + 1
            return 0
        self.shown, self._t = reading, t
        self.holding = 0
        self._apart = False
        return dropped

    def unplug(self) -> None:
        """The driver was let go of: the counter may have begun anew until the next reading."""
        self._apart = True

    def _goes_on(self, t: float, reading: float, last: float) -> bool:
        if self._apart and reading < last:
            last = 0.0
        return self._limit.allows(reading - last, t - self._t)


class Counters:
    """All counters of one GPU."""

    def __init__(self, limits: Mapping[str, Limit] = COUNTERS) -> None:
        self._limits = limits
        self._counters: dict[str, list[Counter]] = {}

    def take(
        self, t: float, keys: Iterable[str], values: dict[str, Value]
    ) -> tuple[bool, Sequence[str]]:
        """Take in what a call answered at time `t`, and show in `values` what is believed of it.

        Args:
            t: seconds.
            keys: counters among what was answered.
            values: what was answered; a key without an answer is missing.

        Returns:
            Whether something is held back, and the key of each reading that was dropped.
        """
        holding = False
        dropped: list[str] = []
        for key in keys:
            value = values.get(key)
            if value is None:
                continue
            several = isinstance(value, tuple)
            readings = value if isinstance(value, tuple) else (value,)
            counters = self._counters.setdefault(key, [])
            while len(counters) < len(readings):
                counters.append(Counter(self._limits[key]))
            shown = []
            for counter, reading in zip(counters, readings, strict=False):
                if math.isnan(reading):  # a link that tells nothing now
                    shown.append(reading)
                    continue
                dropped += [key] * counter.add(t, reading)
                holding |= counter.holding > 0
                shown.append(reading if counter.shown is None else counter.shown)
            values[key] = tuple(shown) if several else shown[0]
        return holding, dropped

    def unplug(self) -> None:
        """The driver was let go of; see `Counter.unplug`."""
        for counters in self._counters.values():
            for counter in counters:
                counter.unplug()
