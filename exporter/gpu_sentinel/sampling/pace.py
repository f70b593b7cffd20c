"""How often what is read."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from gpu_sentinel.model import Tier
from gpu_sentinel.sampling.governor import Budget

#: What cannot change faster is read this often at most, however fast the rest is; what was
#: found is published as often.
PUBLISH_SECONDS = 0.5
#: What only a gauge shows is read this often at most: who scrapes sees it no more often.
GAUGE_SECONDS = 1.0
#: A GPU has done nothing for so long before it counts as idle.
IDLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two readings of each tier.

    Attributes:
        idle: of the fast tier and the buffers while a GPU is idle; None: as ever.
        budget: what all of it may cost.
        distributions: whether distributions are kept.
        profiling: of the profiling tier, and of the memory of MIG instances.
        kept: the tiers whose interval was set: it is kept whatever that costs.
    """

    fast: float = 0.25
    slow: float = 10.0
    buffers: float = 1.0
    static: float = 600.0
    idle: float | None = None
    budget: Budget = field(default_factory=Budget)
    distributions: bool = False
    profiling: float = 1.0
    kept: frozenset[Tier] = frozenset()

    def lifetime(self, tier: Tier, interval: float) -> float:
        """Seconds after which a reading that is taken every `interval` is too old to be shown."""
        if tier is Tier.STATIC:
            return math.inf
        interval = max(interval, getattr(self, tier.value))
        return max(3 * interval, 2.0)


class Lateness:
    """How late passes began, as counts by upper bound in seconds."""

    BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count a pass that began so late."""
        self.counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.seconds += seconds
