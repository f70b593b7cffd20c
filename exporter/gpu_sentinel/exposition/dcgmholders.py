"""Who has a GPU, as the labels that dcgm-exporter gives to DCGM's rows.

`pod`, `namespace`, `container` and `vgpu` as with its `--kubernetes` and
`--kubernetes-virtual-gpus`: a row for each replica of a GPU that is shared; `hpc_job` as with its
`--hpc-job-mapping-dir`: a row for each job. NVIDIA/dcgm-exporter, internal/pkg/transformation:
const.go, kubernetes.go, hpc.go, process_metrics.go. Go prints a map by the names of its keys, so
the labels are sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from gpu_sentinel.exposition.formats import label
from gpu_sentinel.model import Allocation, Owner, Usage

#: What stands between a device and its replica: NVIDIA's device plugin, and GKE's.
_REPLICA_MARKS = ("::", "/vgpu")
_DRA_DRIVER = "gpu.nvidia.com"
_JOB_SOURCES = ("slurm", "mapping")
_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Holding:
    """One holder of a GPU, or of a GPU instance.

    Attributes:
        labels: as they stand on a row; empty where nobody holds it.
        own: readings that are the holder's own instead of the GPU's.
    """

    labels: tuple[str, ...] = ()
    own: Mapping[str, float] = field(default_factory=lambda: _NOTHING)


NOBODY_HOLDS = (Holding(),)


def holdings(usage: Usage | None, instance: int | None = None) -> Sequence[Holding]:
    """Those of a GPU, or of one GPU instance of it; at least one."""
    if usage is None or not usage.allocations:
        return NOBODY_HOLDS
    # Who has the whole GPU has each part of it.
    here = [held for held, part in usage.allocations if part in (None, instance)]
    pods = {_pod_labels(held): held.owner for held in here if held.owner.kind == "pod"}
    jobs = dict.fromkeys(
        held.owner.name
        for held in here
        if held.source in _JOB_SOURCES and held.owner.kind != "none"
    )
    own = _own(usage, instance, [*pods.values()]) if len(pods) > 1 else {}
    found = []
    for pod, owner in pods.items() or (((), None),):
        for job in jobs or ("",):
            more = (("hpc_job", job),) if job else ()
            labels = tuple(label(name, value) for name, value in sorted((*pod, *more)))
            values = own.get((owner.kind, owner.name), _NOTHING) if owner else _NOTHING
            found.append(Holding(labels, values))
    return found


def _pod_labels(held: Allocation) -> tuple[tuple[str, str], ...]:
    owner = held.owner
    found = {
        "pod": owner.k8s_pod,
        "namespace": owner.k8s_namespace,
        "container": owner.k8s_container,
    }
    if replica := _replica(held.device):
        found["vgpu"] = replica
    if held.claim:
        namespace, _, claim = held.claim.partition("/")
        found |= {
            "dra_claim_name": claim,
            "dra_claim_namespace": namespace,
            "dra_driver_name": _DRA_DRIVER,
            "dra_pool_name": held.pool,
            "dra_device_name": held.device,
        }
    return tuple(found.items())


def _replica(device: str) -> str:
    for mark in _REPLICA_MARKS:
        before, _, replica = device.rpartition(mark)
        if before and replica.isdecimal():
            return replica
    return ""


def _own(
    usage: Usage, instance: int | None, holders: Sequence[Owner]
) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """Memory and SM time of each pod that shares a GPU, by kind and name.

    Nothing where there is a process of which it is not known whether it is one of theirs: then the
    rows show the whole GPU, as dcgm-exporter's do where it cannot tell.
    """
    names = {(owner.kind, owner.name) for owner in holders}
    here = [p for p in usage.processes if instance is None or p.gpu_instance == instance]
    for process in here:
        owner = process.owner
        strange = owner.kind == "pod" and (owner.kind, owner.name) not in names
        if owner.kind == "none" or strange or (process.pid is None and process.memory):
            return {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name in names:
        own = [p for p in here if (p.owner.kind, p.owner.name) == name]
        memory = [p.memory for p in own if p.memory is not None]
        alive = [p for p in own if p.memory is not None or p.utilization]
        values = found[name] = {}
        if len(memory) == len(alive):
            values["memory.used"] = float(sum(memory))
        if instance is None:  # under MIG the driver tells no SM time of processes
            used = sum(p.utilization.get("sm", 0.0) for p in own)
            values["utilization.gpu"] = min(float(used), 1.0)
    return found
