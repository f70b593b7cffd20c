"""Measures what sampling costs, and tells the governor once a period."""

from __future__ import annotations

import time
from collections.abc import Callable

from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.governor import PERIOD_SECONDS, Governor, Usage
from gpu_sentinel.sampling.pace import Pace

#: Not about reading a GPU again and again.
_ONCE = frozenset({"init", "count", "shutdown", "handle"})


class Meter:
    """Differences of the counts between two periods.

    Attributes:
        cpu: processor seconds that sampling has used since the exporter started.
    """

    def __init__(
        self,
        stats: CallStats,
        governor: Governor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cpu = 0.0
        self._stats = stats
        self._governor = governor
        self._clock = clock
        self._since: float | None = None
        self._cpu = 0.0
        self._lanes_cpu = 0.0
        self._calls: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def look(self, gpus: int, pace: Callable[[], Pace], lanes_cpu: float) -> None:
        """Called by the keeper; `lanes_cpu` begins at 0 with every driver."""
        if lanes_cpu < self._lanes_cpu:
            self._lanes_cpu = 0.0
            self._since = None
        self.cpu += lanes_cpu - self._lanes_cpu
        self._lanes_cpu = lanes_cpu
        now = self._clock()
        if self._since is None:
            # What it costs to find the GPUs is paid once, and no reason to read them less.
            self._start(now)
        elif now - self._since >= PERIOD_SECONDS:
            usage = self._usage(now - self._since, gpus)
            self._governor.period(usage, pace().budget)
            self._start(now)

    def _start(self, now: float) -> None:
        self._since, self._cpu = now, self.cpu
        costs = self._stats.total().costs
        self._calls = {q: c.calls for q, c in costs.items()}
        self._seconds = {q: c.seconds - c.stuck for q, c in costs.items()}

    def _usage(self, elapsed: float, gpus: int) -> Usage:
        costs = {q: c for q, c in self._stats.total().costs.items() if q not in _ONCE}
        return Usage(
            (self.cpu - self._cpu) / elapsed,
            gpus,
            {q: (c.calls - self._calls.get(q, 0)) / elapsed for q, c in costs.items()},
            # To ask less often would not make a driver that hung answer.
            {
                q: (c.seconds - c.stuck - self._seconds.get(q, 0.0)) / elapsed
                for q, c in costs.items()
            },
        )
