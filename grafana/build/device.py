"""One GPU: how it is now, what it did, and what holds it back.

Where several are chosen, bands reach from the lowest to the highest of them, and lines are means.
"""

from __future__ import annotations

import links
import marks
import variables
from alerts import firing_table
from colours import BUSY, HEALTH, MARGIN, MEMORY_SHARE, POWER_SHARE, SLOWED, VERDICTS
from core import Dashboard, Panel, Row
from deviceowners import owners
from deviceparts import errors, instances, transfers
from facts import fact
from panels import band, gauge, lines, stat, states
from promql import DEVICE, GPU, RATE
from tables import Column, table


def _worst(expr: str, how: str = "max") -> str:
    return f"{how} by (host, gpu) ({DEVICE.model(expr)})"


def now() -> list[Panel]:
    """How it is, against its own limits."""
    gpu = DEVICE.gpu
    return [
        stat(
            "Health",
            fact("gpu_health_status").description,
            f"max({DEVICE.read('gpu_health_status')})",
            steps=HEALTH,
            mappings=VERDICTS,
            width=4,
            height=6,
        ),
        gauge(
            "Utilisation",
            "Exact mean of the last minute.",
            _worst(f"rate({gpu('gpu_busy_seconds_total')}[1m])"),
            unit="percentunit",
            steps=BUSY,
            high=1,
            width=5,
        ),
        gauge(
            "Left to slowdown",
            fact("gpu_temperature_margin_celsius").description
            + " Red from 2, orange from 8, yellow from 15 degrees, blue beyond 30.",
            _worst(gpu("gpu_temperature_margin_celsius"), "min"),
            unit="celsius",
            steps=MARGIN,
            high=70,
            width=5,
        ),
        gauge(
            "Power, of the limit",
            "Power now as a share of the limit that is enforced.",
            _worst(f"{gpu('gpu_power_watts')} / {gpu('gpu_power_limit_watts')}"),
            unit="percentunit",
            steps=POWER_SHARE,
            high=1.1,
            width=5,
        ),
        gauge(
            "Memory",
            "Memory in use as a share of the memory.",
            _worst(f"{gpu('gpu_memory_used_bytes')} / {gpu('gpu_memory_total_bytes')}"),
            unit="percentunit",
            steps=MEMORY_SHARE,
            high=1,
            width=5,
        ),
    ]


def identity() -> Panel:
    """Which GPU this is."""
    return table(
        "Identity",
        fact("gpu_info").description,
        [
            Column(
                "Power limit",
                f"max by ({GPU}, name, serial, pci_bus_id, vbios_version, architecture) "
                f"({DEVICE.gpu('gpu_power_limit_watts')} * on (instance, uuid) "
                f"group_left (name, serial, pci_bus_id, vbios_version, architecture) "
                f"{DEVICE.info()})",
                "watt",
            ),
        ],
        more={
            "architecture": "Architecture",
            "serial": "Serial",
            "pci_bus_id": "PCI",
            "vbios_version": "VBIOS",
            "uuid": "UUID",
        },
        row_links=links.to_host(),
        width=24,
        height=3,
    )


def _extremes(lowest: str, mean: str, highest: str) -> tuple[str, str, str]:
    """Of the windows: nothing between two points is missed, however far apart they are."""
    window = 'window="1m"'
    return (
        f"min({DEVICE.model(f'min_over_time({DEVICE.gpu(lowest, window)}{RATE})')})",
        mean,
        f"max({DEVICE.model(f'max_over_time({DEVICE.gpu(highest, window)}{RATE})')})",
    )


def history() -> list[Panel]:
    """What it did: bands that hold every sample."""
    read, rate = DEVICE.read, DEVICE.rate
    heat, margin = map(DEVICE.gpu, ("gpu_temperature_celsius", "gpu_temperature_margin_celsius"))
    peak = DEVICE.gpu("gpu_memory_used_max_bytes", 'window="1m"')
    return [
        band(
            "Utilisation",
            "Lowest and highest sample, and the exact mean.",
            _extremes(
                "gpu_utilization_min_ratio",
                f"avg({rate('gpu_busy_seconds_total')})",
                "gpu_utilization_max_ratio",
            ),
            unit="percentunit",
            high=1,
        ),
        band(
            "Power",
            "Lowest and highest sample, the exact mean from the energy, and the limit.",
            _extremes(
                "gpu_power_min_watts",
                f"avg({rate('gpu_energy_joules_total')})",
                "gpu_power_max_watts",
            ),
            unit="watt",
            limit={"limit": f"max({read('gpu_power_limit_watts')})"},
        ),
        band(
            "Temperature",
            "Lowest and highest sample, and the mean; at the dashed line it slows itself down.",
            _extremes(
                "gpu_temperature_min_celsius",
                f"avg({read('gpu_temperature_celsius')})",
                "gpu_temperature_max_celsius",
            ),
            unit="celsius",
            low=None,
            limit={
                "slows down": f"min({DEVICE.model(f'{heat} + {margin}')})",
            },
        ),
        lines(
            "Memory in use",
            "Largest use of all samples, and where it will be in an hour if it goes on like in the "
            "last ten minutes.",
            {
                "highest": f"max({DEVICE.model(f'max_over_time({peak}{RATE})')})",
                "in an hour": "max("
                + DEVICE.model(f"predict_linear({DEVICE.gpu('gpu_memory_used_bytes')}[10m], 3600)")
                + ")",
                "all of it": f"max({read('gpu_memory_total_bytes')})",
            },
            unit="bytes",
        ),
    ]


def clocks() -> list[Panel]:
    """Why it is not faster."""
    reasons = DEVICE.rate("gpu_clock_event_seconds_total")
    return [
        lines(
            "Clocks",
            "Clocks now, and the highest that the SMs can do.",
            {
                "{{clock}}": f"avg by (clock) ({DEVICE.read('gpu_clock_hertz')})",
                "highest {{clock}}": "max by (clock) ("
                + DEVICE.read("gpu_clock_max_hertz", 'clock="sm"')
                + ")",
            },
            unit="hertz",
        ),
        states(
            "What held the clocks down",
            "Share of the time for which each reason held; no look is missed, because it is "
            "integrated. `sw_power_cap` is the power limit.",
            {"{{reason}}": f"max by (reason) ({reasons})"},
            unit="percentunit",
            steps=SLOWED,
            high=1,
        ),
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-device",
        title=links.PAGES["gpu-device"],
        description="A GPU: how it is now, what it did, and what holds it back.",
        variables=variables.DEVICE,
        annotations=marks.on_page(DEVICE),
        links=links.menu("gpu-device"),
        rows=[
            Row("", [*now(), identity()]),
            Row("", [firing_table(DEVICE, width=24, height=4)]),
            Row("Whose is it?", owners()),
            Row("What did it do?", history()),
            Row("Why is it not faster?", clocks()),
            Row("What went over its links?", transfers()),
            Row("Is its hardware well?", errors()),
            Row("MIG instances", instances(), collapsed=True),
        ],
    )
