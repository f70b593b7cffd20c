"""Which XIDs were reported: counted for each GPU, published, and told in the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from gpu_sentinel.catalogue.xids import XIDS, Severity, explain
from gpu_sentinel.host import bus_address, pci_address
from gpu_sentinel.model import DeviceId, XidReports
from gpu_sentinel.sampling.store import SnapshotStore

log = logging.getLogger(__name__)

#: Between two publications, so that a flood does not make the page anew all the time.
PUBLISH_SECONDS = 0.3
#: Between two lines in the log about the same XID of the same GPU.
LOG_SECONDS = 60.0
#: The kernel log and NVML tell of one error within this time: syslog daemons may keep lines back
#: for a second or some, and NVML is asked five times a second.
SAME_SECONDS = 10.0
#: What a log that lies can make us remember: XIDs beside those of the table, and addresses.
_MOST_UNKNOWN_XIDS = 16
_MOST_ADDRESSES = 128
#: Of these addresses, so many are shown where no GPU is known.
_MOST_STRANGERS = 32
#: A GPU that has not told its address so long after its report is not listed; it may be later.
STRANGE_SECONDS = 30.0

_LEVELS = {
    Severity.FATAL: logging.ERROR,
    Severity.RESET: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.APPLICATION: logging.INFO,
    Severity.INFO: logging.INFO,
}


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a report names, as far as it does.

    Attributes:
        pid: of a process, on the host.
        gpu_instance: of MIG.
    """

    pid: int | None = None
    gpu_instance: int | None = None


@dataclass(frozen=True, slots=True)
class NamingReport:
    """A new report that names a process or a GPU instance; `wall` is Unix time."""

    device: DeviceId
    xid: int
    wall: float
    named: Named


#: GPUs that were seen since the exporter started, with the PCI address as NVML writes it.
Known: TypeAlias = Callable[[], Iterable[tuple[DeviceId, str]]]


_NONE = XidReports()
_NO_ONE = Named()
#: Who reports.
KERNEL_LOG, NVML = 1, -1


@dataclass(slots=True)
class _Entry:
    """One XID of one GPU.

    Attributes:
        told: when the log last said so.
        untold: what it did not say since.
        ahead: reports of the kernel log that NVML has not told too; below 0, the other way round.
        ahead_at: when that was last.
    """

    reports: XidReports = _NONE
    told: float | None = None
    untold: int = 0
    ahead: int = 0
    ahead_at: float = float("-inf")

    def told_twice(self, source: int, now: float) -> bool:
        """Whether the other source has told of a new report already; `source` is 1 or -1."""
        if now - self.ahead_at > SAME_SECONDS:
            self.ahead = 0
        twice = self.ahead * source < 0
        self.ahead += source
        if not twice:
            self.ahead_at = now
        return twice


@dataclass(slots=True)
class _Gpu:
    """One GPU, or an address at which none is known; `id` is None there.

    Attributes:
        since: when the address was heard of first; monotonic seconds.
    """

    id: DeviceId | None = None
    since: float = 0.0
    entries: dict[int, _Entry] = field(default_factory=dict)


