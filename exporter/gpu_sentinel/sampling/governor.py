"""Keeps what the sampler costs within a budget, by reading less often what is worth least."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gpu_sentinel.model import Tier
from gpu_sentinel.sampling.worth import ORDER, RANKS, TIERS, Rank

log = logging.getLogger(__name__)

#: Between two decisions.
PERIOD_SECONDS = 10.0
#: A stretched interval is shortened when the costs would stay below this share of the budget.
_RELAX = 0.9
#: What is left to everything else, of the budget, when set intervals use more than the rest of it:
#: who wants power every 50 ms has not asked to miss errors of the memory.
_SPARED = 0.25
#: A query that costs less than this share of what is to be saved is left alone at first.
_LITTLE = 0.01
#: The default budget: of one core, or of all cores together, whichever is more.
_OF_ONE, _OF_ALL = 0.05, 0.001


@dataclass(frozen=True, slots=True)
class Budget:
    """What the sampler may cost, as shares of one second; None: as much as it takes.

    Attributes:
        cpu: processor time of the sampler's threads, of one core.
        driver: time inside the driver, for each GPU.
    """

    cpu: float | None = _OF_ONE
    driver: float | None = 0.05


def automatic_cpu(cores: int | None = None) -> float:
    """The share of one core that sampling may take where nothing else was set.

    Args:
        cores: how many there are; by default those that this process may run on.
    """
    return max(_OF_ONE, _OF_ALL * (cores or len(os.sched_getaffinity(0))))


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


class _Load:
    """What each query uses of the two budgets, and how much that may be in all.

    Attributes:
        parts: by resource (processor, driver): query -> share of the budget.
        limits: by resource; 1 where no set interval takes its toll.
    """

    def __init__(self, usage: Usage, budget: Budget, kept: AbstractSet[Tier]) -> None:
        cpu, driver = usage.shares(budget)
        # What is not spent in the driver is ours, and every call causes as much of it as any other.
        calls = max(sum(usage.calls.values()), 1e-9)
        ours = max(usage.cpu - sum(usage.seconds.values()), 0.0) / calls
        costs = {q: usage.seconds[q] + ours * n for q, n in usage.calls.items()}
        self.parts = (_divided(cpu, costs), _divided(driver, usage.seconds))
        self.limits = [
            max(1.0, sum(part for q, part in parts.items() if TIERS.get(q) in kept) + _SPARED)
            for parts in self.parts
        ]

    @property
    def raised(self) -> bool:
        """Whether set intervals use so much that the budget cannot be kept."""
        return max(self.limits) > 1.0

    def over(self) -> list[float]:
        """By how much the limit of each resource is passed."""
        return [sum(p.values()) - limit for p, limit in zip(self.parts, self.limits, strict=True)]

    def scale(self, query: str, by: float) -> None:
        """Make this query so much dearer."""
        for parts in self.parts:
            if query in parts:
                parts[query] *= by

    def fits_doubled(self, query: str) -> bool:
        """Whether there is room, with some to spare, to make a query twice as often."""
        return all(
            sum(parts.values()) + parts.get(query, 0.0) <= _RELAX * limit
            for parts, limit in zip(self.parts, self.limits, strict=True)
        )


def _divided(whole: float, weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {query: whole * weight / total for query, weight in weights.items()} if total else {}


def decide(
    usage: Usage,
    budget: Budget,
    factors: Mapping[str, int],
    kept: AbstractSet[Tier] = frozenset(),
) -> dict[str, int]:
    """By how much each query's interval is to be stretched from now on.

    What is worth least first, and of that the dearest, until what is left is estimated to fit;
    where everything fits well, intervals are halved again, those of what is worth most first.

    Args:
        usage: what was used with `factors`.
        budget: what may be used.
        factors: query -> how much its interval is stretched; 1 where it is not here.
        kept: tiers whose interval was set, and is not stretched.
    """
    wanted = {q: f for q, f in factors.items() if TIERS.get(q) not in kept}
    load = _Load(usage, budget, kept)
    excess = max(load.over())
    if excess <= 0.0:
        _relax(usage, load, wanted)
        return wanted
    for least in (_LITTLE * excess, 0.0):
        for rank in ORDER:
            _stretch(rank, load, wanted, kept, least)
    return wanted


def _stretch(
    rank: Rank, load: _Load, wanted: dict[str, int], kept: AbstractSet[Tier], least: float
) -> None:
    """Stretch queries of one rank that cost more than `least`, until it fits."""
    while max(over := load.over()) > 0.0:
        parts = load.parts[over.index(max(over))]
        open_ = [
            q
            for q, part in parts.items()
            if part > least
            and RANKS.get(q) is rank
            and TIERS[q] not in kept
            and wanted.get(q, 1) < rank.most
        ]
        if not open_:
            return
        dearest = max(open_, key=lambda q: (parts[q], q))
        wanted[dearest] = wanted.get(dearest, 1) * 2
        load.scale(dearest, 0.5)


def _relax(usage: Usage, load: _Load, wanted: dict[str, int]) -> None:
    """Halve what fits, each query once; what was not called is not known to fit."""
    for rank in reversed(ORDER):
        stretched = [
            q
            for q, factor in wanted.items()
            if factor > 1 and RANKS.get(q) is rank and usage.calls.get(q, 0.0) > 0.0
        ]
        for query in sorted(stretched, key=lambda q: (usage.seconds.get(q, 0.0), q)):
            if load.fits_doubled(query):
                wanted[query] //= 2
                load.scale(query, 2.0)


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
        self._exceeded = False

    def period(self, usage: Usage, budget: Budget, kept: AbstractSet[Tier] = frozenset()) -> None:
        """Look at what one period has cost; `kept` as in `decide`."""
        self.usage = {
            "cpu": usage.cpu,
            "driver": sum(usage.seconds.values()) / max(usage.gpus, 1),
        }
        if budget.cpu is None and budget.driver is None:
            wanted: dict[str, int] = {}
        else:
            wanted = decide(usage, budget, self.factors, kept)
        self._tell_exceeded(_Load(usage, budget, kept), kept)
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
                extra={"fields": {"query": query, "interval_factor": after} | self._shown()},
            )
        self.factors = wanted
        self.version += 1

    def _tell_exceeded(self, load: _Load, kept: AbstractSet[Tier]) -> None:
        """Say once that the intervals that were set cost more than the budget allows."""
        exceeded, self._exceeded = self._exceeded, load.raised
        if self._exceeded and not exceeded:
            tiers = ", ".join(sorted(tier.value for tier in kept))
            log.warning(
                "intervals that were set are kept, though they exceed the budget",
                extra={"fields": {"tiers": tiers} | self._shown()},
            )

    def _shown(self) -> dict[str, object]:
        return {resource: f"{share:.2%}" for resource, share in self.usage.items()}
