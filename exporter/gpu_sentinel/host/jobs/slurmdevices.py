"""Which GPUs the devices controller of cgroup version 1 lets a group use.

Slurm takes the other GPUs away from a group that may use all devices. The kernel does not list
what was taken away: then the list is `a *:* rwm`, and says nothing. Only where the groups above
allow single devices alone, as in a slurmd's container, it names them. The rules of version 2 are
programs (BPF), which cannot be read.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from gpu_sentinel.host.jobs.words import number
from gpu_sentinel.regularfile import TooLongError, read_bytes

#: Major number of /dev/nvidiaN; 255 and 254 of it are /dev/nvidiactl and nvidia-modeset
#: (NV_MAJOR_DEVICE_NUMBER, NV_MINOR_DEVICE_NUMBER_CONTROL_DEVICE in kernel-open/nvidia).
_MAJOR, _LAST = 195, 247
_CAPABILITIES = "nvidia-caps"
_BYTES, _INSTANCES = 64 << 10, 64


def allowed(group: Path, proc: Path) -> tuple[str, ...] | None:
    """The GPUs and GPU instances of a group as `minor:N` and `minor:N.G`.

    None where the list does not tell.
    """
    try:
        content = read_bytes(group / "devices.list", _BYTES)
    except (OSError, TooLongError):
        return None
    if content and not content.endswith(b"\n"):
        return None
    numbers = _numbers(content.decode("ascii", "replace"), _major(proc))
    if numbers is None:
        return None
    gpus, capabilities = numbers
    return tuple(device for minor in sorted(gpus) for device in _parts(minor, capabilities, proc))


def _numbers(rules: str, capability: int | None) -> tuple[set[int], set[int]] | None:
    """Minor numbers of GPUs and of capabilities; None where they are not limited."""
    gpus: set[int] = set()
    capabilities: set[int] = set()
    for line in rules.splitlines():
        kind, _, rest = line.partition(" ")
        device, _, access = rest.partition(" ")
        first, _, second = device.partition(":")
        if kind not in ("b", "c") or (kind == "c" and first == "*"):
            return None
        if kind == "b" or "r" not in access:
            continue
        major, minor = number(first), number(second)
        if major == _MAJOR:
            if minor is None:
                return None  # c 195:*: all of them
            if minor <= _LAST:
                gpus.add(minor)
        elif major is not None and major == capability and minor is not None:
            capabilities.add(minor)
    return gpus, capabilities


def _parts(minor: int, capabilities: set[int], proc: Path) -> list[str]:
    """A GPU, or those of its GPU instances whose capability the group has too."""
    # The folders are named by minor number (nv-caps.c, "gpu%d" of the device's minor).
    folder = proc / "driver" / "nvidia" / "capabilities" / f"gpu{minor}" / "mig"
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _INSTANCES)]
    except OSError:
        return [f"minor:{minor}"]
    found = []
    for name in names:
        instance = number(name.removeprefix("gi"), 4)
        if name.startswith("gi") and instance is not None:
            access = _read(folder / name / "access").decode("ascii", "replace")
            pairs = dict(line.partition(": ")[::2] for line in access.splitlines())
            if number(pairs.get("DeviceFileMinor", "").strip()) in capabilities:
                found.append(instance)
    return [f"minor:{minor}.{instance}" for instance in sorted(found)]


def _major(proc: Path) -> int | None:
    """The major number of /dev/nvidia-caps, which the kernel gives."""
    for line in _read(proc / "devices").decode("ascii", "replace").splitlines():
        value, _, name = line.strip().partition(" ")
        if name == _CAPABILITIES:
            return number(value)
    return None


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, _BYTES)
    except (OSError, TooLongError):
        return b""
