"""The readings under DCGM's names, as dcgm-exporter writes them, for `--compat dcgm`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gpu_sentinel.catalogue import Kind
from gpu_sentinel.catalogue.dcgm import DCGM, FIELD_LABELS, XID_ERRORS, DcgmMetric, Sum
from gpu_sentinel.catalogue.xids import explain
from gpu_sentinel.exposition.dcgmholders import NOBODY_HOLDS, Holding
from gpu_sentinel.exposition.formats import Format, label, number
from gpu_sentinel.exposition.render import fresh_readings
from gpu_sentinel.model import (
    UNLISTED,
    DeviceId,
    DeviceSnapshot,
    DriverInfo,
    Snapshot,
    Usage,
    Value,
)

#: dcgm-exporter writes `Hostname` up to 4.5.3 and `hostname` after it.
HOSTNAME_LABELS = ("Hostname", "hostname")


@dataclass(frozen=True, slots=True)
class Xid:
    """The last XID of a GPU; code 0 where there was none."""

    code: int
    message: str


NO_XID = Xid(0, "No Error")


def last_xid(snapshot: Snapshot, device: DeviceId) -> Xid:
    """The XID that a GPU has reported last since the exporter started."""
    reports = snapshot.xids.get(device, {})
    new = [(report.last, number) for number, report in reports.items() if report.count]
    if not new:
        return NO_XID
    _, number = max(new)
    return Xid(number, explain(number).name)


@dataclass(frozen=True, slots=True)
class GpuInstance:
    """A GPU instance of a GPU that MIG splits up, as far as DCGM's rows tell of it.

    Attributes:
        profile: as `1g.10gb`.
        number: of the GPU instance.
        values: readings of the instance, by the keys that the whole GPU has.
    """

    profile: str
    number: int
    values: Mapping[str, Value]


#: None where nobody watches for XIDs.
LastXid: TypeAlias = Callable[[Snapshot, DeviceId], Xid | None]
#: Those of a GPU at a monotonic time; empty where it is not split up.
GpuInstances: TypeAlias = Callable[[Snapshot, DeviceId, float], Sequence[GpuInstance]]

#: Who holds a GPU, or a GPU instance by its number; at least one.
Holders: TypeAlias = Callable[[Usage | None, int | None], Sequence[Holding]]

#: On which the labels of a GPU depend.
_Facts: TypeAlias = tuple[DeviceId, Mapping[str, str], DriverInfo | None, str, int, tuple[str, ...]]


@dataclass(slots=True)
class _Row:
    """What stands before the value, and the last value with its line."""

    prefix: str
    last: tuple[float, str] | None = None


@dataclass(slots=True)
class _Rows:
    """The rows of one GPU or GPU instance, one a metric."""

    facts: _Facts
    rows: tuple[_Row, ...]


class DcgmRenderer:
    """Renders the families; keeps the labels of every GPU that it has seen.

    Two threads, one for each format, may use it at the same time: what it keeps is the same for
    both, and each of its parts is replaced by one assignment.
    """

    def __init__(
        self,
        hostname: str,
        hostname_label: str = HOSTNAME_LABELS[0],
        last_xid: LastXid = lambda _snapshot, _device: None,
        instances: GpuInstances = lambda _snapshot, _device, _now: (),
        holders: Holders = lambda _usage, _instance: NOBODY_HOLDS,
    ) -> None:
        self._hostname = label(hostname_label, hostname)
        self._last_xid = last_xid
        self._instances = instances
        self._holders = holders
        #: By GPU, GPU instance, and the place among its holders: as many as there were at a time.
        self._known: dict[tuple[str, int, int], _Rows] = {}

    def render(self, snapshot: Snapshot, now: float, fmt: Format) -> tuple[str, float]:
        """The families, and the monotonic time at which something in them becomes too old."""
        readings, expires = fresh_readings(snapshot.devices, now)
        lines: list[list[str]] = [[] for _ in DCGM]
        usages = {u.device.uuid: u for u in snapshot.usage if now <= u.taken + u.lifetime}
        for column, device in enumerate(snapshot.devices):
            values: dict[str, Value] = {}
            for samples in readings.values():
                sample = samples[column]
                if sample is not None:
                    values.update(sample.values)
            if device.identity is None or device.id.index == UNLISTED:
                continue
            # A GPU that is lost has no readings, but an XID that tells why.
            xid = self._last_xid(snapshot, device.id)
            # As with dcgm-exporter: the instances of a GPU that is split up stand in its place,
            # and what is told only of the whole GPU stands on each of them.
            for instance in self._instances(snapshot, device.id, now) or (None,):
                found = values if instance is None else {**values, **instance.values}
                number = None if instance is None else instance.number
                holders = self._holders(usages.get(device.id.uuid), number)
                for place, holder in enumerate(holders):
                    rows = self._rows(
                        device,
                        device.identity,
                        snapshot.driver.info,
                        instance,
                        holder=holder,
                        place=place,
                    )
                    own = {**found, **holder.own} if holder.own else found
                    _add_lines(lines, rows, own, xid)
        families = (
            _header(metric, fmt) + "".join(found)
            for metric, found in zip(DCGM, lines, strict=True)
            if found
        )
        return "".join(families), expires

    def _rows(
        self,
        device: DeviceSnapshot,
        identity: Mapping[str, str],
        driver: DriverInfo | None,
        instance: GpuInstance | None,
        *,
        holder: Holding,
        place: int,
    ) -> tuple[_Row, ...]:
        profile, slot = (instance.profile, instance.number) if instance else ("", -1)
        facts = (device.id, identity, driver, profile, slot, holder.labels)
        known = self._known.get((device.id.uuid, slot, place))
        if known is None or known.facts != facts:
            labels = self._labels(device.id, identity, driver, instance)
            before = ",".join((*labels, *holder.labels))
            rows = tuple(_Row(f"{metric.name}{{{before}") for metric in DCGM)
            known = self._known[device.id.uuid, slot, place] = _Rows(facts, rows)
        return known.rows

    def _labels(
        self,
        device: DeviceId,
        identity: Mapping[str, str],
        driver: DriverInfo | None,
        instance: GpuInstance | None,
    ) -> list[str]:
        labels = [
            label("gpu", str(device.index)),
            label("UUID", device.uuid),
            label("pci_bus_id", identity.get("pci_bus_id", "")),
            # Not the minor number: dcgm-exporter puts the index here too.
            label("device", f"nvidia{device.index}"),
            label("modelName", identity.get("name", "")),
        ]
        if instance is not None:
            labels += [
                label("GPU_I_PROFILE", instance.profile),
                label("GPU_I_ID", str(instance.number)),
            ]
        labels.append(self._hostname)
        told = {**identity, "driver_version": driver.driver_version if driver else ""}
        labels += [label(name, told[key]) for name, key in FIELD_LABELS.items() if told.get(key)]
        return labels


def _add_lines(
    lines: Sequence[list[str]],
    rows: Sequence[_Row],
    values: Mapping[str, Value],
    xid: Xid | None,
) -> None:
    for found, metric, row in zip(lines, DCGM, rows, strict=True):
        if metric is XID_ERRORS:
            if xid is not None:
                about = f"{label('err_code', str(xid.code))},{label('err_msg', xid.message)}"
                found.append(f"{row.prefix},{about}}} {xid.code}\n")
            continue
        value = _reading(metric.readings, values)
        if value is None:
            continue
        last = row.last
        if last is None or last[0] != value:
            line = f"{row.prefix}}} {number(metric.unit.convert(value))}\n"
            last = row.last = (value, line)
        found.append(last[1])


def _reading(alternatives: tuple[Sum, ...], values: Mapping[str, Value]) -> float | None:
    for summands in alternatives:
        found = [values.get(key) for key in summands]
        numbers = [value for value in found if isinstance(value, float)]
        if len(numbers) == len(found):
            return sum(numbers)
    return None


def _header(metric: DcgmMetric, fmt: Format) -> str:
    """The comment lines before a family.

    Their counters have no `_total`, without which OpenMetrics allows no counter, and clients that
    know better would append it: to both formats these are of no known type.
    """
    unknown = "unknown" if fmt.openmetrics else "untyped"
    kind = "gauge" if metric.kind is Kind.GAUGE else unknown
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {kind}\n"