class XidBook:
    """What was reported since the exporter started, and before. Any thread may use it.

    GPUs are known by UUID, so that counts outlive a loss or another driver. Reports from an
    address at which no GPU is known are given to the GPU that tells this address later. After half
    a minute they are shown as those of a GPU that the driver does not list.

    Where the kernel log and NVML both tell of the same XID of the same GPU within `SAME_SECONDS`,
    it counts once: as many times as the one that has told it more often says. Whom it names is
    what the first of the two says.
    """

    def __init__(
        self,
        store: SnapshotStore,
        known: Known,
        clock: Callable[[], float] = time.monotonic,
        *,
        reported: Callable[[str], None] = lambda _uuid: None,
        named: Callable[[NamingReport], None] | None = None,
        stranger: Callable[[str], DeviceId | None] = lambda _bus: None,
    ) -> None:
        """Prepare.

        Args:
            store: where reports are published.
            known: the GPUs; asked again and again.
            clock: monotonic seconds.
            reported: called with the UUID of a GPU that has reported an XID.
            named: called with each new report that names somebody; must not wait.
            stranger: what a GPU is called that the driver does not list, by its `bus_address`;
                None where it is none of the driver's.
        """
        self._store = store
        self._known = known
        self._clock = clock
        self._reported = reported
        self._named = named
        self._stranger = stranger
        self._lock = threading.Lock()
        self._gpus: dict[str, _Gpu] = {}
        self._strangers: dict[str, _Gpu] = {}
        self._shown: dict[str, DeviceId] = {}
        self._published_at = float("-inf")
        self._changed = False

    def by_address(
        self, bus: str, xid: int, wall: float, detail: str, *, new: bool, named: Named = _NO_ONE
    ) -> None:
        """Take a report from the kernel log; `bus` as `bus_address` writes it."""
        with self._lock:
            for id_, address in self._known():
                if bus_address(address) == bus:
                    report = NamingReport(id_, xid, wall, named)
                    self._by_gpu(report, detail, new=new, source=KERNEL_LOG)
                    return
            if bus not in self._strangers and len(self._strangers) >= _MOST_ADDRESSES:
                return
            gpu = self._strangers.setdefault(bus, _Gpu(since=self._clock()))
            fields: dict[str, object] = {"pci_bus_id": pci_address(bus), "detail": detail}
            self._take(gpu, xid, wall, new=new, source=KERNEL_LOG, fields=fields)

    def by_gpu(
        self, id_: DeviceId, xid: int, wall: float, *, new: bool, named: Named = _NO_ONE
    ) -> None:
        """Take a report of a GPU from NVML."""
        with self._lock:
            self._by_gpu(NamingReport(id_, xid, wall, named), "", new=new, source=NVML)

    def begins(self, source: int) -> None:
        """This source tells what comes from now on, and nothing that the other has told before."""
        with self._lock:
            for gpu in (*self._strangers.values(), *self._gpus.values()):
                for entry in gpu.entries.values():
                    if entry.ahead * source < 0:
                        entry.ahead = 0

    def settle(self) -> None:
        """Give reports to GPUs that are known by now, tell the log, publish; whenever it suits."""
        with self._lock:
            self._settle(self._clock())

    def _by_gpu(self, report: NamingReport, detail: str, *, new: bool, source: int) -> None:
        id_ = report.device
        gpu = self._gpus.setdefault(id_.uuid, _Gpu(id_))
        gpu.id = id_
        fields: dict[str, object] = {"gpu": id_.name, "uuid": id_.uuid, "detail": detail}
        counted = self._take(gpu, report.xid, report.wall, new=new, source=source, fields=fields)
        if counted and self._named is not None and report.named != _NO_ONE:
            self._named(report)
        if new:
            self._reported(id_.uuid)

    def _settle(self, now: float) -> None:
        if self._gpus or self._strangers:
            self._meet()
            self._tell_rest(now)
            strangers = self._found_strangers(now)
            self._changed |= strangers != self._shown
            self._shown = strangers
        if self._changed and now - self._published_at >= PUBLISH_SECONDS:
            self._changed = False
            self._published_at = now
            ids = {gpu.id: gpu for gpu in self._gpus.values() if gpu.id is not None}
            ids |= {id_: self._strangers[bus] for bus, id_ in self._shown.items()}
            self._store.put_xids(
                {
                    id_: {xid: entry.reports for xid, entry in sorted(gpu.entries.items())}
                    for id_, gpu in ids.items()
                }
            )

    def _found_strangers(self, now: float) -> dict[str, DeviceId]:
        """The GPUs that the driver should have listed by now, by address."""
        found: dict[str, DeviceId] = {}
        for bus, gpu in self._strangers.items():
            if now - gpu.since >= STRANGE_SECONDS and len(found) < _MOST_STRANGERS:
                id_ = self._stranger(bus)
                if id_ is not None:
                    found[bus] = id_
        return found

    @property
    def due(self) -> float:
        """Seconds until something waits to be published."""
        if not self._changed:
            return float("inf")
        return max(self._published_at + PUBLISH_SECONDS - self._clock(), 0.0)

    def _take(
        self,
        gpu: _Gpu,
        xid: int,
        wall: float,
        *,
        new: bool,
        source: int,
        fields: dict[str, object],
    ) -> bool:
        """Take a report in; returns whether it counts."""
        entry = gpu.entries.get(xid)
        if entry is None:
            if xid not in XIDS and sum(x not in XIDS for x in gpu.entries) >= _MOST_UNKNOWN_XIDS:
                return False
            entry = gpu.entries[xid] = _Entry()
        now = self._clock()
        counts = new and not entry.told_twice(source, now)
        before = entry.reports
        entry.reports = XidReports(before.count + counts, max(before.last, wall))
        self._changed = True
        if counts and entry.told is not None and now - entry.told < LOG_SECONDS:
            entry.untold += 1
        elif counts:
            self._tell(entry, xid, now, fields)
        return counts

    def _tell(self, entry: _Entry, xid: int, now: float, fields: dict[str, object]) -> None:
        about = explain(xid)
        line = {"xid": xid, "name": about.name, "severity": about.severity.value, **fields}
        if entry.untold:
            line["more"] = entry.untold
        log.log(
            _LEVELS[about.severity],
            "GPU reports an XID" if entry.told is None else "GPU has reported the XID again",
            extra={"fields": {key: value for key, value in line.items() if value != ""}},
        )
        entry.told, entry.untold = now, 0

    def _tell_rest(self, now: float) -> None:
        """What came within a minute after the last line and was followed by nothing."""
        for bus, gpu in (*self._strangers.items(), *self._gpus.items()):
            for xid, entry in gpu.entries.items():
                if entry.untold and entry.told is not None and now - entry.told >= LOG_SECONDS:
                    fields: dict[str, object] = (
                        {"pci_bus_id": pci_address(bus)}
                        if gpu.id is None
                        else {"gpu": gpu.id.name, "uuid": gpu.id.uuid}
                    )
                    self._tell(entry, xid, now, fields)

    def _meet(self) -> None:
        """Take up GPUs that have told their address, or changed their index."""
        for id_, address in self._known():
            gpu = self._gpus.get(id_.uuid)
            if gpu is not None and gpu.id != id_:
                gpu.id = id_
                self._changed = True
            stranger = self._strangers.pop(bus_address(address) or "", None)
            if stranger is not None:
                gpu = self._gpus.setdefault(id_.uuid, _Gpu(id_))
                self._merge(gpu, stranger)

    def _merge(self, gpu: _Gpu, stranger: _Gpu) -> None:
        for xid, entry in stranger.entries.items():
            mine = gpu.entries.setdefault(xid, _Entry())
            mine.reports = XidReports(
                mine.reports.count + entry.reports.count,
                max(mine.reports.last, entry.reports.last),
            )
            mine.told = max((t for t in (mine.told, entry.told) if t is not None), default=None)
            mine.untold += entry.untold
            mine.ahead += entry.ahead
            mine.ahead_at = max(mine.ahead_at, entry.ahead_at)
        self._changed = True
