"""Reading a /metrics page back: who uses and who holds the GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from gpu_sentinel.catalogue.owners import ACTIVE, IDLE
from gpu_sentinel.exposition.samples import Labels, Samples
from gpu_sentinel.model import NOBODY

#: Processes of an owner are fewer, and numbers of processes smaller.
_MOST = 10_000_000


@dataclass(slots=True, kw_only=True)
class _OfOwner:
    """Whose something is, and of which GPU; empty where there is no such thing."""

    gpu: int | str
    uuid: str
    owner_kind: str = ""
    owner: str = ""
    k8s_namespace: str = ""
    k8s_pod: str = ""
    slurm_job: str = ""
    slurm_account: str = ""
    user: str = ""


@dataclass(slots=True, kw_only=True)
class OwnerStatus(_OfOwner):
    """What of a GPU is one owner's; counters since the exporter started.

    Attributes:
        holds: whether the GPU, or a part of it, is allocated to the owner now.
        power_watts, sm_ratio: between two readings of the page; see usagerates.py.
    """

    holds: bool = False
    processes: int | None = None
    memory_used_bytes: float | None = None
    busy_seconds: float | None = None
    idle_joules: float | None = None
    active_joules: float | None = None
    allocated_seconds: float | None = None
    idle_allocated_seconds: float | None = None
    power_watts: float | None = None
    sm_ratio: float | None = None

    @property
    def joules(self) -> float | None:
        """Both parts of the energy."""
        if self.idle_joules is None and self.active_joules is None:
            return None
        return (self.idle_joules or 0.0) + (self.active_joules or 0.0)


@dataclass(slots=True, kw_only=True)
class ProcessStatus(_OfOwner):
    """A process on a GPU; `pid` is None where several are summed up."""

    gpu_instance: int | None = None
    pid: int | None = None
    process: str = ""
    k8s_container: str = ""
    slurm_step: str = ""
    memory_used_bytes: float | None = None
    busy_seconds: float | None = None
    sm_ratio: float | None = None
    start_timestamp_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class AllocationStatus(_OfOwner):
    """A GPU, or a GPU instance, that somebody holds."""

    gpu_instance: int | None = None
    k8s_container: str = ""
    slurm_step: str = ""
    resource: str = ""
    source: str = ""


_Record = TypeVar("_Record", bound=_OfOwner)

_NUMBERS = {
    "gpu_owner_memory_used_bytes": "memory_used_bytes",
    "gpu_owner_busy_seconds_total": "busy_seconds",
    "gpu_owner_allocated_seconds_total": "allocated_seconds",
    "gpu_owner_idle_allocated_seconds_total": "idle_allocated_seconds",
}
_PARTS = {IDLE: "idle_joules", ACTIVE: "active_joules"}
_OF_PROCESSES = {
    "gpu_process_memory_used_bytes": "memory_used_bytes",
    "gpu_process_busy_seconds_total": "busy_seconds",
    "gpu_process_start_timestamp_seconds": "start_timestamp_seconds",
}
_OWNER = ("owner_kind", "owner", "k8s_namespace", "k8s_pod", "slurm_job", "slurm_account", "user")
_PART = ("k8s_container", "slurm_step")


def allocations(samples: Samples) -> list[AllocationStatus]:
    """Who holds what, in the order of the page.

    Raises:
        ValueError: a series has not the labels that it should have.
    """
    names = (*_OWNER, *_PART, "resource", "source")
    return [
        _named(
            AllocationStatus(
                gpu=labels.gpu(),
                uuid=labels["uuid"],
                gpu_instance=_number(labels, "gpu_instance"),
            ),
            labels,
            names,
        )
        for labels, value in samples["gpu_allocation_info"]
        if value
    ]


def xid_owners(samples: Samples) -> dict[tuple[str, str], str]:
    """By UUID and XID, the owner whose process was named last, as far as one is known.

    Raises:
        ValueError: a series has not the labels that it should have.
    """
    reports = sorted(samples["gpu_owner_xid_last_timestamp_seconds"], key=lambda row: row[1])
    return {
        (labels["uuid"], labels["xid"]): labels["owner"]
        for labels, _ in reports
        if labels["owner_kind"] != NOBODY.kind
    }


def owners(samples: Samples) -> list[OwnerStatus]:
    """Those of each GPU, in the order of the page; also those that only hold it.

    Raises:
        ValueError: a series has not the labels that it should have.
    """
    found: dict[tuple[str, ...], OwnerStatus] = {}

    def of(labels: Labels) -> OwnerStatus:
        key = labels["uuid"], labels["owner_kind"], labels["owner"]
        if key not in found:
            new = OwnerStatus(gpu=labels.gpu(), uuid=labels["uuid"])
            found[key] = _named(new, labels, _OWNER)
        return found[key]

    for name, attribute in _NUMBERS.items():
        for labels, value in samples[name]:
            setattr(of(labels), attribute, value)
    for labels, value in samples["gpu_owner_energy_joules_total"]:
        if labels["part"] in _PARTS:
            setattr(of(labels), _PARTS[labels["part"]], value)
    for labels, value in samples["gpu_owner_processes"]:
        of(labels).processes = int(min(max(value, 0.0), _MOST))
    for labels, value in samples["gpu_allocation_info"]:
        if value:
            of(labels).holds = True
    return list(found.values())


def processes(samples: Samples) -> list[ProcessStatus]:
    """The processes on the GPUs, in the order of the page; none where their group is off.

    Raises:
        ValueError: a series has not the labels that it should have.
    """
    found: dict[tuple[str, ...], ProcessStatus] = {}

    def of(labels: Labels) -> ProcessStatus:
        # A number that is given anew may have two owners for a moment.
        key = tuple(
            labels[n] for n in ("uuid", "gpu_instance", "pid", "process", "owner_kind", "owner")
        )
        if key not in found:
            new = ProcessStatus(
                gpu=labels.gpu(),
                uuid=labels["uuid"],
                gpu_instance=_number(labels, "gpu_instance"),
                pid=_number(labels, "pid"),
            )
            found[key] = _named(new, labels, ("process", *_OWNER, *_PART))
        return found[key]

    for name, attribute in _OF_PROCESSES.items():
        for labels, value in samples[name]:
            setattr(of(labels), attribute, value)
    for labels, value in samples["gpu_process_utilization_ratio"]:
        if labels["engine"] == "sm":
            of(labels).sm_ratio = value
    return list(found.values())


def _named(record: _Record, labels: Labels, names: tuple[str, ...]) -> _Record:
    """A record with the labels of a series that it has attributes for."""
    for name in names:
        setattr(record, name, labels.get(name, ""))
    return record


def _number(labels: Labels, name: str) -> int | None:
    """A label that is a whole number, or nothing."""
    return labels.whole(name) if labels.get(name) else None
