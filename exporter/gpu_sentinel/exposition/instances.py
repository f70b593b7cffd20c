"""The families of MIG instances: their labels come from the instances, not from the GPU."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_sentinel.catalogue import Metric
from gpu_sentinel.exposition.formats import label, number
from gpu_sentinel.model import Instance, Snapshot


def _all_labels(instance: Instance) -> dict[str, str]:
    return {"gpu": instance.device.name, "uuid": instance.device.uuid, **instance.labels}


def described(metric: Metric, snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
    """The values of the labels of `gpu_mig_info`, for every MIG device."""
    for instance in snapshot.instances:
        labels = _all_labels(instance)
        if "mig_uuid" in labels:
            yield tuple(labels.get(name, "") for name in metric.all_labels), 1.0


def lines(metric: Metric, snapshot: Snapshot, now: float) -> list[str]:
    """The samples of a family that is read of instances, those that are young enough."""
    found = []
    ((_, key),) = metric.value_keys()
    for instance in snapshot.instances:
        sample = instance.tiers.get(metric.tier)
        if sample is None or now > sample.taken + sample.lifetime:
            continue
        value = sample.values.get(key)
        if isinstance(value, float):
            labels = _all_labels(instance)
            inside = ",".join(label(name, labels[name]) for name in metric.all_labels)
            found.append(f"{metric.name}{{{inside}}} {number(value)}\n")
    return found


def expires(snapshot: Snapshot, now: float) -> float:
    """The monotonic time at which the next of their readings becomes too old."""
    ends = (s.taken + s.lifetime for i in snapshot.instances for s in i.tiers.values())
    return min((end for end in ends if end >= now), default=float("inf"))
