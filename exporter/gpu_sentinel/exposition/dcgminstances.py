"""GPU instances as DCGM's rows know them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpu_sentinel.exposition.dcgm import GpuInstance
from gpu_sentinel.model import DeviceId, Instance, Snapshot, Value

#: Before the profile of a compute instance that is only a part of its GPU instance.
_PART = re.compile(r"^\d+c\.")
#: Before the keys of what the whole GPU has too.
_MIG = "mig."


def gpu_instances(snapshot: Snapshot, device: DeviceId, now: float) -> tuple[GpuInstance, ...]:
    """Those of a GPU at a monotonic time, with their readings by the keys of the whole GPU."""
    own = [i for i in snapshot.instances if i.device.uuid == device.uuid]
    profiles = {
        i.labels["gpu_instance"]: _PART.sub("", i.labels["profile"])
        for i in own
        if "profile" in i.labels
    }
    return tuple(
        GpuInstance(profiles.get(number, ""), int(number), dict(_values(instance, now)))
        for instance in own
        if "profile" not in instance.labels
        for number in (instance.labels["gpu_instance"],)
    )


def _values(instance: Instance, now: float) -> Iterator[tuple[str, Value]]:
    for sample in instance.tiers.values():
        if now <= sample.taken + sample.lifetime:
            for key, value in sample.values.items():
                if key.startswith(_MIG):
                    yield key.removeprefix(_MIG), value
