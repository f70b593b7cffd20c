"""The fleet, the home page: is everything there, is it well, does it work, where to look."""

from __future__ import annotations

import links
import marks
import variables
from alerts import firing_table
from colours import BUSY, MARGIN, MEMORY_SHARE, NONE_IS_BEST, NONE_IS_GOOD, SLOWED
from core import Dashboard, Panel, Row
from panels import heatmap, lines, stat
from promql import FLEET, HELD, HOSTS, IDLE, MODEL, on_host, recorded, selector
from tables import Column, matrix, table

#: Rows of a matrix, and of a table of extremes.
HOSTS_SHOWN, GPUS_SHOWN = 50, 10
ALERTS = selector("ALERTS", *HOSTS, 'alertstate="firing"', 'alertname!="Watchdog"')

POWER = recorded("gpu_power_watts:mean5m")
BUSY_NOW = FLEET.rate("gpu_busy_seconds_total", over="[1m]")
MEMORY = f"{FLEET.gpu('gpu_memory_used_bytes')} / {FLEET.gpu('gpu_memory_total_bytes')}"
IDLE_HELD = (
    f"({MEMORY} > {HELD}) and on (instance, uuid) "
    f"(rate({FLEET.gpu('gpu_busy_seconds_total')}[5m]) < {IDLE})"
)
SLOWED_DOWN = (
    "max by (instance, host, gpu, uuid) (rate("
    + FLEET.gpu(
        "gpu_clock_event_seconds_total",
        'reason=~"(hw|sw)_thermal_slowdown|hw_power_brake_slowdown"',
    )
    + "[5m]))"
)
UNHEALTHY = (
    "max by (instance, uuid) ("
    + FLEET.gpu("gpu_health_status")
    + f") > 0 and on (instance, uuid) {FLEET.info()}"
)
MISSING = (
    f"sum(clamp_min({on_host('gpu_expected_devices')} - {on_host('gpu_devices')}, 0))"
    f" + (sum({FLEET.read('gpu_lost')}) or vector(0))"
)


def numbers() -> list[Panel]:
    """What is there, and how it is: read in five seconds."""
    health = links.to_page("gpu-health")
    efficiency = links.to_page("gpu-efficiency")
    return [
        stat("GPUs", "GPUs that are known, lost ones included.", f"count({FLEET.info()})"),
        stat(
            "Busy",
            "GPUs that were busy for at least 5 % of the last minute.",
            f"count({BUSY_NOW} >= {IDLE}) or vector(0)",
            links=efficiency,
        ),
        stat(
            "Idle, memory held",
            "GPUs that did next to nothing for five minutes while more than 5 % of their memory "
            "is in use.",
            f"count({FLEET.model(IDLE_HELD)}) or vector(0)",
            steps=NONE_IS_BEST,
            links=efficiency,
        ),
        stat(
            "Unhealthy",
            "GPUs of which the driver says that something is wrong.",
            f"count({UNHEALTHY}) or vector(0)",
            steps=NONE_IS_GOOD,
            links=health,
        ),
        stat(
            "Missing or lost",
            "GPUs that the driver reports as lost, and those that are expected and not listed.",
            MISSING,
            steps=NONE_IS_GOOD,
            links=health,
        ),
        stat(
            "Alerts",
            "Alerts that fire now, without the watchdog.",
            f"count({ALERTS}) or vector(0)",
            steps=NONE_IS_GOOD,
            links=links.to_page("gpu-alerts"),
        ),
        stat(
            "Power",
            "Power of all GPUs now.",
            f"sum({FLEET.read('gpu_power_watts')})",
            unit="watt",
            decimals=1,
            links=efficiency,
        ),
        stat(
            "Energy, shown range",
            "Energy of all GPUs in the range that is shown.",
            f"sum(avg_over_time({POWER}[$__range])) * $__range_s / 3600",
            unit="watth",
            decimals=1,
            links=efficiency,
        ),
    ]


def _extreme(title: str, description: str, expr: str, column: Column) -> Panel:
    named = FLEET.named(expr)
    ranked = Column(
        column.title,
        f"{'bottomk' if column.title == 'Left' else 'topk'}({GPUS_SHOWN}, {named})",
        column.unit,
        column.steps,
        column.cell,
        column.high,
        decimals=column.decimals,
    )
    return table(
        title,
        description,
        [ranked],
        labels=("host", "gpu"),
        sort=column.title,
        descending=column.title != "Left",
        width=6,
        height=9,
    )


def extremes() -> list[Panel]:
    """The GPUs at the ends: a row leads to its GPU."""
    return [
        _extreme(
            "Nearest to their slowdown",
            "The GPUs with the fewest degrees left until they slow themselves down.",
            FLEET.gpu("gpu_temperature_margin_celsius"),
            Column("Left", "", "celsius", MARGIN, "color-background", decimals=0),
        ),
        _extreme(
            "Slowed down by heat or power brake",
            "Share of the last five minutes in which hardware or heat held the clocks down.",
            f"{SLOWED_DOWN} > 0",
            Column("Slowed", "", "percentunit", SLOWED, "color-background", decimals=0),
        ),
        _extreme(
            "Fullest memory",
            "Largest memory use of the last minute, as a share of the memory.",
            FLEET.gpu("gpu_memory_used_max_bytes", 'window="1m"')
            + f" / ignoring (window) {FLEET.gpu('gpu_memory_total_bytes')}",
            Column("Memory", "", "percentunit", MEMORY_SHARE, "gauge", 1, decimals=0),
        ),
        _extreme(
            "Idle, with memory held",
            "GPUs that did nothing for five minutes, by the share of memory that is held.",
            IDLE_HELD,
            Column("Memory", "", "percentunit", MEMORY_SHARE, "gauge", 1, decimals=0),
        ),
    ]


