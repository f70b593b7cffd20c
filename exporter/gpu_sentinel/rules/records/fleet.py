"""Records of hosts by model, and from these of hosts, models and the fleet."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from gpu_sentinel.rules.declare import GPU, JOIN, Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "What GPUs have in common, kept by host and model: ten thousand GPUs are then some hundred "
    "lines to draw over a month. Sums and counts, so that any choice of them adds up again. "
    "`host_model` means by (cluster, host, name): `name` is the model, as in gpu_info, and "
    "`cluster` may be missing. Hosts, models and the fleet are sums of these."
)
#: Which model each GPU is, made once for all that is joined with it.
_MODEL = "gpu:info:max"
_LEVELS = (("host", "by (cluster, host) "), ("model", "by (name) "), ("fleet", ""))
#: Shares of the time at or below which GPUs are counted.
_BUCKETS = (0.05, 0.3, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class _Sum:
    """What is added up: its name after the level, and the series of GPUs."""

    name: str
    gpus: str
    why: str = ""
    operator: str = "sum"
    label: str = ""
    le: str = ""

    def by_host_and_model(self) -> Record:
        by = "cluster, host, name" + (f", {self.label}" if self.label else "")
        gpus = textwrap.indent(textwrap.dedent(self.gpus).strip(), "  ")
        return Record(
            name=f"host_model:{self.name}",
            labels=(("le", f'"{self.le}"'),) if self.le else (),
            expr=f"{self.operator} by ({by}) (\n{gpus}\n    * on ({JOIN}) group_left (name) {_MODEL}\n)",
            why=self.why,
        )


def groups(limits: Limits) -> tuple[Group, ...]:
    """Five minutes every minute, an hour every two."""
    model = Record(name=_MODEL, expr=f"max by ({JOIN}, name) (gpu_info)")
    devices = Record(
        name="host_model:gpu_devices:count",
        expr=f"count by (cluster, host, name) (max by ({GPU}, name) (gpu_info))",
    )
    recent, hours = _use(limits), _hours()
    return (
        Group(
            name="gpu-host-model",
            interval="1m",
            rules=(
                model,
                devices,
                *(each.by_host_and_model() for each in (*recent, *_buckets(), *_events())),
            ),
        ),
        Group(
            name="gpu-fleet",
            interval="1m",
            rules=(
                *_levels("gpu_devices:count", *(each.name for each in recent)),
                *_ratios("gpu_utilization_ratio:mean5m", "gpu_{}_seconds:increase5m"),
                *_ratios("gpu_memory_used:ratio", "gpu_memory_{}_bytes:sum", "used", "total"),
                *_missing(),
            ),
        ),
        Group(
            name="gpu-fleet-hour",
            interval="2m",
            rules=(
                *(each.by_host_and_model() for each in hours),
                *_levels(*(each.name for each in hours)),
                *_ratios("gpu_utilization_ratio:mean1h", "gpu_{}_seconds:increase1h"),
            ),
        ),
    )


def _use(limits: Limits) -> tuple[_Sum, ...]:
    idle = f"(gpu:utilization_ratio:mean5m < bool {limits.number('idle_utilization_ratio')})"
    held = f"(gpu:memory_used:ratio > bool {limits.number('idle_memory_ratio')})"
    return (
        _Sum("gpu_lost:sum", f"max by ({GPU}) (gpu_lost)"),
        _Sum(
            "gpu_unhealthy:count",
            f"(max by ({GPU}) (gpu_health_status) > bool 0)",
            "Of which the driver itself says that something is wrong with them.",
        ),
        _Sum("gpu_busy_seconds:increase5m", "gpu:busy_seconds:increase5m"),
        _Sum("gpu_observed_seconds:increase5m", "gpu:observed_seconds:increase5m"),
        _Sum("gpu_idle:count", idle),
        _Sum(
            "gpu_idle_memory_held:count",
            f"({idle} * {held})",
            "Doing nothing, and yet in somebody's hands.",
        ),
        _Sum("gpu_power_watts:mean5m", "gpu:power_watts:mean5m", "Exact: from the energy."),
        _Sum("gpu_memory_used_bytes:sum", "gpu_memory_used_bytes"),
        _Sum("gpu_memory_total_bytes:sum", "gpu_memory_total_bytes"),
    )


def _hours() -> tuple[_Sum, ...]:
    return tuple(
        _Sum(f"gpu_{what}:increase1h", f"gpu:{what}:increase1h")
        for what in ("energy_joules", "busy_seconds", "observed_seconds")
    )


def _buckets() -> tuple[_Sum, ...]:
    name, use = "gpu_utilization_ratio:bucket", "gpu:utilization_ratio:mean5m"
    why = "GPUs at or below a utilisation, as the buckets of a histogram."
    bounded = (
        _Sum(name, f"({use} <= bool {le})", why if le == _BUCKETS[0] else "", le=str(le))
        for le in _BUCKETS
    )
    return (*bounded, _Sum(name, use, operator="count", le="+Inf"))


def _events() -> tuple[_Sum, ...]:
    held_down = 'gpu_clock_event_seconds_total{reason=~"sw_power_cap|.*slowdown|sync_boost"}'
    profiled = (
        ("gpu_sm_active_seconds", "Profiling: seconds, of as many GPUs as tell them."),
        *((f"gpu_{name}_seconds", "") for name in ("sm_occupancy", "tensor_active", "dram_active")),
    )
    return (
        _Sum(
            "gpu_temperature_margin_celsius:min", "gpu_temperature_margin_celsius", operator="min"
        ),
        _Sum(
            "gpu_clock_event_seconds:rate5m",
            f"rate({held_down}[5m])",
            "GPUs whose clocks a reason held down, each counted by its share of the time. Not for "
            "what somebody has set, nor for having nothing to do.",
            label="reason",
        ),
        _Sum(
            "gpu_ecc_volatile_errors:rate5m",
            "rate(gpu_ecc_volatile_errors_total[5m])",
            label="type",
        ),
        _Sum("gpu_nvlink_errors:rate5m", "rate(gpu_nvlink_errors_total[5m])", label="type"),
        _Sum("gpu_pcie_replays:rate5m", "rate(gpu_pcie_replays_total[5m])"),
        *(_Sum(f"{name}:rate5m", f"rate({name}_total[5m])", why) for name, why in profiled),
        _Sum("gpu_profiled:count", "gpu_sm_active_ratio", operator="count"),
    )


def _levels(*names: str) -> tuple[Record, ...]:
    return tuple(
        Record(name=f"{level}:{name}", expr=f"sum {by}(host_model:{name})")
        for level, by in _LEVELS
        for name in names
    )


def _ratios(
    name: str, parts: str, above: str = "busy", below: str = "observed"
) -> tuple[Record, ...]:
    return tuple(
        Record(
            name=f"{level}:{name}",
            expr=f"{level}:{parts.format(above)} / {level}:{parts.format(below)}",
        )
        for level, _ in _LEVELS
    )


def _missing() -> tuple[Record, ...]:
    missing = "max by (cluster, host) (clamp_min(gpu_expected_devices - gpu_devices, 0))"
    return (
        Record(name="host:gpu_missing:sum", expr=missing),
        Record(name="fleet:gpu_missing:sum", expr="sum (host:gpu_missing:sum)"),
        Record(name="fleet:hosts:count", expr='count (up{job="gpu-sentinel"} == 1)'),
    )
