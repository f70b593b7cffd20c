"""What is computed over time: integrals that bridge no gap, and extremes of a sliding window.

Pure: no clock is read here; times are seconds of one clock that never runs backwards within a
signal. A sample stands for the time since the sample before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate


class Integral:
    """The time integral of one signal, and the seconds over which it is known.

    A sample adds `value * (t - previous t)`. Nothing is added by the first sample, by one that
    comes later than `max_gap` seconds after its predecessor, or by one that is not newer than
    its predecessor (repeated, or out of order).
    """

    __slots__ = ("_last", "observed", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.observed = 0.0
        self._last: float | None = None

    def add(self, t: float, value: float, max_gap: float) -> float:
        """Take the sample of time `t` (seconds) in; returns the seconds that it added."""
        last = self._last
        if last is None:
            self._last = t
            return 0.0
        elapsed = t - last
        if elapsed <= 0.0:
            return 0.0
        self._last = t
        if elapsed > max_gap:
            return 0.0
        self.total += value * elapsed
        self.observed += elapsed
        return elapsed

    def restart(self) -> None:
        """Begin anew after a gap, or with samples of another clock; the total stays."""
        self._last = None


class FlagSeconds:
    """For how long each of several flags was set; they are read together.

    Gaps are treated as in `Integral`.
    """

    __slots__ = ("_clock", "seconds")

    def __init__(self, names: Sequence[str]) -> None:
        self._clock = Integral()
        self.seconds = dict.fromkeys(names, 0.0)

    @property
    def observed(self) -> float:
        """Seconds over which the flags are known."""
        return self._clock.observed

    def add(self, t: float, active: Sequence[str], max_gap: float) -> None:
        """Take in which flags are set at time `t` (seconds)."""
        if elapsed := self._clock.add(t, 0.0, max_gap):
            for name in active:
                self.seconds[name] += elapsed


class Levels:
    """For how long a signal was at most as high as each of some bounds."""

    __slots__ = ("_seconds", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; above the last of them there is one more, infinite."""
        self.bounds = tuple(bounds)
        self._seconds = [0.0] * (len(self.bounds) + 1)

    def add(self, seconds: float, value: float) -> None:
        """The signal was `value` for `seconds`."""
        self._seconds[bisect_left(self.bounds, value)] += seconds

    def cumulative(self) -> tuple[float, ...]:
        """Seconds at or below each bound, and in all."""
        return tuple(accumulate(self._seconds))


class SlidingExtremes:
    """Minimum and maximum of the samples of the last `width` seconds.

    A sample at `t` lies in the window that ends at `now` when `now - width < t <= now`.
    Each sample enters and leaves each of two monotonic queues at most once: O(1) amortised.
    """

    __slots__ = ("_high", "_low", "_newest", "width")

    def __init__(self, width: float) -> None:
        self.width = width
        self._newest = float("-inf")
        self._low: deque[tuple[float, float]] = deque()
        self._high: deque[tuple[float, float]] = deque()

    def add(self, t: float, value: float) -> None:
        """Take the sample of time `t` in; one that is older than the newest is left out."""
        if t < self._newest:
            return
        self._newest = t
        low, high = self._low, self._high
        while low and low[-1][1] >= value:
            low.pop()
        low.append((t, value))
        while high and high[-1][1] <= value:
            high.pop()
        high.append((t, value))

    def at(self, now: float) -> tuple[float, float] | None:
        """Minimum and maximum of the window that ends at `now`, None where it is empty."""
        edge = now - self.width
        low, high = self._low, self._high
        while low and low[0][0] <= edge:
            low.popleft()
        while high and high[0][0] <= edge:
            high.popleft()
        if not low:
            return None
        return low[0][1], high[0][1]


class Accumulated:
    """A counter of the hardware that starts again at 0 at times, made to grow only.

    A reading below its predecessor means that the hardware began anew: all of it is new. What
    is more than `max_rate` allows in the time since the last good reading is not believed; the
    reading after it decides. One that falls and rises again, as a glitch does, adds nothing.

    Attributes:
        total: what was counted, None before the first reading.
        began: the time at which the hardware was last seen to have begun anew.
    """

    __slots__ = ("_apart", "_last", "_last_t", "_suspect", "began", "total")

    def __init__(self) -> None:
        self.total: float | None = None
        self.began: float | None = None
        self._apart = False
        self._last = self._last_t = 0.0
        self._suspect: tuple[float, float] | None = None

    def add(self, t: float, reading: float, max_rate: float) -> bool:
        """Take a reading of time `t` (seconds) in; False where it was not believed.

        Args:
            t: seconds.
            reading: what the hardware counts.
            max_rate: most that it can count in a second.
        """
        if self.total is None:
            self.total = reading
        elif self._believe(t, reading, max_rate):
            self.total += reading - self._last
        elif self._suspect is not None and self._believe_anew(t, reading, max_rate):
            # It goes on from where the last reading was: the hardware did begin anew there.
            began, since = self._suspect
            self.total += reading - began
            if 0.0 <= began <= max_rate * (since - self._last_t):
                self.total += began
                self.began = since
        elif self._apart and 0.0 <= reading <= max_rate * (t - self._last_t):
            self.total += reading
            self.began = t
        else:
            self._suspect = reading, t
            return False
        self._last, self._last_t = reading, t
        self._suspect = None
        self._apart = False
        return True

    def unplug(self) -> None:
        """The hardware was let go of: it may have begun anew until the next reading."""
        self._apart = True

    def _believe(self, t: float, reading: float, max_rate: float) -> bool:
        return 0.0 <= reading - self._last <= max_rate * max(t - self._last_t, 1.0)

    def _believe_anew(self, t: float, reading: float, max_rate: float) -> bool:
        if self._suspect is None:
            return False
        began, since = self._suspect
        return 0.0 <= reading - began <= max_rate * max(t - since, 1.0)


class Unwrapped:
    """A counter of the hardware that wraps, made to grow only.

    What more than `max_rate` would explain, or what may have wrapped more than once between two
    readings, is a gap: the counter goes on from there.
    """

    __slots__ = ("_last", "_last_t", "max_rate", "modulus", "total")

    def __init__(self, modulus: float, max_rate: float) -> None:
        """`modulus` is where the counter wraps, `max_rate` the most that it counts in a second."""
        self.modulus = modulus
        self.max_rate = max_rate
        self.total = 0.0
        self._last = 0.0
        self._last_t: float | None = None

    @property
    def period(self) -> float:
        """Seconds in which it wraps at the soonest."""
        return self.modulus / self.max_rate

    def add(self, t: float, reading: float) -> bool:
        """Take a reading of time `t` (seconds) in; False where it is after a gap."""
        last_t, last = self._last_t, self._last
        self._last_t, self._last = t, reading
        if last_t is None:
            return True
        elapsed = t - last_t
        grown = (reading - last) % self.modulus
        if elapsed <= 0.0:
            return grown == 0.0
        if 4 * elapsed >= self.period or grown > self.max_rate * elapsed:
            return False
        self.total += grown
        return True
