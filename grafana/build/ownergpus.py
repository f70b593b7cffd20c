"""Of the page of owners: what is used of each GPU, at full resolution."""

from __future__ import annotations

from colours import BUSY, CAUTION, IDEAL
from core import Panel
from ownerseries import raw, widths
from panels import colour, lines, override, states
from promql import RATE
from tables import Column, table


def on_gpus() -> list[Panel]:
    """What it does on each GPU."""
    place = "{{host}} GPU {{gpu}}"
    each = "sum by (host, gpu)"
    busy = f"{each} (rate({raw('gpu_owner_busy_seconds_total')}{RATE}))"
    by = "sum by (host, gpu, uuid)"
    held, idle, ran = (
        f"{by} (rate({raw(f'gpu_owner_{n}_seconds_total')}[5m]))"
        for n in ("allocated", "idle_allocated", "busy")
    )
    columns = [
        Column("Held", held, "percentunit", decimals=0),
        Column("Idle", idle, "percentunit", decimals=0),
        Column("Busy", ran, "percentunit", BUSY, "gauge", 1, decimals=0),
        Column("Memory", f"{by} ({raw('gpu_owner_memory_used_bytes')})", "bytes", decimals=1),
        Column("Processes", f"{by} ({raw('gpu_owner_processes')})", decimals=0),
    ]
    return [
        table(
            "Its GPUs",
            "GPUs that the chosen owners hold or use; a row leads to its GPU.",
            columns,
            labels=("host", "gpu"),
            sort="Idle",
            overrides=widths(["Host", "GPU", *(c.title for c in columns)]),
            width=12,
            height=9,
        ),
        states(
            "When it computed",
            "Share of the time in which kernels of the chosen owners ran, on twenty GPUs at most.",
            {
                place: f"{busy} and on (host, gpu) topk(20, {each} "
                f"(max_over_time({raw('gpu_owner_processes')}[$__range] @ end())))"
            },
            unit="percentunit",
            steps=BUSY,
            high=1,
            height=9,
        ),
        lines(
            "Power by part",
            "What is drawn at rest by GPUs that are held, and what work draws above that.",
            {"{{part}}": f"sum by (part) (rate({raw('gpu_owner_energy_joules_total')}{RATE}))"},
            unit="watt",
            stacked=True,
            overrides=[override("idle", *colour(CAUTION)), override("active", *colour(IDEAL))],
        ),
        lines(
            "Memory and processes",
            "Processes of the chosen owners on all their GPUs.",
            {"processes": f"sum({raw('gpu_owner_processes')})"},
            unit="none",
        ),
    ]
