"""Efficiency and cost: what the GPUs take, what they are used for, and what is wasted."""

from __future__ import annotations

import links
import variables
from colours import MEMORY_SHARE, NONE_IS_BEST
from core import Dashboard, Json, Panel, Row
from panels import heatmap, lines, stat
from promql import FLEET, HELD, HOSTS, IDLE, MODEL, recorded, selector
from tables import Column, table

#: What the reader may change: prices are in whatever currency they think in.
CONSTANTS: tuple[Json, ...] = (
    variables.number("kwh_price", "Price of a kWh", "0.25"),
    variables.number("pue", "PUE", "1.3"),
    variables.number("co2", "kg CO2 per kWh", "0.35"),
    variables.number("gpu_price", "Price of a GPU-hour", "2.00"),
)
POWER = recorded("gpu_power_watts:mean5m")
BUSY, OBSERVED = (recorded(f"gpu_{what}_seconds:increase5m") for what in ("busy", "observed"))
#: Of the five minutes behind each of these.
WINDOW = "/ 300"
#: GPU-hours from a number of GPUs that is recorded over time.
HOURS = "* $__range_s / 3600"
KWH = f"sum(avg_over_time({POWER}[$__range])) {HOURS} / 1000"


def _hours(name: str) -> str:
    return f"sum(avg_over_time({recorded(name)}[$__range])) {HOURS}"


def numbers() -> list[Panel]:
    """In the shown range."""
    work = f"{_hours('gpu_busy_seconds:increase5m')} {WINDOW}"
    return [
        stat(
            "Energy",
            "Energy of the GPUs alone.",
            f"1000 * {KWH}",
            unit="watth",
            decimals=1,
        ),
        stat(
            "Cost of energy",
            "Energy of the GPUs times PUE times price; all three can be changed above.",
            f"{KWH} * $pue * $kwh_price",
            decimals=2,
        ),
        stat(
            "CO2",
            "Energy of the GPUs times PUE times the carbon intensity given above.",
            f"1000 * {KWH} * $pue * $co2",
            unit="massg",
            decimals=1,
        ),
        stat(
            "Utilisation",
            "Exact mean over all GPUs and the shown range.",
            f"sum(avg_over_time({BUSY}[$__range])) / sum(avg_over_time({OBSERVED}[$__range]))",
            unit="percentunit",
            decimals=0,
        ),
        stat(
            "Idle GPU-hours",
            "Hours in which GPUs did nothing for five minutes at a time.",
            _hours("gpu_idle:count"),
            decimals=1,
        ),
        stat(
            "Idle with memory held",
            "Of those, hours in which somebody had memory in use: stranded GPUs.",
            _hours("gpu_idle_memory_held:count"),
            decimals=1,
            steps=NONE_IS_BEST,
        ),
        stat(
            "Value of idle hours",
            "Idle GPU-hours times the price of one, given above.",
            f"{_hours('gpu_idle:count')} * $gpu_price",
            decimals=2,
        ),
        stat(
            "Energy while working",
            "Watt-hours for an hour of full work: energy over busy GPU-hours.",
            f"1000 * {KWH} / ({work} > 0)",
            unit="watth",
            decimals=0,
        ),
    ]


def use() -> list[Panel]:
    """How well they are used, and whether that changes."""
    # As many GPUs as would do the same work without a pause.
    work = f"sum({BUSY}) {WINDOW}"
    return [
        heatmap(
            "GPUs by utilisation",
            "How many GPUs were how busy: dark is many. A good fleet is dark at the top.",
            f"sum by (le) ({recorded('gpu_utilization_ratio:bucket')})",
        ),
        lines(
            "Utilisation, this week and last",
            "Mean of all GPUs; the dashed line is the same hour a week before.",
            {
                "this week": f"sum({BUSY}) / sum({OBSERVED})",
                "week before": f"sum({BUSY} offset 1w) / sum({OBSERVED} offset 1w)",
            },
            unit="percentunit",
            high=1,
            overrides=_dashed("week before"),
        ),
        lines(
            "Power, this week and last",
            "Power of all GPUs; the dashed line is the same hour a week before.",
            {"this week": f"sum({POWER})", "week before": f"sum({POWER} offset 1w)"},
            unit="watt",
            overrides=_dashed("week before"),
        ),
        lines(
            "Where use is heading",
            "Busy and idle GPUs, and how many will be busy in a week if the last week goes on.",
            {
                "busy, as full GPUs": work,
                "idle": f"sum({recorded('gpu_idle:count')})",
                "busy in a week": f"clamp_min(predict_linear(({work})[1w:1h], 7 * 86400), 0)",
                "GPUs": f"sum({recorded('gpu_devices:count')})",
            },
            unit="none",
            overrides=_dashed("busy in a week"),
        ),
    ]


def _dashed(field: str) -> list[Json]:
    line: Json = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}}
    return [{"matcher": {"id": "byName", "options": field}, "properties": [line]}]


def where() -> list[Panel]:
    """Who takes it, and who wastes it."""

    def by(label: str, name: str) -> str:
        series = selector(f"host_model:{name}", *HOSTS, MODEL)
        return f"sum by ({label}) (avg_over_time({series}[$__range]))"

    def columns(label: str) -> list[Column]:
        energy = f"{by(label, 'gpu_power_watts:mean5m')} {HOURS}"
        busy, observed = (
            by(label, f"gpu_{what}_seconds:increase5m") for what in ("busy", "observed")
        )
        used = f"{busy} / {observed}"
        return [
            Column("Idle GPU-hours", f"{by(label, 'gpu_idle:count')} {HOURS}", decimals=1),
            Column("Utilisation", used, "percentunit", cell="gauge", high=1, decimals=0),
            Column("Energy", energy, "watth", decimals=1),
            Column("Cost", f"{energy} / 1000 * $pue * $kwh_price", decimals=2),
        ]

    memory = f"{FLEET.gpu('gpu_memory_used_bytes')} / {FLEET.gpu('gpu_memory_total_bytes')}"
    held = (
        f"({memory} > {HELD}) and on (instance, uuid) "
        f"(rate({FLEET.gpu('gpu_busy_seconds_total')}[5m]) < {IDLE})"
    )
    return [
        table(
            "Hosts",
            "In the shown range, the most idle first; a row leads to its host.",
            columns("host"),
            labels=("host",),
            sort="Idle GPU-hours",
            row_links=links.to_host(),
            width=10,
            height=10,
        ),
        table(
            "Models",
            "In the shown range.",
            columns("name"),
            labels=("name",),
            sort="Energy",
            row_links=links.to_page("gpu-fleet"),
            width=7,
            height=10,
        ),
        table(
            "Stranded now",
            "GPUs that did nothing for five minutes while their memory is held; a row leads to its "
            "GPU.",
            [
                Column(
                    "Memory",
                    f"topk(50, {FLEET.named(held)})",
                    "percentunit",
                    MEMORY_SHARE,
                    "gauge",
                    1,
                    decimals=0,
                )
            ],
            labels=("host", "gpu"),
            sort="Memory",
            width=7,
            height=10,
        ),
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-efficiency",
        title=links.PAGES["gpu-efficiency"],
        description="Energy, cost and CO2, idle and stranded GPUs, this week against last.",
        variables=(*variables.FLEET, *CONSTANTS),
        links=links.menu("gpu-efficiency"),
        span="24h",
        refresh="1m",
        rows=[
            Row("", numbers()),
            Row("How well are they used?", use()),
            Row("Where does it go?", where()),
        ],
    )
