"""Records of hosts, models and the fleet."""

from __future__ import annotations

from gpu_sentinel.rules.declare import HOST, JOIN, Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "Records of hosts, models and the fleet: few series, cheap to draw over a month. "
    "`model` is the label `name` of gpu_info."
)
#: What is counted or summed at every level: name of the record after the level, and of what.
_SUMS = (
    ("gpu_power_watts:sum", "gpu_power_watts"),
    ("gpu_busy_seconds:increase5m", "gpu:busy_seconds:increase5m"),
    ("gpu_observed_seconds:increase5m", "gpu:observed_seconds:increase5m"),
    ("gpu_memory_used_bytes:sum", "gpu_memory_used_bytes"),
    ("gpu_memory_total_bytes:sum", "gpu_memory_total_bytes"),
)
_DEVICES = "max by (job, instance, host, uuid) (gpu_info)"
_COUNTS = (
    ("gpu_busy:count", "gpu:utilization_ratio:mean5m >= {idle}"),
    ("gpu_idle_with_memory:count", "gpu:idle_memory_held:bytes"),
    ("gpu_unhealthy:count", "gpu:unhealthy:max"),
)
_HOURS = (
    ("gpu_energy_joules:increase1h", "gpu:energy_joules:increase1h"),
    ("gpu_busy_seconds:increase1h", "gpu:busy_seconds:increase1h"),
    ("gpu_observed_seconds:increase1h", "gpu:observed_seconds:increase1h"),
)


def groups(limits: Limits) -> tuple[Group, ...]:
    """Five minutes every 30 s; an hour every 2 min."""
    idle = limits.number("idle_utilization_ratio")
    levels = (
        ("host", f"sum by ({HOST})", f"count by ({HOST})", _plain),
        ("model", "sum by (name)", "count by (name)", _named),
    )
    recent = tuple(
        rule
        for level, total, count, of in levels
        for rule in (
            *(Record(name=f"{level}:{n}", expr=f"{total} ({of(x)})") for n, x in _SUMS),
            Record(name=f"{level}:gpu_devices:count", expr=f"{count} ({of(_DEVICES)})"),
            *(
                Record(
                    name=f"{level}:{n}",
                    expr=f"{count} ({of(x.format(idle=idle))}) or {level}:gpu_devices:count * 0",
                )
                for n, x in _COUNTS
            ),
            _ratio(f"{level}:gpu_utilization_ratio:mean5m", f"{level}:gpu_{{}}_seconds:increase5m"),
            Record(
                name=f"{level}:gpu_memory_used:ratio",
                expr=f"{level}:gpu_memory_used_bytes:sum / {level}:gpu_memory_total_bytes:sum",
            ),
        )
    )
    summed = ("gpu_devices:count", *(name for name, _ in (*_SUMS, *_COUNTS)))
    fleet = (
        *(Record(name=f"fleet:{n}", expr=f"sum (host:{n})") for n in summed),
        _ratio("fleet:gpu_utilization_ratio:mean5m", "fleet:gpu_{}_seconds:increase5m"),
        Record(
            name="fleet:gpu_memory_used:ratio",
            expr="fleet:gpu_memory_used_bytes:sum / fleet:gpu_memory_total_bytes:sum",
        ),
    )
    missing = "max by (job, host) (clamp_min(gpu_expected_devices - gpu_devices, 0))"
    hours = tuple(
        rule
        for level, total, _, of in levels
        for rule in (
            *(Record(name=f"{level}:{n}", expr=f"{total} ({of(x)})") for n, x in _HOURS),
            _ratio(f"{level}:gpu_utilization_ratio:mean1h", f"{level}:gpu_{{}}_seconds:increase1h"),
        )
    )
    fleet_hours = (
        *(Record(name=f"fleet:{n}", expr=f"sum (host:{n})") for n, _ in _HOURS),
        _ratio("fleet:gpu_utilization_ratio:mean1h", "fleet:gpu_{}_seconds:increase1h"),
    )
    return (
        Group(
            name="gpu-fleet",
            interval="30s",
            rules=(
                *recent,
                *fleet,
                Record(name="host:gpu_missing:sum", expr=missing),
                Record(name="fleet:gpu_missing:sum", expr="sum (host:gpu_missing:sum)"),
                Record(name="fleet:hosts:count", expr='count (up{job="gpu-sentinel"} == 1)'),
            ),
        ),
        Group(name="gpu-fleet-hour", interval="2m", rules=(*hours, *fleet_hours)),
    )


def _ratio(name: str, parts: str) -> Record:
    return Record(name=name, expr=f"{parts.format('busy')} / {parts.format('observed')}")


def _plain(expr: str) -> str:
    return expr


def _named(expr: str) -> str:
    """With the model; the counts do not ask for the value."""
    if expr.startswith("max by"):
        return "max by (job, instance, uuid, name) (gpu_info)"
    model = f"max by ({JOIN}, name) (gpu_info)"
    return f"\n  ({expr}) * on ({JOIN}) group_left (name)\n  {model}\n"
