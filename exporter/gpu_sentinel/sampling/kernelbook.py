"""Which events the kernel log told beside XIDs: counted, given to GPUs, published, and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from gpu_sentinel.catalogue.kernel import KERNEL_EVENTS, Scope
from gpu_sentinel.catalogue.xids import Severity
from gpu_sentinel.host import KernelEvent, bus_address, pci_address
from gpu_sentinel.model import DeviceId, KernelSubject, XidReports
from gpu_sentinel.sampling.store import SnapshotStore
from gpu_sentinel.sampling.xidbook import LOG_SECONDS, PUBLISH_SECONDS, STRANGE_SECONDS

log = logging.getLogger(__name__)

#: What a log that lies can make us remember: series, those that have a code, the codes of one event
#: of one device, the devices of one event; and events while nobody has looked at the bus.
_MOST, _MOST_CODED, _MOST_CODES, _MOST_DEVICES, _MOST_EARLY = 512, 384, 64, 64, 256

_LEVELS = {
    Severity.FATAL: logging.ERROR,
    Severity.RESET: logging.ERROR,
    Severity.WARNING: logging.WARNING,
}


@dataclass(slots=True)
class _Entry:
    """Attributes: `since`: when the first came; `told`, `untold`: in our own log."""

    since: float
    reports: XidReports = field(default_factory=XidReports)
    told: float = float("-inf")
    untold: int = 0


@dataclass(frozen=True, slots=True)
class _Key:
    event: str
    bus: str
    code: str


class KernelBook:
    """Counts; the thread that reads the log is the only one that uses it."""

    def __init__(
        self,
        store: SnapshotStore,
        known: Callable[[], Iterable[tuple[DeviceId, str]]],
        *,
        behind: Callable[[str], str | None] = lambda _bus: "",
        stranger: Callable[[str], DeviceId | None] = lambda _bus: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            store: where events are published, and which GPUs a process used.
            known: the GPUs with their PCI addresses; asked again and again.
            behind: the `bus_address` of the GPU that has this one or is the only one behind it,
                see `Roster.behind`.
            stranger: what a GPU is called that the driver does not list, see `Roster.stranger`.
            clock: monotonic seconds.
        """
        self._store = store
        self._known = known
        self._behind = behind
        self._stranger = stranger
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        #: Events of the bus, while nobody knows what is on it.
        self._early: list[tuple[KernelEvent, float, bool]] = []
        self._published: dict[KernelSubject, XidReports] = {}
        self._published_at = float("-inf")

    def take(self, event: KernelEvent, wall: float, *, new: bool) -> None:
        """Count an event of this Unix time; `new`: it came after the log was opened."""
        places = self._places(event, new=new)
        if places is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append((event, wall, new))
            return
        for bus in places:
            entry = self._entry(_Key(event.event, bus, event.code))
            if entry is None:
                continue
            before = entry.reports
            entry.reports = XidReports(before.count + new, max(before.last, wall))
            if new:
                self._tell(event, bus, entry)

    def settle(self) -> None:
        """Publish what is new, and GPUs that are known by now; whenever it suits."""
        now = self._clock()
        early, self._early = self._early, []
        for event, wall, new in early:
            self.take(event, wall, new=new)
        if not self._entries or now - self._published_at < PUBLISH_SECONDS:
            return
        self._published_at = now
        gpus = {bus_address(address): id_ for id_, address in self._known()}
        found: dict[KernelSubject, XidReports] = {}
        for key, entry in self._entries.items():
            names = self._names(key, gpus.get(key.bus), now - entry.since)
            if names is not None:
                address = pci_address(key.bus) if key.bus else ""
                found[KernelSubject(*names, address, key.event, key.code)] = entry.reports
        if found != self._published:
            self._published = found
            self._store.put_kernel_events(found)

    def _places(self, event: KernelEvent, *, new: bool) -> Collection[str] | None:
        """The addresses that an event is counted for; an empty one stands for the host.

        None while that is not known.
        """
        scope = KERNEL_EVENTS[event.event].scope
        if scope is Scope.HOST:
            return ("",)
        if scope is Scope.BUS:
            gpu = self._behind(event.bus)
            return gpu if gpu is None else (gpu,) if gpu else ()
        if scope is not Scope.PROCESS:
            return (event.bus,)
        # A pid of before may be another's by now.
        used = self._used(event.pid) if new and event.pid is not None else set()
        return used or (("",) if event.event == "hung_task" else ())

    def _used(self, pid: int) -> set[str]:
        """The addresses of the GPUs that a process uses, or did a moment ago."""
        uuids = {
            usage.device.uuid
            for usage in self._store.current.usage
            if any(process.pid == pid for process in usage.processes)
        }
        buses = (bus_address(address) for id_, address in self._known() if id_.uuid in uuids)
        return set(filter(None, buses))

    def _entry(self, key: _Key) -> _Entry | None:
        """Where an event is counted; without its code where there are too many; None at the end."""
        found = self._entries.get(key)
        if found is not None:
            return found
        alike = [other.bus for other in self._entries if other.event == key.event]
        many = alike.count(key.bus) >= _MOST_CODES or len(self._entries) >= _MOST_CODED
        if key.code and many:
            return self._entry(replace(key, code=""))
        devices = set(alike)
        full = len(devices) >= _MOST_DEVICES and key.bus not in devices
        if full or len(self._entries) >= _MOST:
            return None
        entry = self._entries[key] = _Entry(self._clock())
        return entry

    def _names(self, key: _Key, gpu: DeviceId | None, age: float) -> tuple[str, str] | None:
        """The labels of a GPU; empty where it is about none, None while it may be known soon."""
        if not key.bus or KERNEL_EVENTS[key.event].scope is Scope.SWITCH:
            return "", ""
        if gpu is None and age >= STRANGE_SECONDS:
            gpu = self._stranger(key.bus)
        return None if gpu is None else (gpu.name, gpu.uuid)

    def _tell(self, event: KernelEvent, bus: str, entry: _Entry) -> None:
        now = self._clock()
        if now - entry.told < LOG_SECONDS:
            entry.untold += 1
            return
        about = KERNEL_EVENTS[event.event]
        fields: dict[str, object] = {
            "event": event.event,
            "severity": about.severity.value,
            "pci_bus_id": pci_address(bus) if bus else "",
            "code": event.code,
            "pid": event.pid or "",
            "detail": event.detail,
            "more": entry.untold or "",
        }
        log.log(
            _LEVELS.get(about.severity, logging.INFO),
            "the kernel reports an event",
            extra={"fields": {key: value for key, value in fields.items() if value != ""}},
        )
        entry.told, entry.untold = now, 0
