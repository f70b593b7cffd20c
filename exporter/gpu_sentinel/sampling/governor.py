"""Keeps what the sampler costs within a budget, by reading less often what is dearest."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

#: Between two decisions.
PERIOD_SECONDS = 10.0
#: An interval is stretched by powers of two up to this.
MOST = 64
#: A stretched interval is shortened when the costs would stay below this share of the budget.
_RELAX = 0.7


@dataclass(frozen=True, slots=True)
class Budget:
    """What the sampler may cost, as shares of one second; None: as much as it takes.

    Attributes:
        cpu: processor time of the sampler's threads, of one core.
        driver: time inside the driver, for each GPU.
    """

    cpu: float | None = 0.01
    driver: float | None = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used in one period, a second of it.

    Attributes:
        cpu: seconds of processor time of the sampler's threads.
        gpus: how many GPUs were sampled.
        calls: calls by query, all GPUs together.
        seconds: seconds inside the driver by query, all GPUs together.
    """

    cpu: float
    gpus: int
    calls: Mapping[str, float]
    seconds: Mapping[str, float]

    def shares(self, budget: Budget) -> tuple[float, float]:
        """Processor and driver time as shares of the budget; 1 is all of it."""
        cpu = self.cpu / budget.cpu if budget.cpu else 0.0
        inside = sum(self.seconds.values()) / max(self.gpus, 1)
        return cpu, inside / budget.driver if budget.driver else 0.0


def decide(usage: Usage, budget: Budget, factors: Mapping[str, int]) -> dict[str, int]:
    """By how much each query's interval is to be stretched from now on.

    The dearest query first, until what is left is estimated to fit; where everything fits well,
    the cheapest stretched one is read more often again, one a period.

    Args:
        usage: what was used with `factors`.
        budget: what may be used.
        factors: query -> how much its interval is stretched; 1 where it is not here.
    """
    wanted = dict(factors)
    cpu, driver = usage.shares(budget)
    if max(cpu, driver) <= 1.0:
        _relax(usage, budget, wanted)
        return wanted
    # What is not spent in the driver is ours, and every call causes as much of it as any other.
    calls = max(sum(usage.calls.values()), 1e-9)
    ours = max(usage.cpu - sum(usage.seconds.values()), 0.0) / calls
    costs = {q: usage.seconds[q] + ours * n for q, n in usage.calls.items()}
    inside = dict(usage.seconds)
    while max(cpu, driver) > 1.0:
        ranking = costs if cpu >= driver else inside
        open_ = [q for q in ranking if wanted.get(q, 1) < MOST and ranking[q] > 0.0]
        if not open_:
            break
        dearest = max(open_, key=lambda q: (ranking[q], q))
        wanted[dearest] = wanted.get(dearest, 1) * 2
        cpu -= costs[dearest] / 2 / budget.cpu if budget.cpu else 0.0
        driver -= inside[dearest] / 2 / max(usage.gpus, 1) / budget.driver if budget.driver else 0.0
        costs[dearest] /= 2
        inside[dearest] /= 2
    return wanted


def _relax(usage: Usage, budget: Budget, wanted: dict[str, int]) -> None:
    stretched = [q for q, factor in wanted.items() if factor > 1 and q in usage.calls]
    if not stretched:
        return
    cheapest = min(stretched, key=lambda q: (usage.seconds[q], q))
    calls = max(sum(usage.calls.values()), 1e-9)
    more = usage.calls[cheapest] / calls
    twice = Usage(
        usage.cpu * (1 + more),
        usage.gpus,
        usage.calls,
        {**usage.seconds, cheapest: 2 * usage.seconds[cheapest]},
    )
    if max(twice.shares(budget)) <= _RELAX:
        wanted[cheapest] //= 2


class Governor:
    """Decides once a period; samplers look at `factors` whenever `version` has changed.

    Attributes:
        factors: query -> by how much its interval is stretched; only what is.
        version: grows with every change.
        changes: how often an interval was changed, by direction.
        usage: shares of the budget in the last period, by resource.
    """

    def __init__(self) -> None:
        self.factors: Mapping[str, int] = {}
        self.version = 0
        self.changes = {"stretched": 0, "shortened": 0}
        self.usage = {"cpu": 0.0, "driver": 0.0}

    def period(self, usage: Usage, budget: Budget) -> None:
        """Look at what one period has cost."""
        self.usage = {
            "cpu": usage.cpu,
            "driver": sum(usage.seconds.values()) / max(usage.gpus, 1),
        }
        if budget.cpu is None and budget.driver is None:
            wanted: dict[str, int] = {}
        else:
            wanted = decide(usage, budget, self.factors)
        wanted = {query: factor for query, factor in wanted.items() if factor > 1}
        if wanted == self.factors:
            return
        for query in sorted(wanted.keys() | self.factors.keys()):
            before, after = self.factors.get(query, 1), wanted.get(query, 1)
            if before == after:
                continue
            self.changes["stretched" if after > before else "shortened"] += 1
            log.info(
                "query is read less often" if after > before else "query is read more often",
                extra={
                    "fields": {
                        "query": query,
                        "interval_factor": after,
                        "cpu": f"{usage.cpu:.2%}",
                        "driver": f"{self.usage['driver']:.2%}",
                    }
                },
            )
        self.factors = wanted
        self.version += 1
