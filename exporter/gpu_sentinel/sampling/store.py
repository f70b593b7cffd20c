"""The one place that holds what is known: written by the samplers, read by everyone else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from gpu_sentinel.model import DeviceSnapshot, DriverState, Snapshot


class SnapshotStore:
    """Holds the current `Snapshot`.

    Writers take turns; a reader takes `current`, which is replaced as a whole, and never waits.
    """

    def __init__(self) -> None:
        self.current = Snapshot()
        self._lock = threading.Lock()

    def put_device(self, device: DeviceSnapshot, valid: Callable[[], bool] = lambda: True) -> None:
        """Replace what is known of one GPU, unless `valid()` is false by then."""
        with self._lock:
            if not valid():
                return
            others = [d for d in self.current.devices if d.id.uuid != device.id.uuid]
            devices = sorted([*others, device], key=lambda d: (d.id.index, d.id.uuid))
            self._replace(devices=tuple(devices))

    def clear_devices(self) -> None:
        """Forget every GPU, as when the driver is gone."""
        with self._lock:
            self._replace(devices=())

    def put_driver(self, driver: DriverState) -> None:
        """Replace what is known of the driver."""
        with self._lock:
            self._replace(driver=driver)

    def put_counts(self, pci_devices: int | None, expected_devices: int | None) -> None:
        """Replace how many GPUs the host has, and should have."""
        with self._lock:
            self._replace(pci_devices=pci_devices, expected_devices=expected_devices)

    def _replace(self, **changes: object) -> None:
        self.current = replace(self.current, sequence=self.current.sequence + 1, **changes)  # type: ignore[arg-type]
