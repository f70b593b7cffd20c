"""The catalogue: what is read, under which name it is shown, and what is plausible."""

from __future__ import annotations

from collections.abc import Mapping

from gpu_sentinel.catalogue.clocks import CLOCK_EVENT_REASONS, VIOLATION_POLICIES
from gpu_sentinel.catalogue.groups import GROUPS, Group, Selection, keys_needed
from gpu_sentinel.catalogue.metric import (
    WINDOW_LABEL,
    WINDOW_SECONDS,
    Kind,
    Metric,
    Op,
    value_key,
)
from gpu_sentinel.catalogue.metrics import METRICS
from gpu_sentinel.catalogue.mig import MIG_LISTED
from gpu_sentinel.catalogue.own import OWN
from gpu_sentinel.catalogue.profiling import (
    ACTIVITIES,
    ALL_ACTIVITIES,
    GPM_BYTES,
    GPM_BYTES_VALID,
    PROFILING_SECONDS,
    Activity,
    instance_activity_key,
    instance_seconds_key,
)
from gpu_sentinel.catalogue.temperature import THRESHOLDS
from gpu_sentinel.catalogue.utilization import LEVELS, SIGNALS
from gpu_sentinel.model import Tier


def query_keys(metrics: tuple[Metric, ...] = METRICS) -> dict[str, Metric]:
    """Every key that the driver is asked for, and the metric that declares it."""
    return {key: m for m in metrics if m.op is Op.READ for key in m.series.values()}


def keys_of(op: Op, metrics: tuple[Metric, ...] = METRICS) -> tuple[str, ...]:
    """The readings from which something is made with `op`, each once."""
    return tuple(dict.fromkeys(k for m in metrics if m.op is op for k in m.series.values()))


def tiers(metrics: tuple[Metric, ...] = METRICS) -> Mapping[str, Tier]:
    """Key -> tier in which it is read."""
    return {key: m.tier for key, m in query_keys(metrics).items()}


__all__ = [
    "ACTIVITIES",
    "ALL_ACTIVITIES",
    "CLOCK_EVENT_REASONS",
    "GPM_BYTES",
    "GPM_BYTES_VALID",
    "GROUPS",
    "LEVELS",
    "METRICS",
    "MIG_LISTED",
    "OWN",
    "PROFILING_SECONDS",
    "SIGNALS",
    "THRESHOLDS",
    "VIOLATION_POLICIES",
    "WINDOW_LABEL",
    "WINDOW_SECONDS",
    "Activity",
    "Group",
    "Kind",
    "Metric",
    "Op",
    "Selection",
    "instance_activity_key",
    "instance_seconds_key",
    "keys_needed",
    "keys_of",
    "query_keys",
    "tiers",
    "value_key",
]
