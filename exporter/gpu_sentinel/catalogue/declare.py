"""Short forms for the declarations, and the ranges of plausibility.

The ranges are wide: they keep out what is impossible (a utilisation of 808,334,905 was seen in
the field), not what is unusual.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpu_sentinel.catalogue.metric import WINDOW_LABEL, Kind, Metric, Op
from gpu_sentinel.model import Tier

RATIO = (0.0, 1.0)
WATTS = (0.0, 10_000.0)
JOULES = (0.0, 1e15)
CELSIUS = (-50.0, 200.0)
HERTZ = (0.0, 50e9)
BYTES = (0.0, 2.0**50)
COUNT = (0.0, 2.0**63)
FLAG = (0.0, 1.0)


def gauge(
    name: str,
    key: str,
    help_: str,
    valid: tuple[float, float],
    *,
    group: str,
    source: str,
    tier: Tier = Tier.FAST,
) -> Metric:
    """A gauge with one series a GPU."""
    return Metric(
        name=name,
        kind=Kind.GAUGE,
        help=help_,
        group=group,
        source=source,
        tier=tier,
        series={"": key},
        valid=valid,
    )


def window(name: str, op: Op, key: str, what: str, *, group: str) -> Metric:
    """The minimum or maximum of a signal over the sliding window."""
    word = "Smallest" if op is Op.MIN else "Largest"
    return Metric(
        name=name,
        kind=Kind.GAUGE,
        group=group,
        op=op,
        series={"": key},
        constant={"window": WINDOW_LABEL},
        help=f"{word} {what} of all samples of the last minute, however often you scrape.",
        source=f"sampler, from {key}",
    )


def busy(name: str, key: str, what: str, *, group: str) -> Metric:
    """The integral of a utilisation."""
    return Metric(
        name=name,
        kind=Kind.COUNTER,
        group=group,
        op=Op.INTEGRAL,
        series={"": key},
        help=f"Seconds that {what}: the integral of its utilisation. "
        "rate() over any range is the exact mean utilisation.",
        source=f"sampler, from {key}",
    )


def levels(name: str, key: str, what: str, bounds: Mapping[str, tuple[float, ...]]) -> Metric:
    """The distribution of a signal over time, as a cumulative histogram of seconds."""
    return Metric(
        name=name,
        kind=Kind.COUNTER,
        group="distributions",
        op=Op.LEVELS,
        label="le",
        bounds=bounds[key],
        series={"": key},
        help=f"Seconds for which {what} was at most `le`, with --sampler.distributions. "
        "histogram_quantile() works on its rate().",
        source=f"sampler, from {key}",
    )


def counter(
    name: str,
    key: str,
    help_: str,
    valid: tuple[float, float] = COUNT,
    *,
    group: str,
    source: str,
    tier: Tier = Tier.SLOW,
) -> Metric:
    """A counter with one series a GPU."""
    return Metric(
        name=name,
        kind=Kind.COUNTER,
        help=help_,
        group=group,
        source=source,
        tier=tier,
        series={"": key},
        valid=valid,
    )


def flag(name: str, key: str, help_: str, *, group: str, source: str) -> Metric:
    """A gauge that is 0 or 1 and changes rarely."""
    return gauge(name, key, help_, FLAG, group=group, source=source, tier=Tier.SLOW)
