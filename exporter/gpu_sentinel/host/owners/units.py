"""Names of systemd's units in the paths of cgroups: pure.

As src/basic/cgroup-util.c and unit-name.c of systemd have them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_USER_SLICE = re.compile(r"user-([0-9]{1,10})\.slice")
_USER_MANAGER = re.compile(r"user@([0-9]{1,10})\.service")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def unit_of(parts: Sequence[str]) -> str:
    """The unit of a path: its first part that is no slice. Beneath it names are not systemd's."""
    for part in parts:
        if part.endswith(".slice"):
            continue
        # systemd puts this in front of a name that could be that of a file of the kernel.
        name = part.removeprefix("_")
        return name if name.endswith((".service", ".scope")) else ""
    return ""


def login_of(part: str) -> int | None:
    """The uid whose slice, or whose manager, this is."""
    match = _USER_SLICE.fullmatch(part) or _USER_MANAGER.fullmatch(part)
    if match is None:
        return None
    uid = int(match[1])
    return uid if uid < 2**32 - 1 else None


def machine_of(part: str) -> str:
    """The container or virtual machine of systemd-machined, systemd-nspawn or libvirt."""
    if part.startswith("machine-") and part.endswith(".scope"):
        return unescaped(part[len("machine-") : -len(".scope")])
    if part.startswith("systemd-nspawn@") and part.endswith(".service"):
        return unescaped(part[len("systemd-nspawn@") : -len(".service")])
    if part.endswith((".libvirt-qemu", ".libvirt-lxc")):
        return part.rpartition(".")[0]
    return ""


def unescaped(name: str) -> str:
    r"""`my-box` of `my\x2dbox`."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
