"""Of the page of one GPU: who holds it, who uses it, and its processes."""

from __future__ import annotations

import links
from colours import BUSY
from core import Panel
from panels import override
from promql import DEVICE
from tables import Column, table

_OWNER = {"owner_kind": "Kind", "owner": "Owner", "user": "User"}
_WIDTHS = {"GPU": 60, "Kind": 90, "User": 90, "PID": 80, "Held": 70, "Busy": 80, "Memory": 90}


def _table(title: str, description: str, columns: list[Column], more: dict[str, str]) -> Panel:
    named = ["GPU", *more.values(), *(column.title for column in columns)]
    return table(
        title,
        description,
        columns,
        labels=("gpu",),
        more=more,
        sort="Memory",
        row_links=links.to_owner(),
        overrides=[
            override(name, {"id": "custom.width", "value": _WIDTHS[name]})
            for name in named
            if name in _WIDTHS
        ],
        width=12,
        height=7,
    )


def owners() -> list[Panel]:
    """Holders and users; each leads to all that it has elsewhere."""
    by = f"sum by (gpu, {', '.join(_OWNER)})"
    each = "sum by (gpu, pid, process, owner)"
    busy, memory = (f"gpu_{{}}_{name}" for name in ("busy_seconds_total", "memory_used_bytes"))

    def used(who: str, sums: str) -> list[Column]:
        rate = DEVICE.rate(busy.format(who), over="[5m]")
        return [
            Column("Busy", f"{sums} ({rate})", "percentunit", BUSY, "gauge", 1, decimals=0),
            Column("Memory", f"{sums} ({DEVICE.read(memory.format(who))})", "bytes", decimals=1),
        ]

    held = DEVICE.rate("gpu_owner_allocated_seconds_total", over="[5m]")
    power = DEVICE.rate("gpu_owner_energy_joules_total", over="[5m]")
    return [
        _table(
            "Holders and users",
            "Who holds it, for which share of the last five minutes, and who uses it: pods, jobs, "
            "containers, units, users. Power has the idle draw of what is held. A row leads to all "
            "that its owner has.",
            [
                Column("Held", f"{by} ({held})", "percentunit", decimals=0),
                *used("owner", by),
                Column("Power", f"{by} ({power})", "watt", decimals=0),
            ],
            _OWNER,
        ),
        _table(
            "Processes",
            "Where the exporter shows them: `--metrics.enable processes`. The largest twenty.",
            used("process", each),
            {"pid": "PID", "process": "Process", "owner": "Owner"},
        ),
    ]
