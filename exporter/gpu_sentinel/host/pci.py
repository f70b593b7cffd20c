"""NVIDIA display devices on the PCI bus, as the kernel lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/bus/pci/devices")
#: What the driver tells of each of its GPUs without NVML, in folders named by PCI address.
PROC = Path("/proc/driver/nvidia/gpus")

#: The name that NVIDIA's kernel module registers with the PCI bus; its siblings for the display
#: and for unified memory register none.
NVIDIA = "nvidia"

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VENDOR = "0x10de"
# PCI base class 3 is "display controller": VGA (0x0300xx) and 3D (0x0302xx).
_DISPLAY = "0x03"


@dataclass(frozen=True, slots=True)
class PciGpu:
    """One NVIDIA display device.

    Attributes:
        address: as sysfs spells it, "0000:99:00.0".
        driver: the kernel driver that has it; empty where none has.
        virtual: it is an SR-IOV virtual function of a card in this host. Such a function looks
            like a card of its own in the virtual machine that it is given to.
        uuid: as the driver tells it without NVML; empty where it does not, as before the card was
            first used and while it sleeps.
        bridge: the address of the port that it is plugged into; empty where nobody knows.
        excluded: the driver has it and keeps it from everybody (NVreg_ExcludedGpus); NVML does
            not list it.
    """

    address: str
    driver: str
    virtual: bool = False
    uuid: str = ""
    excluded: bool = False
    bridge: str = ""


def list_gpus(sysfs: Path = SYSFS, proc: Path = PROC) -> tuple[PciGpu, ...] | None:
    """The NVIDIA display devices in the order of their addresses.

    None where the kernel shows no PCI bus (some containers, WSL).
    """
    try:
        devices = list(sysfs.iterdir())
    except OSError:
        return None
    found = [_gpu(device, proc) for device in devices if _is_nvidia_display(device)]
    # Domains have more than four digits behind some bridges.
    return tuple(sorted(found, key=lambda gpu: (len(gpu.address), gpu.address)))


def listable(gpus: Sequence[PciGpu]) -> tuple[PciGpu, ...]:
    """Those that NVIDIA's driver has and NVML should list."""
    return tuple(g for g in gpus if g.driver == NVIDIA and not g.virtual and not g.excluded)


def expected(gpus: Sequence[PciGpu]) -> int:
    """How many of these NVML should list.

    While NVIDIA's driver has any, these are its cards. While it has none it is not loaded, which
    makes no card less expected, except those that another driver has.
    """
    if _loaded(gpus):
        return len(listable(gpus))
    return sum(not gpu.driver and not gpu.virtual for gpu in gpus)


def unclaimed(gpus: Sequence[PciGpu]) -> tuple[PciGpu, ...]:
    """The cards that no driver took though NVIDIA's has others.

    It is too new for them, or too old, or failed to start them.
    """
    if not _loaded(gpus):
        return ()
    return tuple(gpu for gpu in gpus if not gpu.driver and not gpu.virtual)


def _loaded(gpus: Sequence[PciGpu]) -> bool:
    return any(gpu.driver == NVIDIA for gpu in gpus)


def _is_nvidia_display(device: Path) -> bool:
    return _read(device / "vendor").strip() == _VENDOR and _read(device / "class").startswith(
        _DISPLAY
    )


def _gpu(device: Path, proc: Path) -> PciGpu:
    driver = _driver(device)
    told = {}
    # The driver wakes a sleeping card to tell about it (nv-procfs.c, rm_ref_dynamic_power).
    if driver == NVIDIA and _read(device / "power" / "runtime_status").strip() != "suspended":
        told = _information(proc / device.name)
    uuid = told.get("GPU UUID", "")
    return PciGpu(
        device.name,
        driver,
        (device / "physfn").is_symlink(),
        # A GPU that was not initialised since the driver was loaded is
        # "GPU-????????-????-????-????-????????????".
        uuid if uuid.startswith("GPU-") and "?" not in uuid else "",
        # Drivers before 470 call it "Blacklisted".
        "Yes" in (told.get("GPU Excluded"), told.get("Blacklisted")),
        _bridge(device),
    )


def _bridge(device: Path) -> str:
    """The folder of a device stands in that of the port above it."""
    try:
        above = device.resolve().parent.name
    except (OSError, RuntimeError):
        return ""
    return above if _ADDRESS.fullmatch(above) else ""


def _driver(device: Path) -> str:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""


def _information(folder: Path) -> dict[str, str]:
    """The lines "name: value" about a GPU."""
    pairs = (line.partition(":") for line in _read(folder / "information").splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # unplugged between the listing and the reading
