"""Profiling: does a busy GPU do much? From the GPU's own counters, which Hopper and newer have."""

from __future__ import annotations

import links
import variables
from colours import BUSY, PLAIN
from core import Dashboard, Panel, Query, Row
from facts import fact
from panels import lines, override, stat
from promql import FLEET, recorded
from tables import Column, matrix, table

_SHOWN = 500


def _share(name: str) -> str:
    return f"sum({recorded(f'gpu_{name}_seconds:rate5m')}) / sum({recorded('gpu_profiled:count')})"


def _now(name: str) -> str:
    return FLEET.rate(f"gpu_{name}_seconds_total", over="[1m]")


def numbers() -> list[Panel]:
    """Means of all GPUs that tell it, now."""
    parts = ("sm_active", "sm_occupancy", "tensor_active", "dram_active")
    return [
        stat(
            "Profiled",
            "GPUs that tell what their SMs do.",
            f"count({FLEET.read('gpu_sm_active_ratio')})",
            width=4,
        ),
        stat(
            "Utilisation",
            "For comparison: a kernel ran, however small; of the same GPUs.",
            f"avg({FLEET.rate('gpu_busy_seconds_total', over='[1m]')}"
            f" and on (instance, uuid) {FLEET.gpu('gpu_sm_active_ratio')})",
            unit="percentunit",
            steps=BUSY,
            width=4,
            decimals=0,
        ),
        *(
            stat(
                fact(f"gpu_{part}_ratio").title,
                fact(f"gpu_{part}_ratio").description,
                f"avg({_now(part)})",
                unit="percentunit",
                steps=BUSY,
                width=4,
                decimals=0,
            )
            for part in parts
        ),
    ]


def scatter(title: str, description: str, x: tuple[str, str], y: tuple[str, str]) -> Panel:
    """A point for each GPU."""
    (across, x_expr), (up, y_expr) = x, y
    return Panel(
        type="xychart",
        title=title,
        description=description,
        queries=(
            Query(f"topk({_SHOWN}, {FLEET.named(x_expr)})", "", instant=True, format="table"),
            Query(FLEET.named(y_expr), "", instant=True, format="table"),
        ),
        width=12,
        height=10,
        unit="percentunit",
        steps=PLAIN,
        links=links.to_gpu(),
        options={
            "mapping": "manual",
            "series": [
                {
                    "frame": {"matcher": {"id": "byIndex", "options": 0}},
                    "x": {"matcher": {"id": "byName", "options": across}},
                    "y": {"matcher": {"id": "byName", "options": up}},
                }
            ],
            "legend": {
                "showLegend": False,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={"min": 0, "max": 1},
        custom={"show": "points", "pointSize": {"fixed": 6}, "fillOpacity": 50},
        overrides=[
            override(name, {"id": "custom.axisLabel", "value": name}) for name in (across, up)
        ],
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True, "uuid": True},
                    "indexByName": {},
                    "renameByName": {
                        "host": "Host",
                        "gpu": "GPU",
                        "name": "Model",
                        "Value #A": across,
                        "Value #B": up,
                    },
                },
            },
        ],
    )


def now() -> list[Panel]:
    """What limits which GPU."""
    tensor = f"max by (host, gpu) ({_now('tensor_active')})"
    sm = f"max by (host, gpu) ({_now('sm_active')})"
    return [
        scatter(
            "What limits them: memory or tensor cores",
            "Like a roofline: to the right memory is the limit, at the top the tensor cores are; "
            "bottom left something else holds the GPU up. Mean of the last minute; a point leads "
            "to its GPU.",
            ("DRAM active", _now("dram_active")),
            ("Tensor active", _now("tensor_active")),
        ),
        scatter(
            "Room on the SMs",
            "To the right SMs have work, at the top they are full of warps; bottom right there is "
            "work with too few warps to hide waiting.",
            ("SM active", _now("sm_active")),
            ("SM occupancy", _now("sm_occupancy")),
        ),
        matrix(
            "SM active, hosts by GPUs",
            fact("gpu_sm_active_ratio").description + " The 50 least active hosts.",
            f"{sm} and on (host) bottomk(50, avg by (host) ({_now('sm_active')}))",
            unit="percentunit",
            steps=BUSY,
        ),
        matrix(
            "Tensor active, hosts by GPUs",
            fact("gpu_tensor_active_ratio").description + " The 50 least active hosts.",
            f"{tensor} and on (host) bottomk(50, avg by (host) ({_now('tensor_active')}))",
            unit="percentunit",
            steps=BUSY,
        ),
        table(
            "Busy, and doing little",
            "Utilisation says that a kernel ran; this is the share of the SMs that it left empty. "
            "The twenty GPUs with the widest gap; a row leads to its GPU.",
            [
                Column(
                    "Empty SMs",
                    "topk(20, "
                    + FLEET.named(
                        f"rate({FLEET.gpu('gpu_busy_seconds_total')}[1m])"
                        f" - rate({FLEET.gpu('gpu_sm_active_seconds_total')}[1m])"
                    )
                    + ")",
                    "percentunit",
                    cell="gauge",
                    high=1,
                    decimals=0,
                )
            ],
            sort="Empty SMs",
            width=24,
            height=8,
        ),
    ]


def history() -> list[Panel]:
    """The same over time."""
    parts = ("sm_active", "sm_occupancy", "tensor_active", "dram_active")
    return [
        lines(
            "Activity",
            "Exact means of five minutes and of all profiled GPUs.",
            {fact(f"gpu_{part}_ratio").title: _share(part) for part in parts},
            unit="percentunit",
            high=1,
            width=24,
        )
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-profiling",
        title=links.PAGES["gpu-profiling"],
        description="What busy GPUs do: SMs, tensor cores, memory bandwidth.",
        variables=variables.FLEET,
        links=links.menu("gpu-profiling"),
        rows=[
            Row("", numbers()),
            Row("What limits which GPU?", now()),
            Row("Since when?", history()),
        ],
    )
