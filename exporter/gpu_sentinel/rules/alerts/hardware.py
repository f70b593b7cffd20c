"""Errors of the hardware."""

from __future__ import annotations

from gpu_sentinel.rules.alerts import kernel, links, memoryerrors, verdicts, xids
from gpu_sentinel.rules.declare import HEALTH_PAGE, Group
from gpu_sentinel.rules.limits import Limits

ABOUT = "Errors of the hardware: XIDs, memory, links, fans, and what the driver itself asks for."


def groups(limits: Limits) -> tuple[Group, ...]:
    """XIDs at Prometheus' own interval; what is read every 10 s, every 15; trends every minute."""
    return (
        Group(name="gpu-xids", rules=xids.alerts(limits)),
        # They are about switches and hosts too, which no page of a GPU shows.
        Group(name="gpu-kernel", page=HEALTH_PAGE, rules=kernel.alerts(limits)),
        Group(
            name="gpu-hardware-state",
            interval="15s",
            rules=(*memoryerrors.alerts(), *verdicts.alerts()),
        ),
        Group(
            name="gpu-hardware-trends",
            interval="1m",
            rules=(*memoryerrors.trends(limits), *links.alerts(limits)),
        ),
    )
