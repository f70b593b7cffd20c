"""What is read less often first when the budget is short: the one place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import RINGS
from gpu_sentinel.nvml.mig import MIG_QUERIES
from gpu_sentinel.nvml.queries import QUERIES


@dataclass(frozen=True, slots=True)
class Rank:
    """Queries that are worth the same.

    Attributes:
        most: an interval is stretched by this much at most. Beyond 16, hardly anything is saved.
    """

    name: str
    most: int


STATIC = Rank("static", 16)
DETAILS = Rank("slow details", 16)
PROFILING = Rank("profiling", 16)
GAUGES = Rank("clocks and other gauges", 16)
#: The sampler empties a buffer in time whatever the factor is; see `Ring.longest`.
SAMPLES = Rank("the driver's samples", 4)
HEADLINES = Rank("headline readings", 64)

#: From what is stretched first to what is stretched last.
ORDER = (STATIC, DETAILS, PROFILING, GAUGES, SAMPLES, HEADLINES)

#: Power, utilisation, memory in use and clock events, by the queries that answer them.
_HEADLINES = ("fields.power", "power.draw", "utilization", "memory", "clocks_event_reasons")

_OF_TIER = {
    Tier.STATIC: STATIC,
    Tier.SLOW: DETAILS,
    Tier.PROFILING: PROFILING,
    Tier.FAST: GAUGES,
    Tier.BUFFERS: SAMPLES,
}

#: The tier of each query that is made again and again: what is not here is never stretched.
TIERS: Mapping[str, Tier] = MappingProxyType(
    {query.name: query.tier for query in (*QUERIES, *MIG_QUERIES)}
    | dict.fromkeys(("mig.mode", "mig.list"), Tier.SLOW)
    | dict.fromkeys(("gpm", "gpm.instance"), Tier.PROFILING)
    | {f"samples.{key}": Tier.BUFFERS for key in RINGS}
)
#: The rank of each of them.
RANKS: Mapping[str, Rank] = MappingProxyType(
    {query: _OF_TIER[tier] for query, tier in TIERS.items()} | dict.fromkeys(_HEADLINES, HEADLINES)
)
