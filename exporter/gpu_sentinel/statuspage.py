"""What the landing page says about a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from time import monotonic, time

from gpu_sentinel import __version__
from gpu_sentinel.catalogue.health import complaints, verdicts
from gpu_sentinel.catalogue.xids import RECENT_SECONDS, URGENT_SECONDS, explain
from gpu_sentinel.exposition import ReloadState
from gpu_sentinel.model import DeviceSnapshot, Snapshot, Tier, Value
from gpu_sentinel.sampling.health import driver_due, hangs
from gpu_sentinel.web.landing import GpuRow, StatusPage, XidRow


def status_page(
    snapshot: Snapshot,
    reload: ReloadState,
    scenario: str | None,
    clock: Callable[[], float] = monotonic,
    wall: Callable[[], float] = time,
) -> StatusPage:
    """The page as of now."""
    now = clock()
    xids = _xids(snapshot, wall())
    info = snapshot.driver.info
    rows = tuple(_row(device, now) for device in snapshot.devices)
    return StatusPage(
        version=__version__,
        driver=f"Driver {info.driver_version}, CUDA {info.cuda_version}" if info else "No driver",
        gpus=rows,
        xids=tuple(row for _, row in xids),
        notes=(f"The GPUs are simulated (scenario {scenario}).",) if scenario else (),
        problems=(
            *_problems(snapshot, reload, rows, now),
            *_unhealthy(snapshot, now),
            *_urgent(xids),
        ),
    )


def _problems(
    snapshot: Snapshot, reload: ReloadState, rows: tuple[GpuRow, ...], now: float
) -> list[str]:
    found = []
    if snapshot.driver.released:
        found.append(f"The driver is {snapshot.driver.error}.")
    elif snapshot.driver.error:
        found.append(f"NVML: {snapshot.driver.error}. Trying again.")
    elif snapshot.driver.info is None:
        found.append("NVML has not answered yet.")
    elif now > driver_due(snapshot):
        found.append("The driver does not answer any more.")
    found += [f"GPU {row.index} is {row.state}." for row in rows if row.state != "ok"]
    expected, listed = snapshot.expected_devices, snapshot.driver.listed
    if expected is not None and listed is not None and listed < expected:
        found.append(f"{expected} GPUs are expected, the driver lists {listed}.")
    if reload.error:
        found.append(f"The configuration was not reloaded: {reload.error}")
    return found


def _unhealthy(snapshot: Snapshot, now: float) -> list[str]:
    found = []
    for device in snapshot.devices:
        sample = device.tiers.get(Tier.SLOW)
        if sample is not None and now <= sample.taken + sample.lifetime:
            said = complaints(verdicts(sample.values, lost=False))
            found += [f"GPU {device.id.index}: {what}." for what in said]
    return found


def _xids(snapshot: Snapshot, wall: float) -> list[tuple[float, XidRow]]:
    """Those of the last day, the newest first, each with its age."""
    found = []
    for device, reports in snapshot.xids.items():
        for number, report in reports.items():
            about = explain(number)
            row = XidRow(
                time=f"{datetime.fromtimestamp(report.last, timezone.utc):%d %b %H:%M:%S}",
                gpu=str(device.index),
                xid=str(number),
                severity=about.severity.value,
                bad=about.severity.pages,
                name=about.name,
                action=about.action,
                reports=str(report.count) if report.count else "-",
            )
            found.append((wall - report.last, row))
    found.sort(key=lambda pair: (pair[0], pair[1].gpu, pair[1].xid))
    return [pair for pair in found if pair[0] <= RECENT_SECONDS]


def _urgent(xids: list[tuple[float, XidRow]]) -> list[str]:
    return [
        f"GPU {row.gpu} has reported XID {row.xid} ({row.name}): {row.action}"
        for age, row in xids
        if row.bad and age <= URGENT_SECONDS
    ]


def _row(device: DeviceSnapshot, now: float) -> GpuRow:
    values: dict[str, Value] = {}
    for sample in device.tiers.values():
        if now <= sample.taken + sample.lifetime:
            values.update(sample.values)

    def read(key: str) -> float | None:
        value = values.get(key)
        return value if isinstance(value, float) else None

    used, total = read("memory.used"), read("memory.total")
    ratio = None if used is None or not total else used / total
    power, limit = read("power.draw.instant"), read("power.limit")
    return GpuRow(
        index=str(device.id.index),
        name=(device.identity or {}).get("name", ""),
        uuid=device.id.uuid,
        state=_state(device, now),
        utilization=_show(read("utilization.gpu"), 100, "%"),
        memory=_of(used, total, 2**-30, "GiB"),
        power=_of(power, limit, 1, "W"),
        temperature=_show(read("temperature.gpu"), 1, "°C"),
        margin=_show(read("temperature.margin"), 1, "°C"),
        clock=_show(read("clocks.current.sm"), 1e-6, "MHz"),
        utilization_ratio=read("utilization.gpu"),
        memory_ratio=ratio,
    )


def _state(device: DeviceSnapshot, now: float) -> str:
    if device.lost:
        return "lost"
    return "not answering" if hangs(device, now) or not device.tiers else "ok"


def _show(value: float | None, scale: float, unit: str) -> str:
    return "-" if value is None else f"{value * scale:.0f} {unit}"


def _of(value: float | None, limit: float | None, scale: float, unit: str) -> str:
    if value is None or limit is None:
        return _show(value, scale, unit)
    return f"{value * scale:.0f} / {limit * scale:.0f} {unit}"
