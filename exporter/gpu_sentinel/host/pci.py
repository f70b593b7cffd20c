"""NVIDIA display devices on the PCI bus, as the kernel lists them."""

from __future__ import annotations

from pathlib import Path

SYSFS = Path("/sys/bus/pci/devices")

_NVIDIA = "0x10de"
# PCI base class 3 is "display controller": VGA (0x0300xx) and 3D (0x0302xx).
_DISPLAY = "0x03"
# Drivers that give a GPU to somebody else: to a virtual machine, or to the open graphics stack.
_TAKEN_BY = frozenset({"vfio-pci", "pci-stub", "xen-pciback", "nouveau", "nova_core"})


def count_gpus(root: Path = SYSFS) -> tuple[int, int] | None:
    """NVIDIA display devices, and how many of them no other driver has taken.

    None where the kernel shows no PCI bus (some containers, WSL).
    """
    try:
        devices = list(root.iterdir())
    except OSError:
        return None
    found = [d for d in devices if _is_nvidia_display(d)]
    return len(found), sum(_driver(d) not in _TAKEN_BY for d in found)


def _is_nvidia_display(device: Path) -> bool:
    try:
        vendor = (device / "vendor").read_text().strip()
        return vendor == _NVIDIA and (device / "class").read_text().startswith(_DISPLAY)
    except OSError:
        return False  # unplugged between the listing and the reading


def _driver(device: Path) -> str:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""
