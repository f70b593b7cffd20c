"""One host, or a few: its GPUs side by side."""

from __future__ import annotations

import links
import marks
import variables
from alerts import firing_table
from colours import (
    HEALTH,
    MARGIN,
    MEMORY_SHARE,
    NONE_IS_GOOD,
    POWER_SHARE,
    SLOWED,
    VERDICTS,
    YES_NO,
    values,
)
from core import Dashboard, Panel, Row
from facts import fact
from panels import lines, metric_lines, stat, states
from promql import BY_GPU, DEVICE, on_host
from tables import Column, table

_THERMAL = 'reason=~"(hw|sw)_thermal_slowdown|hw_power_brake_slowdown|hw_slowdown"'
UP = values({0: ("away", "red"), 1: ("answers", "green")})


def numbers() -> list[Panel]:
    """The host as a whole."""
    missing = f"sum(clamp_min({on_host('gpu_expected_devices')} - {on_host('gpu_devices')}, 0))"
    lost = f"(sum({DEVICE.read('gpu_lost')}) or vector(0))"
    return [
        stat("GPUs", "GPUs that are chosen.", f"count({DEVICE.info()})"),
        stat(
            "Missing or lost",
            "GPUs that are expected and not listed, and those that are lost.",
            f"{missing} + {lost}",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Driver",
            fact("gpu_sentinel_nvml_up").description,
            f"min({on_host('gpu_sentinel_nvml_up')})",
            mappings=UP,
        ),
        stat(
            "Oldest reading",
            "Age of the oldest reading of the fast tier.",
            "max(time() - "
            + DEVICE.model(DEVICE.gpu("gpu_sentinel_last_sample_timestamp_seconds", 'tier="fast"'))
            + ")",
            unit="s",
            steps=((0, "green"), (5, "orange"), (15, "red")),
            decimals=1,
        ),
        stat(
            "Utilisation",
            "Exact mean of the last minute and of all chosen GPUs.",
            f"avg({DEVICE.rate('gpu_busy_seconds_total', over='[1m]')})",
            unit="percentunit",
            decimals=0,
        ),
        stat(
            "Memory",
            "Memory in use, of the memory of all chosen GPUs.",
            f"sum({DEVICE.read('gpu_memory_used_bytes')})"
            f" / sum({DEVICE.read('gpu_memory_total_bytes')})",
            unit="percentunit",
            steps=MEMORY_SHARE,
            decimals=0,
        ),
        stat(
            "Power",
            "Power of all chosen GPUs now.",
            f"sum({DEVICE.read('gpu_power_watts')})",
            unit="watt",
            decimals=1,
        ),
        stat(
            "Least margin",
            "Degrees left to the slowdown, of the hottest GPU.",
            f"min({DEVICE.read('gpu_temperature_margin_celsius')})",
            unit="celsius",
            steps=MARGIN,
            decimals=0,
        ),
    ]


def gpus() -> Panel:
    """Every GPU with what matters of it."""
    named, gpu = DEVICE.named, DEVICE.gpu
    throttled = (
        "max by (instance, host, gpu, uuid) (rate("
        f"{gpu('gpu_clock_event_seconds_total', _THERMAL)}[5m]))"
    )
    health = f"max by (instance, host, gpu, uuid) ({gpu('gpu_health_status')})"
    return table(
        "GPUs",
        "Every chosen GPU, the hottest first; a row leads to it.",
        [
            Column("Lost", named(gpu("gpu_lost")), mappings=YES_NO, cell="color-text"),
            Column("Health", named(health), steps=HEALTH, mappings=VERDICTS, cell="color-text"),
            Column(
                "Utilisation",
                named(f"rate({gpu('gpu_busy_seconds_total')}[1m])"),
                "percentunit",
                cell="gauge",
                high=1,
                decimals=0,
            ),
            Column(
                "Memory",
                named(f"{gpu('gpu_memory_used_bytes')} / {gpu('gpu_memory_total_bytes')}"),
                "percentunit",
                MEMORY_SHARE,
                "gauge",
                1,
                decimals=0,
            ),
            Column(
                "Of power limit",
                named(f"{gpu('gpu_power_watts')} / {gpu('gpu_power_limit_watts')}"),
                "percentunit",
                POWER_SHARE,
                "gauge",
                1,
                decimals=0,
            ),
            Column("Temperature", named(gpu("gpu_temperature_celsius")), "celsius", decimals=0),
            Column(
                "Left to slowdown",
                named(gpu("gpu_temperature_margin_celsius")),
                "celsius",
                MARGIN,
                "color-background",
                decimals=0,
            ),
            Column(
                "Slowed down",
                named(throttled),
                "percentunit",
                SLOWED,
                "color-background",
                decimals=0,
            ),
        ],
        sort="Left to slowdown",
        descending=False,
        width=24,
        height=9,
    )


def work() -> list[Panel]:
    """What the GPUs did, a line each."""
    memory = (
        DEVICE.gpu("gpu_memory_used_max_bytes", 'window="1m"')
        + f" / ignoring (window) {DEVICE.gpu('gpu_memory_total_bytes')}"
    )
    return [
        lines(
            "Utilisation",
            "Exact mean between the points.",
            {BY_GPU: DEVICE.rate("gpu_busy_seconds_total")},
            unit="percentunit",
            high=1,
            links=links.LINE_TO_GPU,
        ),
        lines(
            "Memory in use",
            "Largest use of the last minute, as a share of the memory.",
            {BY_GPU: DEVICE.model(memory)},
            unit="percentunit",
            high=1,
            links=links.LINE_TO_GPU,
        ),
        metric_lines("gpu_power_max_watts", DEVICE, 'window="1m"', links=links.LINE_TO_GPU),
        lines(
            "Left to slowdown",
            fact("gpu_temperature_margin_celsius").description,
            {BY_GPU: DEVICE.read("gpu_temperature_margin_celsius")},
            unit="celsius",
            steps=MARGIN,
            low=None,
            links=links.LINE_TO_GPU,
        ),
    ]


def trouble() -> list[Panel]:
    """When something was wrong with which GPU."""
    slowed = f"rate({DEVICE.gpu('gpu_clock_event_seconds_total', _THERMAL)}[$__rate_interval])"
    return [
        states(
            "Slowed down by heat or power brake",
            "Share of the time in which hardware or heat held the clocks of a GPU down.",
            {BY_GPU: f"max by (host, gpu) ({DEVICE.model(slowed)})"},
            unit="percentunit",
            high=1,
            links=links.LINE_TO_GPU,
        ),
        states(
            "Health",
            fact("gpu_health_status").description,
            {BY_GPU: f"max by (host, gpu) ({DEVICE.read('gpu_health_status')})"},
            steps=HEALTH,
            mappings=VERDICTS,
            links=links.LINE_TO_GPU,
        ),
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-host",
        title=links.PAGES["gpu-host"],
        description="A host: its GPUs side by side, and which of them is not like the others.",
        variables=variables.DEVICE,
        annotations=marks.on_page(DEVICE),
        links=links.menu("gpu-host"),
        rows=[
            Row("", numbers()),
            Row("", [gpus()]),
            Row("", [firing_table(DEVICE, width=24, height=5)]),
            Row("Which GPU is not like the others?", work()),
            Row("When was something wrong?", trouble()),
        ],
    )
