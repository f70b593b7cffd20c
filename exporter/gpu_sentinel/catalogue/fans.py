"""Fans."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier


def _fan(name: str, key: str, help_: str, highest: float, source: str) -> Metric:
    return Metric(
        name=name,
        kind=Kind.GAUGE,
        group="fans",
        tier=Tier.SLOW,
        index="fan",
        series={"": key},
        valid=(0.0, highest),
        help=help_,
        source=source,
    )


FANS = (
    _fan(
        "gpu_fan_speed_ratio",
        "fan.speed",
        "Speed that the fan is told to run at, as a share of its full speed; "
        "some boards go beyond 1.",
        2.0,
        "nvmlDeviceGetFanSpeed_v2",
    ),
    _fan(
        "gpu_fan_target_speed_ratio",
        "fan.target",
        "Speed that the fan is to reach, as a share of its full speed.",
        2.0,
        "nvmlDeviceGetTargetFanSpeed",
    ),
    _fan(
        "gpu_fan_speed_rpm",
        "fan.rpm",
        "Speed of the fan as it is measured, in revolutions per minute.",
        100_000.0,
        "nvmlDeviceGetFanSpeedRPM",
    ),
)
