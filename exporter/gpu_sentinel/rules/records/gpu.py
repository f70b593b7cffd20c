"""Records of each GPU."""

from __future__ import annotations

from gpu_sentinel.rules.declare import GPU, JOIN, TARGET, Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "Records of each GPU. Means come from integrals, over the time that was really observed, and "
    "means of several GPUs from sums of these, never from means."
)


def groups(limits: Limits) -> tuple[Group, ...]:  # noqa: ARG001 - every module has the same form
    """Five minutes every 15 s, an hour every 2 min."""
    return (
        Group(
            name="gpu-records",
            interval="15s",
            rules=(
                *_use("5m"),
                Record(
                    name="gpu:power_watts:mean5m",
                    expr=f"sum by ({GPU}) (rate(gpu_energy_joules_total[5m]))",
                ),
                Record(
                    name="gpu:memory_used:ratio",
                    expr="gpu_memory_used_bytes / (gpu_memory_total_bytes > 0)",
                ),
            ),
        ),
        Group(
            name="gpu-resets",
            interval="15s",
            rules=(
                Record(
                    name="gpu:reset:timestamp_seconds",
                    expr=f"""
                    max by ({TARGET}, uuid) (gpu_reset_timestamp_seconds)
                    or
                    (last_over_time(gpu:reset:timestamp_seconds[1h]) > time() - 300)
                    or
                    (
                      max by ({TARGET}, uuid) (
                        resets(gpu_energy_joules_total[3m]) > 0
                          and on ({JOIN}) gpu_energy_source_info{{source="hardware"}}
                          unless on ({JOIN}) last_over_time(gpu_reset_timestamp_seconds[3m])
                      ) * 0 + time()
                    )
                    or
                    last_over_time(gpu:reset:timestamp_seconds[1h])""",
                    why="When each GPU was reset last, or its driver loaded anew. The exporter says so; "
                    "what happened while none ran shows in the counter of energy, which starts again then. An "
                    "exporter that had seen a reset and is restarted lets that counter fall too, without another "
                    "reset. Kept once seen; only GPUs that were reset have it. Without the index, which may be "
                    "another one afterwards.",
                ),
            ),
        ),
        Group(
            name="gpu-records-hour",
            interval="2m",
            rules=(
                Record(
                    name="gpu:energy_joules:increase1h",
                    expr=f"sum by ({GPU}) (increase(gpu_energy_joules_total[1h]))",
                ),
                *_use("1h"),
            ),
        ),
    )


def _use(window: str) -> tuple[Record, ...]:
    """Busy seconds, those that were observed, and their share."""
    busy, observed = (f"gpu:{what}_seconds:increase{window}" for what in ("busy", "observed"))
    return (
        Record(name=busy, expr=f"sum by ({GPU}) (increase(gpu_busy_seconds_total[{window}]))"),
        Record(
            name=observed,
            expr=f"""
            sum by ({GPU}) (
              increase(gpu_observed_seconds_total{{signal="utilization"}}[{window}]) > 0
            )""",
        ),
        Record(name=f"gpu:utilization_ratio:mean{window}", expr=f"{busy} / {observed}"),
    )
