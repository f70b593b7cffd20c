"""Health: which hardware is failing, which is about to, and what the driver asks for."""

from __future__ import annotations

import links
import marks
import variables
from colours import CRITICAL, GOOD, HEALTH, NONE_IS_BEST, NONE_IS_GOOD, VERDICTS, WARNING, values
from core import Dashboard, Panel, Row
from facts import fact
from kerneltable import kernel_table
from panels import lines, stat
from promql import FLEET, GPU, per_minute, recorded
from tables import Column, table
from xidtable import xid_table

_THERMAL = 'reason=~"(hw|sw)_thermal_slowdown"'
ACTIONS = values(
    {
        0: ("none", GOOD),
        1: ("reset the GPU", WARNING),
        2: ("reboot the node", CRITICAL),
        3: ("drain peer-to-peer traffic", WARNING),
        4: ("drain and reset", WARNING),
        5: ("recover the IMEX domain", WARNING),
        6: ("reset its PCIe bus", WARNING),
        7: ("reboot the system", CRITICAL),
    }
)


def _count(metric: str, *matchers: str, above: float = 0) -> str:
    return f"count({FLEET.model(FLEET.gpu(metric, *matchers) + f' > {above:g}')}) or vector(0)"


def numbers() -> list[Panel]:
    """How many GPUs have which trouble."""
    increase = FLEET.model(
        "increase("
        + FLEET.gpu("gpu_ecc_volatile_errors_total", 'type="uncorrected"')
        + "[$__range]) > 0"
    )
    links_down = f"{FLEET.gpu('gpu_nvlink_links')} - {FLEET.gpu('gpu_nvlink_links_active')} > 0"
    recent = f"{FLEET.gpu('gpu_xid_last_timestamp_seconds')} > time() - $__range_s"
    slow = f"rate({FLEET.gpu('gpu_clock_event_seconds_total', _THERMAL)}[5m]) > 0.01"
    return [
        stat("Lost", fact("gpu_lost").description, _count("gpu_lost"), steps=NONE_IS_GOOD),
        stat(
            "Failed",
            "GPUs with a verdict of the driver that asks to act now.",
            f"count(max by (instance, uuid) "
            f"({FLEET.model(FLEET.gpu('gpu_health_status') + ' == 2')})) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Wait for a reset",
            "GPUs of which something is replaced at the next reset.",
            f"count(max by (instance, uuid) "
            f"({FLEET.model(FLEET.gpu('gpu_health_status') + ' == 1')})) or vector(0)",
            steps=NONE_IS_BEST,
        ),
        stat(
            "With XIDs",
            "GPUs that reported an XID in the shown range.",
            f"count(max by (instance, uuid) ({FLEET.model(recent)})) or vector(0)",
            steps=NONE_IS_BEST,
        ),
        stat(
            "Uncorrectable errors",
            "GPUs that had uncorrectable memory errors in the shown range.",
            f"count({increase}) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "NVLinks down",
            "GPUs of which an NVLink is down.",
            f"count({FLEET.model(links_down)}) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Heat slows down",
            "GPUs that heat has slowed down in the last five minutes.",
            f"count(max by (instance, uuid) ({FLEET.model(slow)})) or vector(0)",
            steps=NONE_IS_BEST,
        ),
        stat(
            "Least margin",
            "Degrees left to the slowdown, of the hottest GPU.",
            f"min({FLEET.read('gpu_temperature_margin_celsius')})",
            unit="celsius",
            steps=((-100, CRITICAL), (2, WARNING), (8, GOOD)),
            decimals=0,
        ),
    ]


