"""Which part of a GPU and of its work is a GPU instance's, and a process' of it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpu_sentinel.model import DeviceSnapshot, Instance, Tier, Value
from gpu_sentinel.nvml import GpuProcess

#: Counters of a GPU instance that say how busy it is, the better one first.
_ACTIVE = ("mig.profiling.sm_active", "mig.profiling.graphics_active")


@dataclass(frozen=True, slots=True)
class Share:
    """A GPU instance: which part of the GPU it is, and which share of the time it is busy."""

    part: float
    active: float


def instance_shares(
    device: DeviceSnapshot | None, instances: Sequence[Instance]
) -> dict[int, Share]:
    """By number, where MIG is on."""
    total = _read(device, "memory.total")
    found = {}
    for instance in instances:
        if "mig_uuid" in instance.labels:
            continue
        sample = instance.tiers.get(Tier.PROFILING)
        values = sample.values if sample else {}
        memory = number(values, "mig.memory.total")
        active = next((v for key in _ACTIVE if (v := number(values, key)) is not None), 0.0)
        part = min(memory / total, 1.0) if memory and total else 1.0
        found[int(instance.labels["gpu_instance"])] = Share(part, active)
    return found


def part_of(shares: Mapping[int, Share], number: int | None) -> float:
    """Which part of the GPU a GPU instance is; all of it where there is none."""
    share = None if number is None else shares.get(number)
    return share.part if share else 1.0


def by_instance(listed: Sequence[GpuProcess]) -> Mapping[int | None, tuple[int, float]]:
    """By GPU instance: how many processes, and their memory."""
    found: dict[int | None, tuple[int, float]] = {}
    for process in listed:
        count, memory = found.get(process.gpu_instance, (0, 0.0))
        found[process.gpu_instance] = count + 1, memory + (process.memory or 0.0)
    return found


def portion(process: GpuProcess, totals: Mapping[int | None, tuple[int, float]]) -> float:
    """Which part of its GPU instance's work is taken to be a process': by memory."""
    count, memory = totals[process.gpu_instance]
    return (process.memory or 0.0) / memory if memory else 1.0 / count


def _read(device: DeviceSnapshot | None, key: str) -> float | None:
    if device is None:
        return None
    return next(
        (v for s in device.tiers.values() if (v := number(s.values, key)) is not None), None
    )


def limit(device: DeviceSnapshot | None) -> float | None:
    """Of its power, in watts: the default one, which nobody has lowered, where it is told."""
    return _read(device, "power.default_limit") or _read(device, "power.limit")


def number(values: Mapping[str, Value], key: str) -> float | None:
    """A reading that is a number; None where there is none."""
    value = values.get(key)
    return value if isinstance(value, float) else None
