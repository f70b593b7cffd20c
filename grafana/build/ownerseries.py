"""Of the page of owners: its series, and the widths of its columns."""

from __future__ import annotations

from collections.abc import Iterable

from core import Json
from panels import override
from promql import HOSTS, selector

#: What the reader chooses of an owner.
CHOSEN = (
    'k8s_namespace=~"$k8s_namespace"',
    'slurm_account=~"$slurm_account"',
    'user=~"$user"',
    'owner=~"$owner"',
)
#: GPU-hours, of a number of GPUs over time. Owners come and go: their absence counts as nothing.
_COUNT = "scalar(count_over_time(fleet:hosts:count[$__range]))"
HOURS = "$__range_s / 3600"
_WIDTHS = {
    "Host": 130,
    "GPU": 60,
    "Kind": 90,
    "User": 100,
    **dict.fromkeys(("Held", "Busy", "Idle", "Processes"), 80),
    **dict.fromkeys(("Memory", "Power", "Energy", "Cost", "Value"), 90),
    **dict.fromkeys(("GPU-hours", "Idle hours"), 100),
}


def recorded(name: str, *matchers: str) -> str:
    """A series that a rule keeps by host and owner."""
    return selector(f"host_owner:{name}", *HOSTS, *CHOSEN, *matchers)


HELD, IDLE, WORK, POWER, MEMORY = (
    "gpu_allocated_seconds:rate5m",
    "gpu_idle_allocated_seconds:rate5m",
    "gpu_busy_seconds:rate5m",
    "gpu_power_watts:mean5m",
    "gpu_memory_used_bytes:sum",
)


def over_range(name: str, *matchers: str) -> str:
    """The mean over the shown range, also of who was there for a part of it."""
    return f"sum_over_time({recorded(name, *matchers)}[$__range]) / {_COUNT}"


def raw(metric: str, *matchers: str) -> str:
    """A series of the exporter's, of the chosen owners."""
    return selector(metric, *HOSTS, *CHOSEN, *matchers)


def widths(columns: Iterable[str]) -> list[Json]:
    """As much as each column needs; without, a table takes more than it has."""
    return [
        override(name, {"id": "custom.width", "value": _WIDTHS[name]})
        for name in columns
        if name in _WIDTHS
    ]
