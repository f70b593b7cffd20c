"""Records of the exporters, by host."""

from __future__ import annotations

from gpu_sentinel.rules.declare import Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = "What the exporters tell of themselves, kept by host for long ranges over many of them."
_HOST = "by (cluster, host)"
#: Counters of the exporters whose rates are kept.
_RATES = ("sampler_cpu_seconds", "nvml_call_seconds", "nvml_errors", "overruns")


def groups(limits: Limits) -> tuple[Group, ...]:  # noqa: ARG001 - every module has the same form
    """Every minute."""
    rates = (
        Record(
            name=f"host:gpu_sentinel_{name}:rate5m",
            expr=f"sum {_HOST} (rate(gpu_sentinel_{name}_total[5m]))",
        )
        for name in _RATES
    )
    return (
        Group(
            name="gpu-exporter-records",
            interval="1m",
            rules=(
                Record(
                    name="host_tier:gpu_sentinel_sample_age_seconds:max",
                    expr="max by (cluster, host, tier) "
                    "(time() - gpu_sentinel_last_sample_timestamp_seconds)",
                ),
                *rates,
                Record(
                    name="host:gpu_sentinel_lateness_seconds:p99_5m",
                    expr="""
                    histogram_quantile(0.99,
                      sum by (cluster, host, le) (rate(gpu_sentinel_lateness_seconds_bucket[5m]))
                    )""",
                ),
                Record(
                    name="host:scrape_duration_seconds:max5m",
                    expr=f"max {_HOST} "
                    '(max_over_time(scrape_duration_seconds{job="gpu-sentinel"}[5m]))',
                ),
            ),
        ),
    )