def verdicts() -> list[Panel]:
    """What the driver says is wrong, and what it asks for."""

    def named(expr: str, *labels: str) -> str:
        by = ", ".join((GPU, "name", *labels))
        return f"max by ({by}) (({expr}) * on (instance, uuid) group_left (name) {FLEET.info()})"

    margin = FLEET.gpu("gpu_temperature_margin_celsius")
    heat = f"clamp_min(predict_linear({margin}[30m], 3600), 0) < 2"
    rows = f"{_forecast()} > 8"
    coming = _named("degrees left in 1 h", heat), _named("rows replaced in 30 d", rows)
    return [
        table(
            "What the driver says is wrong",
            fact("gpu_health_status").description,
            [
                Column(
                    "Verdict",
                    named(f"{FLEET.gpu('gpu_health_status')} > 0", "check"),
                    steps=HEALTH,
                    mappings=VERDICTS,
                    cell="color-background",
                )
            ],
            more={"check": "What"},
            sort="Verdict",
        ),
        table(
            "What the driver asks for",
            fact("gpu_recovery_action").description,
            [
                Column(
                    "Do",
                    named(f"{FLEET.gpu('gpu_recovery_action')} > 0"),
                    mappings=ACTIONS,
                    steps=NONE_IS_GOOD,
                    cell="color-text",
                )
            ],
            sort="Do",
        ),
        table(
            "Memory that was replaced",
            "GPUs whose memory has bad rows: how many were replaced, and whether there is room for "
            "more. Without a spare row in a bank the next bad row there ends the board's life.",
            [
                Column("After correctable", named(_rows("correctable"))),
                Column(
                    "After uncorrectable",
                    named(_rows("uncorrectable")),
                    steps=NONE_IS_BEST,
                    cell="color-text",
                ),
                Column(
                    "Banks without spares",
                    named(_with_rows(FLEET.gpu("gpu_row_remapper_banks", 'availability="none"'))),
                    steps=NONE_IS_GOOD,
                    cell="color-text",
                ),
            ],
            sort="After uncorrectable",
        ),
        table(
            "Predicted trouble",
            "Degrees left to the slowdown in an hour, if half an hour goes on like this; rows that "
            "will have been replaced in 30 days, by the last week. Only what will be bad.",
            # One query, because a column by itself has another name than one of several.
            [Column("Then", f"{coming[0]} or {coming[1]}", decimals=0)],
            more={"what": "What"},
            sort="Then",
        ),
    ]


def _named(what: str, expr: str) -> str:
    return f'label_replace({FLEET.named(expr)}, "what", "{what}", "", "")'


def _with_rows(expr: str) -> str:
    """Of boards of which any row was replaced."""
    total = f"sum by (instance, uuid) ({FLEET.gpu('gpu_remapped_rows')})"
    return f"{expr} and on (instance, uuid) {total} > 0"


def _rows(kind: str) -> str:
    return _with_rows(FLEET.gpu("gpu_remapped_rows", f'type="{kind}"'))


def _forecast() -> str:
    rows = FLEET.gpu("gpu_remapped_rows")
    # A subquery: one value in three hours is enough, and cheap.
    total = f"sum by (instance, host, gpu, uuid) ({rows})"
    return f"predict_linear(({total})[7d:3h], 30 * 86400)"


def history() -> list[Panel]:
    """When it began."""
    ecc = recorded("gpu_ecc_volatile_errors:rate5m")
    nvlink = recorded("gpu_nvlink_errors:rate5m")
    replays = recorded("gpu_pcie_replays:rate5m")
    slowed = recorded("gpu_clock_event_seconds:rate5m")
    return [
        lines(
            "Unhealthy and lost GPUs",
            "GPUs of which the driver says that something is wrong, and those that are lost.",
            {
                "unhealthy": f"sum({recorded('gpu_unhealthy:count')})",
                "lost": f"sum({recorded('gpu_lost:sum')})",
            },
            unit="none",
        ),
        lines(
            "Memory errors",
            "Errors per minute that ECC corrected, or could not correct.",
            {"{{type}}": per_minute(f"sum by (type) ({ecc})")},
            unit="none",
        ),
        lines(
            "Errors on links",
            "Per minute: errors on NVLinks by kind, and packets that PCIe had to send again.",
            {
                "NVLink {{type}}": per_minute(f"sum by (type) ({nvlink})"),
                "PCIe replay": per_minute(f"sum({replays})"),
            },
            unit="none",
        ),
        lines(
            "What holds clocks down",
            "Number of GPUs, each counted by the share of the time in which the reason held.",
            {"{{reason}}": f"sum by (reason) ({slowed})"},
            unit="none",
        ),
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-health",
        title=links.PAGES["gpu-health"],
        description="Hardware that fails or is about to: XIDs, memory, links, heat.",
        variables=variables.FLEET,
        annotations=marks.on_fleet(),
        links=links.menu("gpu-health"),
        span="6h",
        refresh="30s",
        rows=[
            Row("", numbers()),
            Row("What did the driver report?", [xid_table(FLEET), kernel_table(FLEET)]),
            Row("What does it say, and ask for?", verdicts()),
            Row("Since when?", history()),
        ],
    )
