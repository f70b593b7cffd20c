"""Errors of the hardware."""

from __future__ import annotations

from gpu_sentinel.rules.alerts import links, memoryerrors, verdicts, xids
from gpu_sentinel.rules.declare import Group
from gpu_sentinel.rules.limits import Limits

ABOUT = "Errors of the hardware: XIDs, memory, links, fans, and what the driver itself asks for."


def groups(limits: Limits) -> tuple[Group, ...]:
    """What is read every 10 s is looked at as often; what takes an hour, every minute."""
    return (
        Group(
            name="gpu-hardware",
            category="hardware",
            rules=(*xids.alerts(limits), *memoryerrors.alerts(), *verdicts.alerts()),
        ),
        Group(
            name="gpu-hardware-trends",
            category="hardware",
            interval="1m",
            rules=(*memoryerrors.trends(limits), *links.alerts(limits)),
        ),
    )
