"""Whether the driver answers: one rule for the metric, the landing page and readiness."""

from __future__ import annotations

from gpu_sentinel.model import DeviceSnapshot, Snapshot
from gpu_sentinel.sampling.inventory import HANG_SECONDS


def answer_due(device: DeviceSnapshot) -> float:
    """Monotonic seconds by which a GPU must have answered again, or else it hangs."""
    return device.answered + max(HANG_SECONDS, 2 * device.interval)


def hangs(device: DeviceSnapshot, now: float) -> bool:
    """Whether a GPU has been silent for too long; a lost one is lost, it does not hang."""
    return not device.lost and now > answer_due(device)


def driver_due(snapshot: Snapshot) -> float:
    """Monotonic seconds until which the driver counts as up; minus infinity while it is down.

    Where a lock inside the driver blocks every GPU, all of them fall silent together.
    """
    if snapshot.driver.info is None:
        return float("-inf")
    present = [d for d in snapshot.devices if not d.lost]
    if present:
        return max(answer_due(d) for d in present)
    return snapshot.driver.answered + HANG_SECONDS