def maps() -> list[Panel]:
    """Hosts by GPUs."""
    utilization = f"max by (host, gpu) ({BUSY_NOW})"
    margin = f"max by (host, gpu) ({FLEET.read('gpu_temperature_margin_celsius')})"
    return [
        matrix(
            "Utilisation, hosts by GPUs",
            f"Exact mean of the last minute; the {HOSTS_SHOWN} least busy of the chosen hosts. "
            "A cell leads to its GPU, a name to its host. An empty cell: a GPU that tells nothing.",
            f"{utilization} and on (host) bottomk({HOSTS_SHOWN}, avg by (host) ({BUSY_NOW}))",
            unit="percentunit",
            steps=BUSY,
        ),
        matrix(
            "Degrees left to the slowdown, hosts by GPUs",
            f"By each GPU's own limit; the {HOSTS_SHOWN} hottest of the chosen hosts. "
            "A cell leads to its GPU, a name to its host.",
            f"{margin} and on (host) bottomk({HOSTS_SHOWN}, min by (host) "
            f"({FLEET.read('gpu_temperature_margin_celsius')}))",
            unit="celsius",
            steps=MARGIN,
        ),
    ]


def history() -> list[Panel]:
    """The same over time, from recorded series."""
    devices = f"sum({recorded('gpu_devices:count')})"
    return [
        heatmap(
            "GPUs by utilisation",
            "How many GPUs were how busy: dark is many. From minutes' exact means of five minutes.",
            f"sum by (le) ({recorded('gpu_utilization_ratio:bucket')})",
            width=12,
        ),
        lines(
            "Work, idle and held",
            "As a share of the GPUs: what they did, how many did nothing, and how many of those "
            "had memory in use.",
            {
                "utilisation": f"sum({recorded('gpu_busy_seconds:increase5m')})"
                f" / sum({recorded('gpu_observed_seconds:increase5m')})",
                "idle": f"sum({recorded('gpu_idle:count')}) / {devices}",
                "idle, memory held": f"sum({recorded('gpu_idle_memory_held:count')}) / {devices}",
            },
            unit="percentunit",
            high=1,
        ),
        lines(
            "Power by model",
            "Exact mean power of five minutes, of all GPUs of a model.",
            {"{{name}}": f"sum by (name) ({recorded('gpu_power_watts:mean5m')})"},
            unit="watt",
            stacked=True,
        ),
        lines(
            "What holds clocks down",
            "Number of GPUs, each counted by the share of the time in which the reason held.",
            {"{{reason}}": f"sum by (reason) ({recorded('gpu_clock_event_seconds:rate5m')})"},
            unit="none",
            links=links.to_page("gpu-health"),
        ),
    ]


def hosts() -> Panel:
    """One line a host."""

    def of_host(name: str, how: str = "sum") -> str:
        return f"{how} by (host) ({selector(f'host_model:{name}', *HOSTS, MODEL)})"

    devices = of_host("gpu_devices:count")
    return table(
        "Hosts",
        "Every chosen host, the hottest first; a row leads to its host.",
        [
            Column("GPUs", devices),
            Column(
                "Unhealthy", of_host("gpu_unhealthy:count"), steps=NONE_IS_GOOD, cell="color-text"
            ),
            Column(
                "Utilisation",
                f"{of_host('gpu_busy_seconds:increase5m')}"
                f" / {of_host('gpu_observed_seconds:increase5m')}",
                "percentunit",
                cell="gauge",
                high=1,
                decimals=0,
            ),
            Column(
                "Memory",
                f"{of_host('gpu_memory_used_bytes:sum')} / {of_host('gpu_memory_total_bytes:sum')}",
                "percentunit",
                MEMORY_SHARE,
                "gauge",
                1,
                decimals=0,
            ),
            Column("Power", of_host("gpu_power_watts:mean5m"), "watt", decimals=1),
            Column(
                "Left to slowdown",
                of_host("gpu_temperature_margin_celsius:min", "min"),
                "celsius",
                MARGIN,
                "color-text",
                decimals=0,
            ),
        ],
        labels=("host",),
        sort="Left to slowdown",
        descending=False,
        row_links=links.to_host(),
        width=24,
        height=10,
    )


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-fleet",
        title=links.PAGES["gpu-fleet"],
        description="All GPUs: what is there, what is wrong, what works, and where to look next.",
        variables=variables.FLEET,
        annotations=marks.on_fleet(),
        links=links.menu("gpu-fleet"),
        rows=[
            Row("", numbers()),
            Row("", [firing_table(FLEET, height=7, width=24)]),
            Row("Which GPUs?", [*maps(), *extremes()]),
            Row("Since when?", history()),
            Row("Which hosts?", [hosts()]),
        ],
    )
