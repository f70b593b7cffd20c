"""From a snapshot and the catalogue to the families of the device, by hand.

`generate_latest` of prometheus_client takes some 10 ms for 1,000 series and holds the
interpreter's lock meanwhile, which makes a fast sampler miss its ticks; prepared prefixes take
well under one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gpu_sentinel.catalogue import METRICS, Metric, Op
from gpu_sentinel.catalogue.health import verdicts
from gpu_sentinel.exposition import instances, owners
from gpu_sentinel.exposition.formats import Format, label, number
from gpu_sentinel.model import (
    DeviceId,
    DeviceSnapshot,
    Snapshot,
    Tier,
    TierSample,
    Value,
    XidReports,
)
from gpu_sentinel.sampling.health import Excuse, answer_due, down, never

_Rows = Iterator[tuple[tuple[str, ...], float]]
#: For one GPU and one metric: the key of each value, and what stands before it in the body.
_Table = tuple[tuple[str, str | tuple[str, ...]], ...]

_Inventory: TypeAlias = Callable[[Snapshot, float], _Rows]


def _info(metric: str) -> _Inventory:
    """What describes a GPU; no row for one that tells nothing of it."""
    described = next(m for m in METRICS if m.name == metric).all_labels[2:]

    def rows(snapshot: Snapshot, _now: float) -> _Rows:
        for device in snapshot.devices:
            if device.identity is not None:
                values = [device.identity.get(name, "") for name in described]
                if any(values):
                    yield (device.id.name, device.id.uuid, *values), 1.0

    return rows


def _driver_info(snapshot: Snapshot, _now: float) -> _Rows:
    info = snapshot.driver.info
    if info is not None:
        yield (info.driver_version, info.cuda_version, info.nvml_version), 1.0


def _lost(snapshot: Snapshot, _now: float) -> _Rows:
    for device in snapshot.devices:
        yield (device.id.name, device.id.uuid), float(device.lost)


def _outages(snapshot: Snapshot, _now: float) -> _Rows:
    for device in snapshot.devices:
        yield (device.id.name, device.id.uuid), float(device.outages)


def _availability(excuse: Excuse) -> Mapping[str, _Inventory]:
    """Whether GPUs answer; what counts as hanging depends on whether the exporter stood still."""

    def up(snapshot: Snapshot, now: float) -> _Rows:
        for device in snapshot.devices:
            yield (device.id.name, device.id.uuid), float(not down(device, now, excuse))

    def reasons(snapshot: Snapshot, now: float) -> _Rows:
        for device in snapshot.devices:
            if reason := down(device, now, excuse):
                address = (device.identity or {}).get("pci_bus_id", "")
                yield (device.id.name, device.id.uuid, address, reason), 1.0

    return {"gpu_up": up, "gpu_down_info": reasons}


def _health(snapshot: Snapshot, now: float) -> _Rows:
    for device in snapshot.devices:
        sample = device.tiers.get(Tier.SLOW)
        values = {} if sample is None or now > sample.taken + sample.lifetime else sample.values
        for check, verdict in verdicts(values, lost=device.lost).items():
            yield (device.id.name, device.id.uuid, check), verdict


def _xids(get: Callable[[XidReports], float]) -> _Inventory:
    def rows(snapshot: Snapshot, _now: float) -> _Rows:
        for device, reports in snapshot.xids.items():
            for xid, report in reports.items():
                yield (device.name, device.uuid, str(xid)), get(report)

    return rows


def _kernel_events(get: Callable[[XidReports], float]) -> _Inventory:
    def rows(snapshot: Snapshot, _now: float) -> _Rows:
        for about, reports in snapshot.kernel_events.items():
            yield (
                (about.gpu, about.uuid, about.pci_bus_id, about.event, about.code),
                get(reports),
            )

    return rows


def _mig_info(snapshot: Snapshot, _now: float) -> _Rows:
    return instances.described(_MIG_INFO, snapshot)


_MIG_INFO = next(m for m in METRICS if m.name == "gpu_mig_info")


def _count(get: Callable[[Snapshot], int | None]) -> _Inventory:
    def rows(snapshot: Snapshot, _now: float) -> _Rows:
        count = get(snapshot)
        if count is not None:
            yield (), float(count)

    return rows


_INVENTORY: Mapping[str, _Inventory] = {
    "gpu_info": _info("gpu_info"),
    "gpu_board_info": _info("gpu_board_info"),
    "gpu_fabric_info": _info("gpu_fabric_info"),
    "gpu_health_status": _health,
    "gpu_driver_info": _driver_info,
    "gpu_mig_info": _mig_info,
    "gpu_devices": _count(lambda s: s.driver.listed),
    "gpu_pci_devices": _count(lambda s: s.pci_devices),
    "gpu_expected_devices": _count(lambda s: s.expected_devices),
    **owners.FAMILIES,
    "gpu_lost": _lost,
    "gpu_outages_total": _outages,
    "gpu_xid_errors_total": _xids(lambda report: report.count),
    "gpu_xid_last_timestamp_seconds": _xids(lambda report: round(report.last, 3)),
    "gpu_kernel_events_total": _kernel_events(lambda report: report.count),
    "gpu_kernel_event_last_timestamp_seconds": _kernel_events(lambda report: round(report.last, 3)),
}


#: Their families are rendered anew only when a GPU's readings of that tier were replaced.
_KEPT = (Tier.SLOW, Tier.STATIC)


@dataclass(slots=True)
class _Kept:
    """What was rendered from the readings of one tier, by position of the metric."""

    samples: list[TierSample | None]
    devices: list[DeviceId]
    blocks: dict[int, str]


class DeviceRenderer:
    """Renders the device families; keeps the prefixes of every GPU that it has seen.

    One thread at a time for each format.
    """

    def __init__(self, metrics: tuple[Metric, ...] = METRICS, excuse: Excuse = never) -> None:
        """Prepare to render these metrics; `excuse` tells when the exporter itself stood still."""
        self._metrics = metrics
        self._excuse = excuse
        self._inventory = {**_INVENTORY, **_availability(excuse)}
        self._prefixes: dict[DeviceId, list[_Table]] = {}
        self._kept: dict[tuple[str, Tier], _Kept] = {}

    def render(self, snapshot: Snapshot, now: float, fmt: Format) -> tuple[str, float]:
        """The body, and the monotonic time at which something in it becomes too old."""
        fresh, expires = fresh_readings(snapshot.devices, now)
        devices = [device.id for device in snapshot.devices]
        kept = {tier: self._blocks(fmt, tier, devices, fresh[tier]) for tier in _KEPT}
        merged: list[tuple[list[_Table], Mapping[str, Value]]] = []
        for column, device in enumerate(devices):
            values: dict[str, Value] = {}
            for samples in fresh.values():
                sample = samples[column]
                if sample is not None:
                    values.update(sample.values)
            merged.append((self._tables(device), values))
        out: list[str] = []
        for position, metric in enumerate(self._metrics):
            blocks = kept.get(metric.tier) if metric.op is Op.READ else None
            block = None if blocks is None else blocks.get(position)
            if block is None:
                block = fmt.family(metric, self._lines(metric, position, snapshot, merged, now))
                if blocks is not None:
                    blocks[position] = block
            out.append(block)
        expires = min(
            expires,
            instances.expires(snapshot, now),
            owners.expires(snapshot, now),
            self._hangs_at(snapshot, now),
        )
        return "".join(out), expires

    def _lines(
        self,
        metric: Metric,
        position: int,
        snapshot: Snapshot,
        merged: Sequence[tuple[list[_Table], Mapping[str, Value]]],
        now: float,
    ) -> list[str]:
        """The samples of one family."""
        if metric.op is Op.INVENTORY:
            return _inventory_lines(metric, self._inventory[metric.name](snapshot, now))
        if metric.op is Op.INSTANCE:
            return instances.lines(metric, snapshot, now)
        lines: list[str] = []
        for tables, values in merged:
            _add_lines(lines, tables[position], values)
        return lines

    def _hangs_at(self, snapshot: Snapshot, now: float) -> float:
        """The monotonic time at which a GPU that answers now counts as one that hangs."""
        due = (answer_due(d, self._excuse) for d in snapshot.devices if not down(d, now))
        return min(due, default=float("inf"))

    def _blocks(
        self,
        fmt: Format,
        tier: Tier,
        devices: list[DeviceId],
        samples: list[TierSample | None],
    ) -> dict[int, str]:
        """What of this tier is rendered already, and where to put what is not."""
        kept = self._kept.get((fmt.name, tier))
        if (
            kept is None
            or kept.devices != devices
            or any(a is not b for a, b in zip(kept.samples, samples, strict=True))
        ):
            kept = self._kept[fmt.name, tier] = _Kept(samples, devices, {})
        return kept.blocks

    def _tables(self, device: DeviceId) -> list[_Table]:
        tables = self._prefixes.get(device)
        if tables is None:
            identity = label("gpu", device.name), label("uuid", device.uuid)
            tables = self._prefixes[device] = [_table(m, identity) for m in self._metrics]
        return tables


def fresh_readings(
    devices: Sequence[DeviceSnapshot], now: float
) -> tuple[dict[Tier, list[TierSample | None]], float]:
    """The readings that are young enough to be shown, by tier and GPU, and until when they are."""
    until = float("inf")
    fresh: dict[Tier, list[TierSample | None]] = {}
    for tier in Tier:
        fresh[tier] = found = []
        for device in devices:
            sample = device.tiers.get(tier)
            if sample is not None and now > sample.taken + sample.lifetime:
                sample = None
            if sample is not None:
                until = min(until, sample.taken + sample.lifetime)
            found.append(sample)
    return fresh, until


def _table(metric: Metric, identity: tuple[str, ...]) -> _Table:
    if metric.bounds:
        return _level_table(metric, identity)
    constant = tuple(label(name, value) for name, value in metric.constant.items())
    rows = []
    for values, key in metric.value_keys():
        own = map(label, metric.own_labels, values)
        inside = ",".join((*identity, *own, *constant))
        end = f',{metric.index}="' if metric.index else "} "
        rows.append((key, f"{metric.name}{{{inside}{end}"))
    return tuple(rows)


def _level_table(metric: Metric, identity: tuple[str, ...]) -> _Table:
    """A prefix for each bound, and one for all."""
    bounds = (*(f"{bound:g}" for bound in metric.bounds), "+Inf")
    labels = (",".join((*identity, label("le", bound))) for bound in bounds)
    prefixes = tuple(f"{metric.name}{{{inside}}} " for inside in labels)
    return tuple((key, prefixes) for _, key in metric.value_keys())


def _add_lines(lines: list[str], table: _Table, values: Mapping[str, Value]) -> None:
    for key, prefix in table:
        value = values.get(key)
        if value is None:
            continue
        if isinstance(value, tuple):
            lines += _several(prefix, value)
        elif isinstance(prefix, str):
            lines.append(prefix + number(value) + "\n")


def _several(prefix: str | tuple[str, ...], values: tuple[float, ...]) -> list[str]:
    if isinstance(prefix, tuple):
        return [f"{p}{number(v)}\n" for p, v in zip(prefix, values, strict=True)]
    # What is not a number was not plausible, or not answered.
    return [f'{prefix}{i}"}} {number(v)}\n' for i, v in enumerate(values) if v == v]  # noqa: PLR0124


def _inventory_lines(metric: Metric, rows: _Rows) -> list[str]:
    lines = []
    for values, count in rows:
        labels = ",".join(label(n, v) for n, v in zip(metric.all_labels, values, strict=True))
        lines.append(
            f"{metric.name}{{{labels}}} {number(count)}\n"
            if labels
            else f"{metric.name} {number(count)}\n"
        )
    return lines
