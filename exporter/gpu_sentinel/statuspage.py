"""What the landing page says about a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from time import monotonic, time

from gpu_sentinel import __version__
from gpu_sentinel.catalogue import kernel
from gpu_sentinel.catalogue.availability import complaint, state
from gpu_sentinel.catalogue.health import complaints, verdicts, word
from gpu_sentinel.catalogue.xids import RECENT_SECONDS, URGENT_SECONDS, explain
from gpu_sentinel.exposition import ReloadState
from gpu_sentinel.model import (
    NOBODY,
    DeviceSnapshot,
    Snapshot,
    Tier,
    TierSample,
    Value,
    XidOwner,
    XidReports,
)
from gpu_sentinel.sampling.health import Excuse, down, driver_due, never
from gpu_sentinel.web.landing import GpuRow, InstanceRow, StatusPage, XidRow


def status_page(
    snapshot: Snapshot,
    reload: ReloadState,
    scenario: str | None,
    clock: Callable[[], float] = monotonic,
    wall: Callable[[], float] = time,
    *,
    excuse: Excuse = never,
) -> StatusPage:
    """The page as of now."""
    now = clock()
    xids = _xids(snapshot, wall())
    info = snapshot.driver.info
    urgent = {row.gpu for age, row in xids if _urgent(age, row)}
    rows = tuple(
        _row(
            device,
            _instances(snapshot, device, now),
            now,
            excuse,
            urgent=device.id.name in urgent,
        )
        for device in snapshot.devices
    )
    return StatusPage(
        version=__version__,
        driver=f"Driver {info.driver_version}, CUDA {info.cuda_version}" if info else "No driver",
        gpus=rows,
        xids=tuple(row for _, row in xids),
        notes=(f"The GPUs are simulated (scenario {scenario}).",) if scenario else (),
        problems=(
            *_problems(snapshot, reload, now, excuse),
            *_unhealthy(snapshot, now),
            *(_report(row) for age, row in xids if _urgent(age, row)),
            *_kernel_events(snapshot, wall()),
        ),
    )


def _problems(snapshot: Snapshot, reload: ReloadState, now: float, excuse: Excuse) -> list[str]:
    found = []
    if snapshot.driver.released:
        found.append(f"The driver is {snapshot.driver.error}.")
    elif snapshot.driver.error:
        found.append(f"NVML: {snapshot.driver.error}. Trying again.")
    elif snapshot.driver.info is None:
        found.append("NVML has not answered yet.")
    elif now > driver_due(snapshot, excuse):
        found.append("The driver does not answer any more.")
    silent = ((device.id.name, down(device, now, excuse)) for device in snapshot.devices)
    found += [f"GPU {gpu} is {complaint(reason)}." for gpu, reason in silent if reason]
    expected, listed = snapshot.expected_devices, snapshot.driver.listed
    if expected is not None and listed is not None and listed < expected:
        found.append(f"{expected} GPUs are expected, the driver lists {listed}.")
    if reload.error:
        found.append(f"The configuration was not reloaded: {reload.error}")
    return found


def _verdicts(device: DeviceSnapshot, now: float) -> dict[str, float]:
    sample = device.tiers.get(Tier.SLOW)
    fresh = sample is not None and now <= sample.taken + sample.lifetime
    return verdicts(sample.values if sample and fresh else {}, lost=device.lost)


def _unhealthy(snapshot: Snapshot, now: float) -> list[str]:
    found = []
    for device in snapshot.devices:
        read = _reader(device.tiers, now)
        said = complaints(_verdicts(device, now), read("recovery_action"))
        found += [f"GPU {device.id.name}: {what}." for what in said]
    return found


def _xids(snapshot: Snapshot, wall: float) -> list[tuple[float, XidRow]]:
    """Those of the last day, the newest first, each with its age."""
    found: list[tuple[float, tuple[bool, int, str], int, XidRow]] = []
    for device, reports in snapshot.xids.items():
        for number, report in reports.items():
            about = explain(number)
            row = XidRow(
                time=f"{datetime.fromtimestamp(report.last, timezone.utc):%d %b %H:%M:%S}",
                gpu=device.name,
                xid=str(number),
                severity=about.severity.value,
                bad=about.severity.pages,
                name=about.name,
                action=about.action,
                reports=str(report.count) if report.count else "-",
                owner=_named(snapshot.owner_xids.get(device, {}), number),
            )
            found.append((report.last, device.position, number, row))
    found.sort(key=lambda entry: (-entry[0], *entry[1:3]))
    return [(wall - last, row) for last, _, _, row in found if wall - last <= RECENT_SECONDS]


def _kernel_events(snapshot: Snapshot, wall: float) -> list[str]:
    return [
        kernel.complaint(s.event, gpu=s.gpu, pci_bus_id=s.pci_bus_id, code=s.code)
        for s, reports in snapshot.kernel_events.items()
        if kernel.urgent(s.event, wall - reports.last)
    ]


def _named(reports: Mapping[XidOwner, XidReports], xid: int) -> str:
    """The owner whose process an XID of a GPU has named last."""
    of_owners = (
        (report.last, about.owner.name)
        for about, report in reports.items()
        if about.xid == xid and about.owner.kind != NOBODY.kind
    )
    return max(of_owners, default=(0.0, "-"))[1]


def _urgent(age: float, row: XidRow) -> bool:
    return row.bad and age <= URGENT_SECONDS


def _report(row: XidRow) -> str:
    return f"GPU {row.gpu} has reported XID {row.xid} ({row.name}): {row.action}"


def _reader(tiers: Mapping[Tier, TierSample], now: float) -> Callable[[str], float | None]:
    """Gives the reading of a key, where it is young enough."""
    values: dict[str, Value] = {}
    for sample in tiers.values():
        if now <= sample.taken + sample.lifetime:
            values.update(sample.values)

    def read(key: str) -> float | None:
        value = values.get(key)
        return value if isinstance(value, float) else None

    return read


def _row(
    device: DeviceSnapshot,
    instances: tuple[InstanceRow, ...],
    now: float,
    excuse: Excuse,
    *,
    urgent: bool,
) -> GpuRow:
    read = _reader(device.tiers, now)
    used, total = read("memory.used"), read("memory.total")
    power, limit = read("power.draw.instant"), read("power.limit")
    reason = down(device, now, excuse)
    return GpuRow(
        index=device.id.name,
        name=(device.identity or {}).get("name", ""),
        uuid=device.id.uuid,
        state=state(reason) if reason else word(_verdicts(device, now), urgent=urgent),
        utilization=_show(read("utilization.gpu"), 100, "%"),
        memory=_of(used, total, 2**-30, "GiB"),
        power=_of(power, limit, 1, "W"),
        temperature=_show(read("temperature.gpu"), 1, "°C"),
        margin=_show(read("temperature.margin"), 1, "°C"),
        clock=_show(read("clocks.current.sm"), 1e-6, "MHz"),
        utilization_ratio=read("utilization.gpu"),
        memory_ratio=_ratio(used, total),
        instances=instances,
    )


def _instances(snapshot: Snapshot, device: DeviceSnapshot, now: float) -> tuple[InstanceRow, ...]:
    """The MIG devices of a GPU; memory and activity are those of the GPU instance of each."""
    here = [i for i in snapshot.instances if i.device.uuid == device.id.uuid]
    shared = {
        i.labels["gpu_instance"]: _reader(i.tiers, now) for i in here if "mig_uuid" not in i.labels
    }
    nothing = _reader({}, now)
    rows = []
    for instance in here:
        labels = instance.labels
        if "mig_uuid" not in labels:
            continue
        read = shared.get(labels["gpu_instance"], nothing)
        used, total = read("mig.memory.used"), read("mig.memory.total")
        active = read("mig.profiling.graphics_active")
        rows.append(
            InstanceRow(
                name=f"MIG {labels['profile']} "
                f"({labels['gpu_instance']}/{labels['compute_instance']})",
                uuid=labels["mig_uuid"],
                utilization=_show(active, 100, "%"),
                memory=_of(used, total, 2**-30, "GiB"),
                utilization_ratio=active,
                memory_ratio=_ratio(used, total),
            )
        )
    return tuple(rows)


def _ratio(value: float | None, limit: float | None) -> float | None:
    return None if value is None or not limit else value / limit


def _show(value: float | None, scale: float, unit: str) -> str:
    return "-" if value is None else f"{value * scale:.0f} {unit}"


def _of(value: float | None, limit: float | None, scale: float, unit: str) -> str:
    if value is None or limit is None:
        return _show(value, scale, unit)
    return f"{value * scale:.0f} / {limit * scale:.0f} {unit}"
