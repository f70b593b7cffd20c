"""Clocks, and what holds them down."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import FLAG, HERTZ, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier

#: Bits of nvmlClocksEventReasons in nvml.h, lowest first, under nvidia-smi's names.
CLOCK_EVENT_REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
)

VIOLATION_POLICIES = (
    "power",
    "thermal",
    "sync_boost",
    "board_limit",
    "low_utilization",
    "reliability",
    "total_app_clocks",
    "total_base_clocks",
)

#: What newer drivers count beside those.
SLOWDOWN_REASONS = ("sw_thermal", "hw_thermal", "hw_power_brake")

_REASON_KEYS = {reason: f"clocks_event_reasons.{reason}" for reason in CLOCK_EVENT_REASONS}
_CLOCKS = ("graphics", "sm", "memory", "video")
APPLICATION_CLOCKS = ("graphics", "memory")

CLOCKS = (
    Metric(
        name="gpu_clock_hertz",
        kind=Kind.GAUGE,
        group="clocks",
        label="clock",
        series={c: f"clocks.current.{c}" for c in _CLOCKS},
        valid=HERTZ,
        help="Clock frequency now.",
        source="nvmlDeviceGetClockInfo",
    ),
    Metric(
        name="gpu_clock_max_hertz",
        kind=Kind.GAUGE,
        group="clocks",
        tier=Tier.STATIC,
        label="clock",
        series={c: f"clocks.max.{c}" for c in _CLOCKS},
        valid=HERTZ,
        help="Highest clock frequency of the board.",
        source="nvmlDeviceGetMaxClockInfo",
    ),
    gauge(
        "gpu_performance_state",
        "pstate",
        "Performance state, from 0 (P0, fastest) to 15 (P15, slowest).",
        (0.0, 15.0),
        group="clocks",
        source="nvmlDeviceGetPerformanceState",
    ),
    Metric(
        name="gpu_clock_event_active",
        kind=Kind.GAUGE,
        group="clocks",
        label="reason",
        series=_REASON_KEYS,
        valid=FLAG,
        help="1 while this reason holds the clocks below their maximum.",
        source="nvmlDeviceGetCurrentClocksEventReasons, else GetCurrentClocksThrottleReasons",
    ),
    Metric(
        name="gpu_clock_event_seconds_total",
        kind=Kind.COUNTER,
        group="clocks",
        op=Op.INTEGRAL,
        label="reason",
        series=_REASON_KEYS,
        help="Seconds for which this reason held the clocks down, as the sampler saw it.",
        source="sampler, from clocks_event_reasons",
    ),
    Metric(
        name="gpu_violation_seconds_total",
        kind=Kind.COUNTER,
        group="clocks-details",
        tier=Tier.SLOW,
        label="policy",
        series={p: f"violation.{p}" for p in VIOLATION_POLICIES},
        valid=(0.0, 1e10),
        help="Seconds for which this policy held the clocks down, as the driver counts it.",
        source="fields 74 to 81 (PERF_POLICY_*)",
    ),
    Metric(
        name="gpu_slowdown_seconds_total",
        kind=Kind.COUNTER,
        group="clocks-details",
        tier=Tier.SLOW,
        label="reason",
        series={r: f"slowdown.{r}" for r in SLOWDOWN_REASONS},
        valid=(0.0, 1e10),
        help="Seconds for which heat or the power brake slowed the GPU down, as the driver counts "
        "it.",
        source="fields 269 to 271 (CLOCKS_EVENT_REASON_*)",
    ),
    *(
        Metric(
            name=f"gpu_{name}_clock_hertz",
            kind=Kind.GAUGE,
            group="clocks-details",
            tier=Tier.SLOW,
            label="clock",
            series={c: f"clocks.{key}.{c}" for c in APPLICATION_CLOCKS},
            valid=HERTZ,
            help=help_,
            source=source,
        )
        for name, key, help_, source in (
            (
                "application",
                "applications",
                "Clock that was set for applications; newer drivers have none.",
                "nvmlDeviceGetApplicationsClock",
            ),
            (
                "default_application",
                "default_applications",
                "Clock for applications as delivered; newer drivers have none.",
                "nvmlDeviceGetDefaultApplicationsClock",
            ),
        )
    ),
    gauge(
        "gpu_customer_boost_clock_max_hertz",
        "clocks.customer_boost.max",
        "Highest boost clock that the maker of the board allows.",
        HERTZ,
        group="clocks-details",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxCustomerBoostClock",
    ),
)
