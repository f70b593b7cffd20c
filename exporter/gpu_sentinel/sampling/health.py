"""Whether the driver answers: one rule for the metric, the landing page and readiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gpu_sentinel.catalogue.availability import HUNG, LOST, NOT_LISTED
from gpu_sentinel.model import DeviceSnapshot, Snapshot

#: A call that takes longer is reported as hanging; without any answer the driver counts as down.
HANG_SECONDS = 5.0
#: Seconds since a moment (monotonic) in which the exporter itself stood still; `Stalls.since`.
Excuse: TypeAlias = Callable[[float], float]


def never(_moment: float) -> float:
    """The excuse of an exporter that always ran."""
    return 0.0


def answer_due(device: DeviceSnapshot, excuse: Excuse = never) -> float:
    """Monotonic seconds by which a GPU must have answered again, or else it hangs."""
    waited = excuse(device.answered)
    return device.answered + max(HANG_SECONDS, 2 * device.interval) + waited


def hangs(device: DeviceSnapshot, now: float, excuse: Excuse = never) -> bool:
    """Whether a GPU has been silent for too long; one that is lost or fails does not hang."""
    return (
        not device.lost
        and not device.failure
        and now > answer_due(device)
        and now > answer_due(device, excuse)
    )


def down(device: DeviceSnapshot, now: float, excuse: Excuse = never) -> str:
    """Why a GPU does not answer, in one word; empty where it does."""
    if device.lost and device.failure != NOT_LISTED:
        return LOST
    return device.failure or (HUNG if hangs(device, now, excuse) else "")


def driver_due(snapshot: Snapshot, excuse: Excuse = never) -> float:
    """Monotonic seconds until which the driver counts as up; minus infinity while it is down.

    Where a lock inside the driver blocks every GPU, all of them fall silent together.
    """
    if snapshot.driver.info is None:
        return float("-inf")
    present = [d for d in snapshot.devices if not d.lost and not d.failure]
    if present:
        return max(answer_due(d, excuse) for d in present)
    answered = snapshot.driver.answered
    return answered + HANG_SECONDS + excuse(answered)
