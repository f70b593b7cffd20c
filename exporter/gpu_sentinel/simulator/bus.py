"""The PCI bus of a simulated machine, and which of its GPUs the driver lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpu_sentinel.host.pci import NVIDIA, PciGpu

if TYPE_CHECKING:
    from gpu_sentinel.simulator.gpu import SimulatedGpu
    from gpu_sentinel.simulator.models import DriverVersion

#: The first virtual function of a card comes after the functions that a card can have itself.
_FIRST_VIRTUAL = 4


@dataclass(slots=True)
class Slot:
    """What became of the card in a slot.

    Attributes:
        plugged: it is on the bus.
        driver: the kernel driver that was given it; empty for none, None where nobody chose.
        excluded: NVIDIA's driver keeps it from everybody.
        listed: the driver lists it where it has it.
        virtual: the kernel drivers of its SR-IOV virtual functions.
    """

    plugged: bool = True
    driver: str | None = None
    excluded: bool = False
    listed: bool = True
    virtual: tuple[str, ...] = ()


class Bus:
    """Plugs cards and binds drivers to them; a part of `Simulation`.

    The bus shows it at once, the driver to whoever initialises NVML from then on: a session of
    NVML keeps its list. `relist` lets those that are there see it too.

    Attributes:
        relisted: how often `relist` was called.
    """

    driver: DriverVersion | None
    gpus: tuple[SimulatedGpu, ...]
    relisted: int = 0

    def pci_gpus(self) -> tuple[PciGpu, ...]:
        """The bus; a lost GPU is still on it until the machine rescans."""
        plugged = (gpu for gpu in self.gpus if gpu.slot.plugged)
        return tuple(device for gpu in plugged for device in self._devices(gpu))

    def listed(self) -> tuple[SimulatedGpu, ...]:
        """The GPUs that the driver lists to whoever initialises NVML now."""
        return tuple(
            gpu
            for gpu in self.gpus
            if gpu.slot.plugged
            and gpu.slot.listed
            and not gpu.slot.excluded
            and gpu.slot.driver in (None, NVIDIA)
        )

    def relist(self) -> None:
        """Everybody who has initialised NVML gets the list anew."""
        self.relisted += 1

    def unplug(self, gpu: int) -> None:
        """Take it off the bus."""
        self.gpus[gpu].slot.plugged = False
        self.gpus[gpu].lost = True

    def plug(self, gpu: int) -> None:
        """Put it back."""
        self.gpus[gpu].slot.plugged = True
        self.gpus[gpu].lost = False

    def bind(self, gpu: int, driver: str | None) -> None:
        """Let this kernel driver have it, None for none."""
        self.gpus[gpu].slot.driver = driver or ""
        self.gpus[gpu].lost = driver != NVIDIA

    def exclude(self, gpu: int, *, excluded: bool = True) -> None:
        """Let the driver keep it from everybody, as NVreg_ExcludedGpus does."""
        self.gpus[gpu].slot.excluded = excluded

    def list_gpu(self, gpu: int, *, listed: bool = True) -> None:
        """Let the driver list it or not, though it has it."""
        self.gpus[gpu].slot.listed = listed

    def virtual_functions(self, gpu: int, count: int, driver: str = NVIDIA) -> None:
        """Let it have so many SR-IOV virtual functions."""
        self.gpus[gpu].slot.virtual = (driver,) * count

    def _devices(self, gpu: SimulatedGpu) -> Iterator[PciGpu]:
        chosen = gpu.slot.driver
        driver = chosen if chosen is not None else NVIDIA
        if driver == NVIDIA and self.driver is None:
            driver = ""
        # Sysfs has four digits of the domain, NVML eight. The driver alone tells UUIDs.
        slot, _, _ = gpu.bus_id[4:].lower().rpartition(":")
        uuid = gpu.uuid if driver == NVIDIA else ""
        excluded = driver == NVIDIA and gpu.slot.excluded
        yield PciGpu(f"{slot}:00.0", driver, uuid=uuid, excluded=excluded)
        for number, virtual in enumerate(gpu.slot.virtual, _FIRST_VIRTUAL):
            has = "" if virtual == NVIDIA and self.driver is None else virtual
            yield PciGpu(f"{slot}:{number // 8:02x}.{number % 8}", has, virtual=True)
