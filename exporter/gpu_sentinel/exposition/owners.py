"""The families of processes, owners and allocations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from gpu_sentinel.catalogue.owners import ACTIVE, IDLE
from gpu_sentinel.model import Owner, OwnerUse, ProcessUse, Snapshot, Usage, XidReports

_Rows = Iterator[tuple[tuple[str, ...], float]]
Family = Callable[[Snapshot, float], _Rows]


def _fresh(snapshot: Snapshot, now: float) -> Iterator[tuple[Usage, tuple[str, str]]]:
    for usage in snapshot.usage:
        if now <= usage.taken + usage.lifetime:
            yield usage, (usage.device.name, usage.device.uuid)


def expires(snapshot: Snapshot, now: float) -> float:
    """The monotonic time at which the next of them becomes too old."""
    ends = (usage.taken + usage.lifetime for usage in snapshot.usage)
    return min((end for end in ends if end >= now), default=float("inf"))


def _labels(owner: Owner) -> tuple[str, ...]:
    """The values of `OWNER_LABELS`."""
    return (
        owner.kind,
        owner.name,
        owner.k8s_namespace,
        owner.k8s_pod,
        owner.slurm_job,
        owner.slurm_account,
        owner.user,
    )


def _part_labels(owner: Owner) -> tuple[str, ...]:
    """The values of `PART_LABELS`."""
    return owner.k8s_container, owner.slurm_step


def _instance(number: int | None) -> str:
    return "" if number is None else str(number)


def _of_process(get: Callable[[ProcessUse], float | None]) -> Family:
    def rows(snapshot: Snapshot, now: float) -> _Rows:
        for usage, gpu in _fresh(snapshot, now):
            for process in usage.processes:
                value = get(process)
                if value is not None:
                    yield (*gpu, *_process_labels(process)), value

    return rows


def _process_labels(process: ProcessUse) -> tuple[str, ...]:
    return (
        _instance(process.gpu_instance),
        "" if process.pid is None else str(process.pid),
        process.name,
        *_labels(process.owner),
        *_part_labels(process.owner),
    )


def _utilization(snapshot: Snapshot, now: float) -> _Rows:
    for usage, gpu in _fresh(snapshot, now):
        for process in usage.processes:
            labels = _process_labels(process)
            for engine, ratio in process.utilization.items():
                yield (*gpu, *labels, engine), ratio


def _of_owner(get: Callable[[OwnerUse], float | None]) -> Family:
    def rows(snapshot: Snapshot, now: float) -> _Rows:
        for usage, gpu in _fresh(snapshot, now):
            for use in usage.owners:
                value = get(use)
                if value is not None:
                    yield (*gpu, *_labels(use.owner)), value

    return rows


def _energy(snapshot: Snapshot, now: float) -> _Rows:
    for usage, gpu in _fresh(snapshot, now):
        for use in usage.owners:
            for part, joules in ((IDLE, use.idle_joules), (ACTIVE, use.active_joules)):
                if joules is not None:
                    yield (*gpu, *_labels(use.owner), part), joules


def _allocations(snapshot: Snapshot, now: float) -> _Rows:
    for usage, gpu in _fresh(snapshot, now):
        seen = set()
        for held, instance in usage.allocations:
            labels = (
                _instance(instance),
                *_labels(held.owner),
                *_part_labels(held.owner),
                held.resource,
                held.source,
                "yes" if held.shared else "",
            )
            if labels not in seen:  # several replicas of one GPU
                seen.add(labels)
                yield (*gpu, *labels), 1.0


def _of_xid(get: Callable[[XidReports], float]) -> Family:
    def rows(snapshot: Snapshot, _now: float) -> _Rows:
        for gpu, found in snapshot.owner_xids.items():
            for about, reports in found.items():
                instance = _instance(about.gpu_instance)
                labels = (instance, str(about.xid), *_labels(about.owner))
                yield (gpu.name, gpu.uuid, *labels), get(reports)

    return rows


FAMILIES: Mapping[str, Family] = {
    "gpu_process_memory_used_bytes": _of_process(lambda p: p.memory),
    "gpu_process_busy_seconds_total": _of_process(lambda p: p.busy),
    "gpu_process_utilization_ratio": _utilization,
    "gpu_process_start_timestamp_seconds": _of_process(lambda p: p.started),
    "gpu_allocation_info": _allocations,
    "gpu_owner_memory_used_bytes": _of_owner(lambda o: o.memory),
    "gpu_owner_busy_seconds_total": _of_owner(lambda o: o.busy),
    "gpu_owner_energy_joules_total": _energy,
    "gpu_owner_allocated_seconds_total": _of_owner(lambda o: o.allocated or None),
    "gpu_owner_idle_allocated_seconds_total": _of_owner(
        lambda o: o.idle_allocated if o.allocated else None
    ),
    "gpu_owner_processes": _of_owner(lambda o: o.processes),
    "gpu_owner_xid_errors_total": _of_xid(lambda x: x.count),
    "gpu_owner_xid_last_timestamp_seconds": _of_xid(lambda x: round(x.last, 3)),
}
