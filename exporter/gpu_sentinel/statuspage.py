"""What the landing page says about a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gpu_sentinel import __version__
from gpu_sentinel.exposition import ReloadState
from gpu_sentinel.model import DeviceSnapshot, Snapshot, Value
from gpu_sentinel.sampling.health import driver_due, hangs
from gpu_sentinel.web.landing import GpuRow, StatusPage


def status_page(
    snapshot: Snapshot,
    reload: ReloadState,
    scenario: str | None,
    clock: Callable[[], float] = monotonic,
) -> StatusPage:
    """The page as of now."""
    now = clock()
    info = snapshot.driver.info
    rows = tuple(_row(device, now) for device in snapshot.devices)
    return StatusPage(
        version=__version__,
        driver=f"Driver {info.driver_version}, CUDA {info.cuda_version}" if info else "No driver",
        gpus=rows,
        notes=(f"The GPUs are simulated (scenario {scenario}).",) if scenario else (),
        problems=tuple(_problems(snapshot, reload, rows, now)),
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
