"""What is computed over time: integrals that bridge no gap, and extremes of a sliding window.

Pure: no clock is read here; times are seconds of one clock that never runs backwards within a
signal. A sample stands for the time since the sample before it.
"""

from __future__ import annotations

from collections import deque


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

    def add(self, t: float, value: float, max_gap: float) -> None:
        """Take the sample of time `t` (seconds) into account."""
        last = self._last
        if last is not None:
            elapsed = t - last
            if elapsed <= 0.0:
                return
            if elapsed <= max_gap:
                self.total += value * elapsed
                self.observed += elapsed
        self._last = t


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
        for queue in (self._low, self._high):
            while queue and queue[0][0] <= edge:
                queue.popleft()
        if not self._low:
            return None
        return self._low[0][1], self._high[0][1]
