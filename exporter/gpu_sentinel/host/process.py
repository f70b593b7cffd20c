"""This process as the kernel sees it."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")


def process_facts(root: Path = _PROC) -> Mapping[str, float]:
    """Processor time, memory, files and start by the names that Prometheus' clients use.

    Empty where there is no `/proc` (not on Linux).
    """
    try:
        # The name of the command may hold anything, blanks and brackets included.
        fields = (root / "self" / "stat").read_bytes().rpartition(b")")[2].split()
        boot = _boot_time(root)
        ticks = float(os.sysconf("SC_CLK_TCK"))
        facts = {
            "process_cpu_seconds_total": (int(fields[11]) + int(fields[12])) / ticks,
            "process_virtual_memory_bytes": float(fields[20]),
            "process_resident_memory_bytes": float(fields[21]) * resource.getpagesize(),
            "process_start_time_seconds": boot + int(fields[19]) / ticks,
        }
        facts["process_open_fds"] = float(len(os.listdir(root / "self" / "fd")))  # noqa: PTH208 - a path for each is dear
    except (OSError, ValueError, IndexError):
        return {}
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        facts["process_max_fds"] = float(soft)
    return facts


def _boot_time(root: Path) -> float:
    with (root / "stat").open("rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    raise ValueError("no btime")
