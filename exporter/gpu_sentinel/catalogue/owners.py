"""Who uses and who holds the GPUs: processes, their owners, and what is allocated to whom."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier

_GPU = ("gpu", "uuid")
#: Whose a series is. `job`, `namespace` and `pod` belong to the scraper.
OWNER_LABELS = (
    "owner_kind",
    "owner",
    "k8s_namespace",
    "k8s_pod",
    "slurm_job",
    "slurm_account",
    "user",
)
#: Of a process and of an allocation, which belong to a container or a step.
PART_LABELS = ("k8s_container", "slurm_step")
_PROCESS = (*_GPU, "gpu_instance", "pid", "process", *OWNER_LABELS, *PART_LABELS)
ENGINES = ("sm", "memory", "encoder", "decoder", "jpeg", "ofa")
IDLE, ACTIVE = "idle", "active"


def _metric(name: str, kind: Kind, group: str, labels: tuple[str, ...], help_: str) -> Metric:
    return Metric(
        name=name,
        kind=kind,
        group=group,
        tier=Tier.PROFILING,
        op=Op.INVENTORY,
        labels=labels,
        help=help_,
        source=_SOURCES[group],
    )


_LISTS = "nvmlDeviceGet{Compute,Graphics,MPSCompute}RunningProcesses, "
_SOURCES = {
    "processes": _LISTS + "nvmlDeviceGetProcessesUtilizationInfo",
    "owners": _LISTS + "nvmlDeviceGetProcessesUtilizationInfo, /proc, the kubelet, Slurm",
}


def _process(name: str, kind: Kind, help_: str, *more: str) -> Metric:
    return _metric(name, kind, "processes", (*_PROCESS, *more), help_)


def _owner(name: str, kind: Kind, help_: str, *more: str) -> Metric:
    return _metric(name, kind, "owners", (*_GPU, *OWNER_LABELS, *more), help_)


def _xid(name: str, kind: Kind, help_: str) -> Metric:
    return Metric(
        name=name,
        kind=kind,
        group="owners",
        op=Op.INVENTORY,
        labels=(*_GPU, "gpu_instance", "xid", *OWNER_LABELS),
        help=help_,
        source="the kernel log (pid= and GPU-I:), nvmlEventSetWait_v2 (gpuInstanceId), /proc",
    )


OWNERS: tuple[Metric, ...] = (
    _process(
        "gpu_process_memory_used_bytes",
        Kind.GAUGE,
        "Device memory of a process. Not there where the driver does not know it.",
    ),
    _process(
        "gpu_process_busy_seconds_total",
        Kind.COUNTER,
        "Seconds for which kernels of a process ran on the SMs: the integral of the driver's "
        "samples.",
    ),
    _process(
        "gpu_process_utilization_ratio",
        Kind.GAUGE,
        "Share of the time in which a process used an engine, as the driver's last samples say.",
        "engine",
    ),
    _process(
        "gpu_process_start_timestamp_seconds",
        Kind.GAUGE,
        "Unix time of the start of a process.",
    ),
    _metric(
        "gpu_allocation_info",
        Kind.INFO,
        "owners",
        (*_GPU, "gpu_instance", *OWNER_LABELS, *PART_LABELS, "resource", "source", "shared"),
        "1 for each owner that holds the GPU, or a GPU instance of it, whether it is used or not. "
        "Shared is `yes` where it is one of several replicas.",
    ),
    _owner(
        "gpu_owner_memory_used_bytes",
        Kind.GAUGE,
        "Device memory of all processes of an owner.",
    ),
    _owner(
        "gpu_owner_busy_seconds_total",
        Kind.COUNTER,
        "Seconds for which kernels of an owner's processes ran on the SMs.",
    ),
    _owner(
        "gpu_owner_energy_joules_total",
        Kind.COUNTER,
        "Energy that an owner's work cost. Idle: what the GPU draws at rest, for its holders; "
        "active: what it draws above that, by SM time. All owners sum to the energy of the GPU.",
        "part",
    ),
    _owner(
        "gpu_owner_allocated_seconds_total",
        Kind.COUNTER,
        "Seconds for which an owner held the GPU.",
    ),
    _owner(
        "gpu_owner_idle_allocated_seconds_total",
        Kind.COUNTER,
        "Of these, seconds in which no kernel of the owner ran.",
    ),
    _owner("gpu_owner_processes", Kind.GAUGE, "Processes of an owner on the GPU."),
    _xid(
        "gpu_owner_xid_errors_total",
        Kind.COUNTER,
        "Reports of an XID that name a process of this owner, or a GPU instance that it alone "
        "holds, since the exporter started. A series begins with the first report, at 1.",
    ),
    _xid(
        "gpu_owner_xid_last_timestamp_seconds",
        Kind.GAUGE,
        "Unix time of the last of these reports.",
    ),
)
