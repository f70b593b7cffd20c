"""Reading a /metrics page back: what a person or a program wants to know of each GPU."""

from __future__ import annotations

import reprlib
from collections import defaultdict
from dataclasses import dataclass, field

from gpu_sentinel.catalogue import kernel
from gpu_sentinel.catalogue.availability import HUNG, LOST, SILENT, complaint, state
from gpu_sentinel.catalogue.health import complaints, word
from gpu_sentinel.catalogue.kernel import KERNEL_EVENTS
from gpu_sentinel.catalogue.xids import RECENT_SECONDS, URGENT_SECONDS, Severity, explain
from gpu_sentinel.exposition.ownersreader import (
    AllocationStatus,
    OwnerStatus,
    ProcessStatus,
    allocations,
    owners,
    processes,
    xid_owners,
)
from gpu_sentinel.exposition.samples import Samples, read

#: Seconds without a new sample, beyond its interval, after which a GPU counts as silent.
SILENT_SECONDS = 5.0


@dataclass(slots=True)
class MigStatus:
    """One MIG device; memory and activity are those of its GPU instance."""

    mig_uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    graphics_active_ratio: float | None = None


@dataclass(slots=True)
class GpuStatus:
    """One GPU; units as in the metrics, None where it has no such reading.

    Attributes:
        gpu: the index; the PCI address of a GPU that the driver does not list.
        state: one of `SILENT`, or else `ok`, `degraded`, `failed`: the worst of the
            driver's verdicts, where an XID that somebody has to act on now counts as `failed`.
        reason: why it does not answer, in one word; empty where it does.
    """

    gpu: int | str
    uuid: str
    state: str = "ok"
    reason: str = ""
    name: str = ""
    pci_bus_id: str = ""
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: float | None = None
    temperature_margin_celsius: float | None = None
    clock_sm_hertz: float | None = None
    health: dict[str, int] = field(default_factory=dict)
    recovery_action: float | None = None
    instances: list[MigStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class XidStatus:
    """An XID that a GPU has reported.

    Attributes:
        reports: those since the exporter started.
        owner: whose process it named last; empty where none is known.
    """

    gpu: int | str
    uuid: str
    xid: int
    name: str
    severity: str
    action: str
    reports: int
    last_timestamp_seconds: float
    age_seconds: float
    owner: str = ""

    @property
    def problem(self) -> bool:
        """Whether somebody has to act on it now."""
        return Severity(self.severity).pages and self.age_seconds <= URGENT_SECONDS


@dataclass(frozen=True, slots=True)
class KernelEventStatus:
    """An event in the kernel log; labels as in `gpu_kernel_events_total`."""

    gpu: str
    uuid: str
    pci_bus_id: str
    event: str
    code: str
    last_timestamp_seconds: float
    age_seconds: float

    @property
    def problem(self) -> bool:
        """Whether somebody has to act on it now."""
        return kernel.urgent(self.event, self.age_seconds)

    @property
    def complaint(self) -> str:
        """What is wrong, as a sentence."""
        return kernel.complaint(
            self.event, gpu=self.gpu, pci_bus_id=self.pci_bus_id, code=self.code
        )


@dataclass(slots=True)
class Status:
    """The exporter, the driver and the GPUs; counts are None where they are not known."""

    exporter_version: str = ""
    nvml_up: bool = False
    released: bool = False
    driver_version: str = ""
    cuda_version: str = ""
    devices: int | None = None
    expected_devices: int | None = None
    gpus: list[GpuStatus] = field(default_factory=list)
    xids: list[XidStatus] = field(default_factory=list)
    kernel_events: list[KernelEventStatus] = field(default_factory=list)
    owners: list[OwnerStatus] = field(default_factory=list)
    processes: list[ProcessStatus] = field(default_factory=list)
    allocations: list[AllocationStatus] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        found = []
        if self.released:
            found.append("the driver is released on request (gpu_sentinel_nvml_released 1)")
        elif not self.nvml_up:
            found.append("the driver does not answer (gpu_sentinel_nvml_up 0)")
        found += [f"GPU {g.gpu} is {complaint(g.reason)}" for g in self.gpus if g.reason]
        found += [
            f"GPU {g.gpu}: {what}"
            for g in self.gpus
            for what in complaints(g.health, g.recovery_action)
        ]
        found += [
            f"GPU {x.gpu} has reported XID {x.xid} ({x.name}): {x.action}"
            for x in self.xids
            if x.problem
        ]
        found += [event.complaint for event in self.kernel_events if event.problem]
        if self.devices is not None and self.devices > len(self.gpus):
            found.append(
                f"the driver lists {self.devices} GPUs, {len(self.gpus)} have told who they are"
            )
        if self.expected_devices is not None and self.nvml_up:
            missing = self.expected_devices - (self.devices or 0)
            if missing > 0:
                found.append(f"{missing} of {self.expected_devices} expected GPUs are missing")
        return found


_READINGS = {
    "gpu_utilization_ratio": "utilization_ratio",
    "gpu_memory_used_bytes": "memory_used_bytes",
    "gpu_memory_total_bytes": "memory_total_bytes",
    "gpu_power_watts": "power_watts",
    "gpu_power_limit_watts": "power_limit_watts",
    "gpu_temperature_celsius": "temperature_celsius",
    "gpu_temperature_margin_celsius": "temperature_margin_celsius",
    "gpu_recovery_action": "recovery_action",
}

_INSTANCE_READINGS = {
    "gpu_mig_instance_memory_used_bytes": "memory_used_bytes",
    "gpu_mig_instance_memory_total_bytes": "memory_total_bytes",
    "gpu_mig_instance_graphics_active_ratio": "graphics_active_ratio",
}

#: GPUs, instances and reports of XIDs are fewer.
_MOST = 10_000_000


class _Gpus(dict[str, GpuStatus]):
    """The GPUs by UUID; each of which something is told has to be there."""

    def __missing__(self, uuid: str) -> GpuStatus:
        raise ValueError(f"a reading of {reprlib.repr(uuid)}, which is no GPU of this page")


def parse_status(body: str, now: float) -> Status:
    """The status in a /metrics body of the text format.

    Args:
        body: as scraped.
        now: Unix time of the scrape, by the exporter's clock.

    Raises:
        ValueError: it is not a page of this exporter.
    """
    samples = read(body)
    if "gpu_sentinel_build_info" not in samples:
        raise ValueError("no gpu_sentinel_build_info in it")
    driver = samples["gpu_driver_info"][0][0] if samples["gpu_driver_info"] else {}
    status = Status(
        exporter_version=samples["gpu_sentinel_build_info"][0][0].get("version", ""),
        nvml_up=_single(samples, "gpu_sentinel_nvml_up") == 1,
        released=_single(samples, "gpu_sentinel_nvml_released") == 1,
        driver_version=driver.get("driver_version", ""),
        cuda_version=driver.get("cuda_version", ""),
        devices=_whole(_single(samples, "gpu_devices")),
        expected_devices=_whole(_single(samples, "gpu_expected_devices")),
    )
    status.gpus = _gpus(samples, now)
    status.xids = _xids(samples, now)
    status.kernel_events = _kernel_events(samples, now)
    status.owners, status.processes = owners(samples), processes(samples)
    status.allocations = allocations(samples)
    urgent = {xid.uuid for xid in status.xids if xid.problem}
    for gpu in status.gpus:
        if gpu.state not in SILENT:
            gpu.state = word(gpu.health, urgent=gpu.uuid in urgent)
    return status


def _single(samples: Samples, name: str) -> float | None:
    return samples[name][0][1] if samples[name] else None


def _whole(value: float | None) -> int | None:
    if value is None:
        return None
    if not 0 <= value <= _MOST:
        raise ValueError(f"{value:g} is no number of GPUs")
    return int(value)


def _kernel_events(samples: Samples, now: float) -> list[KernelEventStatus]:
    """Those of the last day that this version knows, the newest first."""
    found = [
        KernelEventStatus(
            gpu=labels.get("gpu", ""),
            uuid=labels.get("uuid", ""),
            pci_bus_id=labels.get("pci_bus_id", ""),
            event=labels.get("event", ""),
            code=labels.get("code", ""),
            last_timestamp_seconds=last,
            age_seconds=max(now - last, 0.0),
        )
        for labels, last in samples["gpu_kernel_event_last_timestamp_seconds"]
        if labels.get("event", "") in KERNEL_EVENTS and now - last <= RECENT_SECONDS
    ]
    return sorted(found, key=lambda event: event.age_seconds)


def _xids(samples: Samples, now: float) -> list[XidStatus]:
    """Those of the last day, the newest first."""
    counts = {
        (labels["uuid"], labels["xid"]): int(min(max(value, 0.0), _MOST))
        for labels, value in samples["gpu_xid_errors_total"]
    }
    whose = xid_owners(samples)
    found = []
    for labels, last in samples["gpu_xid_last_timestamp_seconds"]:
        uuid, about = labels["uuid"], explain(labels.whole("xid"))
        found.append(
            XidStatus(
                gpu=labels.gpu(),
                uuid=uuid,
                xid=about.number,
                name=about.name,
                severity=about.severity.value,
                action=about.action,
                reports=counts.get((uuid, labels["xid"]), 0),
                last_timestamp_seconds=last,
                age_seconds=round(max(now - last, 0.0), 3),
                owner=whose.get((uuid, labels["xid"]), ""),
            )
        )
    recent = [xid for xid in found if xid.age_seconds <= RECENT_SECONDS]
    return sorted(recent, key=lambda xid: (-xid.last_timestamp_seconds, _order(xid.gpu), xid.xid))


def _known(samples: Samples) -> _Gpus:
    """Every GPU of the page; a selection of metrics may have taken `gpu_lost` away."""
    lost = {labels["uuid"] for labels, value in samples["gpu_lost"] if value}
    series = (*samples["gpu_lost"], *samples["gpu_sentinel_sample_interval_seconds"])
    return _Gpus(
        (uuid, GpuStatus(labels.gpu(), uuid, reason=LOST if uuid in lost else HUNG))
        for labels, _ in series
        for uuid in (labels["uuid"],)
    )


def _gpus(samples: Samples, now: float) -> list[GpuStatus]:
    gpus = _known(samples)
    for labels, _ in samples["gpu_info"]:
        gpu = gpus[labels["uuid"]]
        gpu.name, gpu.pci_bus_id = labels["name"], labels["pci_bus_id"]
    for name, attribute in _READINGS.items():
        for labels, value in samples[name]:
            setattr(gpus[labels["uuid"]], attribute, value)
    for labels, value in samples["gpu_health_status"]:
        gpus[labels["uuid"]].health[labels["check"]] = int(min(max(value, 0.0), _MOST))
    for labels, value in samples["gpu_clock_hertz"]:
        if labels["clock"] == "sm":
            gpus[labels["uuid"]].clock_sm_hertz = value
    for uuid, instances in _instances(samples).items():
        gpus[uuid].instances = instances
    _find_reasons(gpus, samples, now)
    for gpu in gpus.values():
        gpu.state = state(gpu.reason)
    return sorted(gpus.values(), key=lambda g: (_order(g.gpu), g.uuid))


def _order(gpu: int | str) -> tuple[bool, int, str]:
    """GPUs that the driver lists come first."""
    return (False, gpu, "") if isinstance(gpu, int) else (True, 0, gpu)


def _find_reasons(gpus: _Gpus, samples: Samples, now: float) -> None:
    """Who answers, and why the others do not: as the exporter says, and by the age of readings."""
    intervals = {
        labels["uuid"]: value for labels, value in samples["gpu_sentinel_sample_interval_seconds"]
    }
    ages = {
        labels["uuid"]: now - taken
        for labels, taken in samples["gpu_sentinel_last_sample_timestamp_seconds"]
        if labels["tier"] == "fast"
    }
    up = {labels["uuid"] for labels, value in samples["gpu_up"] if value}
    for uuid, gpu in gpus.items():
        limit = SILENT_SECONDS + 2 * intervals.get(uuid, 0.0)
        # One that has no readings at all may answer nevertheless, as some tell nothing.
        if gpu.reason == HUNG and (ages[uuid] <= limit if uuid in ages else uuid in up):
            gpu.reason = ""
    for labels, _ in samples["gpu_down_info"]:
        gpus[labels["uuid"]].reason = labels["reason"]


def _instances(samples: Samples) -> dict[str, list[MigStatus]]:
    """The MIG devices by UUID of the GPU."""
    found: dict[str, list[MigStatus]] = defaultdict(list)
    for labels, _ in samples["gpu_mig_info"]:
        found[labels["uuid"]].append(
            MigStatus(
                labels["mig_uuid"],
                labels.whole("gpu_instance"),
                labels.whole("compute_instance"),
                labels["profile"],
            )
        )
    for name, attribute in _INSTANCE_READINGS.items():
        values = {
            (labels["uuid"], labels.whole("gpu_instance")): value for labels, value in samples[name]
        }
        for uuid, instances in found.items():
            for instance in instances:
                setattr(instance, attribute, values.get((uuid, instance.gpu_instance)))
    return found
