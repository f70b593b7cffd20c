"""The one place that holds what is known: written by the samplers, read by everyone else."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from gpu_sentinel.model import (
    NO_KERNEL_EVENTS,
    NO_OWNER_XIDS,
    NO_XIDS,
    DeviceSnapshot,
    DriverState,
    Instance,
    KernelEvents,
    OwnerXids,
    Snapshot,
    Usage,
    Xids,
)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What the samplers of one driver write to, by UUID of the GPU.

    It is left behind with the driver, so that a sampler which hung meanwhile writes where nobody
    looks.
    """

    devices: dict[str, DeviceSnapshot] = field(default_factory=dict)
    instances: dict[str, tuple[Instance, ...]] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)

    def listed(self, devices: Iterable[DeviceSnapshot]) -> tuple[Instance, ...]:
        """The instances of these GPUs; a lost one has none."""
        here = (self.instances.get(d.id.uuid, ()) for d in devices if not d.lost)
        return tuple(itertools.chain.from_iterable(here))

    def used(self, devices: Iterable[DeviceSnapshot]) -> tuple[Usage, ...]:
        """Who uses and holds these GPUs; of a lost one, who holds it."""
        # Asked once for each: another thread may forget a GPU meanwhile.
        here = (self.usage.get(d.id.uuid) for d in devices)
        return tuple(usage for usage in here if usage is not None)


class SnapshotStore:
    """Holds what the current `Snapshot` is made of.

    Nobody waits for anybody: each part is replaced by one assignment, and a reader puts the
    parts together when something has changed.
    """

    def __init__(self) -> None:
        self._driver = DriverState()
        self._counts: tuple[int | None, int | None] = (None, None)
        self._session = Session()
        self._xids = NO_XIDS
        self._owner_xids = NO_OWNER_XIDS
        self._kernel_events = NO_KERNEL_EVENTS
        self._numbers = itertools.count(1)
        self._sequence = 0
        self._made = Snapshot()
        self._making = threading.Lock()

    @property
    def session(self) -> Session:
        """Where samplers that start now write to, by `put_device`."""
        return self._session

    @property
    def current(self) -> Snapshot:
        """What is known now; the same object until something changes."""
        made = self._made
        if made.sequence == self._sequence:
            return made
        with self._making:
            sequence = self._sequence  # read first: what changes from here on makes it grow
            if self._made.sequence != sequence:
                session = self._session
                devices = list(session.devices.values())
                devices.sort(key=lambda d: d.id.position)
                pci, expected = self._counts
                self._made = Snapshot(
                    sequence,
                    self._driver,
                    tuple(devices),
                    pci,
                    expected,
                    self._xids,
                    session.listed(devices),
                    session.used(devices),
                    self._owner_xids,
                    self._kernel_events,
                )
            return self._made

    def put_device(self, device: DeviceSnapshot, session: Session | None = None) -> None:
        """Replace what is known of one GPU, in the session to which it belongs."""
        (session or self._session).devices[device.id.uuid] = device
        self._changed()

    def put_instances(self, uuid: str, instances: tuple[Instance, ...], session: Session) -> None:
        """Replace what is known of the MIG instances of one GPU."""
        if instances or session.instances.get(uuid):
            session.instances[uuid] = instances
            self._changed()

    def put_usage(self, usage: Usage, session: Session) -> None:
        """Replace what is known of who uses and holds one GPU."""
        session.usage[usage.device.uuid] = usage
        self._changed()

    def forget_device(self, uuid: str, session: Session | None = None) -> None:
        """Take a GPU off the page."""
        session = session or self._session
        session.devices.pop(uuid, None)
        session.instances.pop(uuid, None)
        session.usage.pop(uuid, None)
        self._changed()

    def begin_session(self) -> None:
        """Keep what is known of every GPU, but from now on take nothing from older samplers."""
        self._session = Session(self._session.devices.copy())
        self._changed()

    def clear_devices(self) -> None:
        """Forget every GPU, as when the driver is let go of, and begin another session."""
        self._session = Session()
        self._changed()

    def put_driver(self, driver: DriverState) -> None:
        """Replace what is known of the driver."""
        self._driver = driver
        self._changed()

    def put_counts(self, pci_devices: int | None, expected_devices: int | None) -> None:
        """Replace how many GPUs the host has, and should have."""
        self._counts = (pci_devices, expected_devices)
        self._changed()

    def put_xids(self, xids: Xids) -> None:
        """Replace what was reported; what is given is not changed any more."""
        self._xids = xids
        self._changed()

    def put_owner_xids(self, xids: OwnerXids) -> None:
        """Replace who was named in them; what is given is not changed any more."""
        self._owner_xids = xids
        self._changed()

    def put_kernel_events(self, events: KernelEvents) -> None:
        """Replace what the kernel log told beside XIDs; what is given is not changed any more."""
        self._kernel_events = events
        self._changed()

    def _changed(self) -> None:
        self._sequence = next(self._numbers)
