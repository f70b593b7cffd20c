"""Measures what sampling costs, and tells the governor once a period."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.governor import PERIOD_SECONDS, Governor, Usage
from gpu_sentinel.sampling.pace import Pace

#: What it costs to find the GPUs is paid once, in this time, and no reason to read them less.
SETTLE_SECONDS = 2.0
#: Not about reading a GPU again and again.
_ONCE = frozenset({"init", "count", "shutdown", "handle"})


@dataclass(frozen=True, slots=True)
class _Last:
    """The last period in which a query was made.

    Attributes:
        at: its end.
        used: calls and seconds in it.
        rate: the same, a second, since the period before in which it was made; as it is to be
            expected with the present interval.
    """

    at: float
    used: tuple[int, float]
    rate: tuple[float, float]


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
        self._settled: float | None = None
        self._since: float | None = None
        self._cpu = 0.0
        self._lanes_cpu = 0.0
        #: Calls and seconds of each query until the last period.
        self._before: dict[str, tuple[int, float]] = {}
        self._last: dict[str, _Last] = {}

    def look(self, gpus: int, pace: Callable[[], Pace], lanes_cpu: float) -> None:
        """Called by the keeper; `lanes_cpu` begins at 0 with every driver."""
        if lanes_cpu < self._lanes_cpu:
            self._lanes_cpu = 0.0
            self._settled = self._since = None
            self._last.clear()
        self.cpu += lanes_cpu - self._lanes_cpu
        self._lanes_cpu = lanes_cpu
        now = self._clock()
        if self._settled is None:
            self._settled = now + SETTLE_SECONDS
        elif now < self._settled:
            return
        elif self._since is None:
            self._start(now)
        elif now - self._since >= PERIOD_SECONDS:
            usage = self._usage(now, self._since, gpus)
            wanted = pace()
            before = self._governor.factors
            self._governor.period(usage, wanted.budget, wanted.kept)
            self._expect(before, self._governor.factors)
            self._start(now)

    def _expect(self, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Queries that do not come in the next period are known to come less often, or more."""
        for query in before.keys() | after.keys():
            if (last := self._last.get(query)) is not None:
                by = before.get(query, 1) / after.get(query, 1)
                rate = last.rate[0] * by, last.rate[1] * by
                self._last[query] = replace(last, rate=rate)

    def _start(self, now: float) -> None:
        self._since, self._cpu = now, self.cpu
        costs = self._stats.total().costs
        self._before = {q: (c.calls, c.seconds - c.stuck) for q, c in costs.items()}

    def _usage(self, now: float, since: float, gpus: int) -> Usage:
        """What was used since the last period, with rare calls spread over the time between."""
        used: dict[str, tuple[float, float]] = {}
        spread: dict[str, tuple[float, float]] = {}
        for query, cost in self._stats.total().costs.items():
            if query in _ONCE:
                continue
            calls, seconds = self._before.get(query, (0, 0.0))
            # To ask less often would not make a driver that hung answer.
            grown = cost.calls - calls, cost.seconds - cost.stuck - seconds
            used[query] = grown[0] / (now - since), grown[1] / (now - since)
            last = self._last.get(query)
            if grown[0]:
                began = since if last is None else last.at
                rate = grown[0] / (now - began), grown[1] / (now - began)
                self._last[query] = _Last(now, grown, rate)
                spread[query] = rate
            elif last is not None:
                # It comes again after at least as long as it has not come for.
                elapsed = now - last.at
                calls, seconds = last.used
                rate = last.rate
                spread[query] = min(rate[0], calls / elapsed), min(rate[1], seconds / elapsed)
        cpu = (self.cpu - self._cpu) / (now - since)
        # What is not spent in the driver is ours, and every call causes as much of it as any other.
        ours = max(cpu - _seconds(used), 0.0) / max(_calls(used), 1e-9)
        whole = _seconds(used) + ours * _calls(used)
        if whole > 0.0:
            cpu *= (_seconds(spread) + ours * _calls(spread)) / whole
        return Usage(
            cpu,
            gpus,
            {query: calls for query, (calls, _) in spread.items()},
            {query: seconds for query, (_, seconds) in spread.items()},
        )


def _calls(costs: Mapping[str, tuple[float, float]]) -> float:
    return sum(calls for calls, _ in costs.values())


def _seconds(costs: Mapping[str, tuple[float, float]]) -> float:
    return sum(seconds for _, seconds in costs.values())
