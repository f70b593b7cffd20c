"""How fast counters grow, for those who have only gauges of it."""

from __future__ import annotations

from collections.abc import Iterable

from gpu_sentinel.catalogue.dcgm import RATED, rate_key
from gpu_sentinel.model import Value
from gpu_sentinel.sampling.pace import GAUGE_SECONDS

#: A counter that stands still for longer than this does not grow. It is read once a second, or less
#: often where the governor says so, but shown more often: from one look to the next it often stands
#: still although it grows.
STILL_SECONDS = 5.0


class Growth:
    """The growth of one counter per second, from one change of it to the next."""

    __slots__ = ("_changed", "_rate", "_value")

    def __init__(self, t: float, value: float) -> None:
        self._changed, self._value = t, value
        self._rate: float | None = None

    def add(self, t: float, value: float) -> float | None:
        """Take in what the counter shows at time `t` (seconds).

        Returns:
            The rate; None while it is not known yet.
        """
        elapsed, grown = t - self._changed, value - self._value
        if grown < 0.0:
            self._rate = None  # it began anew
        elif grown > 0.0 and elapsed > 0.0:
            self._rate = grown / elapsed
        else:
            if elapsed > STILL_SECONDS or self._rate == 0.0:
                self._rate = 0.0
                # When it grows again, it has done so since the reading before, at most.
                self._changed = t - GAUGE_SECONDS
            return self._rate
        self._changed, self._value = t, value
        return self._rate


class Rates:
    """The growth of the counters of one GPU since it was looked up."""

    def __init__(self, keys: Iterable[str] = RATED) -> None:
        self._names = tuple((key, rate_key(key)) for key in keys)
        self._growth: dict[str, Growth] = {}

    def show(self, t: float, values: dict[str, Value]) -> None:
        """Put the rates at time `t` (monotonic seconds) beside the counters."""
        for key, name in self._names:
            value = values.get(key)
            if not isinstance(value, float):
                values.pop(name, None)
                continue
            growth = self._growth.get(key)
            if growth is None:
                self._growth[key] = Growth(t, value)
                continue
            rate = growth.add(t, value)
            if rate is None:
                values.pop(name, None)
            else:
                values[name] = rate
