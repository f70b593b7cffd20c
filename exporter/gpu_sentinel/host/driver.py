"""The kernel module of the driver, without a call to NVML."""

from __future__ import annotations

from pathlib import Path

_DRIVERS = Path("/proc/driver")


def module_loaded(root: Path = _DRIVERS) -> bool | None:
    """Whether the module is loaded; None where the kernel does not tell (WSL, not on Linux)."""
    if not root.is_dir():
        return None
    return (root / "nvidia" / "version").exists()
