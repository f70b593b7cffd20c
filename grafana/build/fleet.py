"""The fleet overview: is everything there, is anything too hot, what does it do and take."""

from __future__ import annotations

from panels import BAD, DATASOURCE, GOOD, NEUTRAL, WARN, Json, Panel, arrange, lines, stat

WHERE = 'job="gpu-sentinel",host=~"$host"'
BY_GPU = "{{host}} GPU {{gpu}}"

UTILIZATION = ((0, NEUTRAL), (0.3, GOOD))
MARGIN = ((-100, BAD), (2, WARN), (8, GOOD))


def variables() -> Json:
    query = 'label_values(gpu_info{job="gpu-sentinel"}, host)'
    return {
        "list": [
            {
                "name": "host",
                "label": "Host",
                "type": "query",
                "datasource": DATASOURCE,
                "query": {"query": query, "refId": "host"},
                "definition": query,
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]},
                "sort": 1,
            }
        ]
    }


def table() -> Panel:
    """Every GPU, the hottest first."""
    join = "on (instance, uuid) group_left (name)"
    identity = f"gpu_info{{{WHERE}}}"

    def named(expr: str) -> str:
        return f"{expr} * {join} {identity}"

    queries = {
        "Utilisation": named(f"gpu:utilization_ratio:mean5m{{{WHERE}}}"),
        "Memory": named(f"gpu:memory_used:ratio{{{WHERE}}}"),
        "Power": named(f"gpu_power_watts{{{WHERE}}}"),
        "Temperature": named(f"gpu_temperature_celsius{{{WHERE}}}"),
        "To slowdown": named(f"gpu_temperature_margin_celsius{{{WHERE}}}"),
        "Lost": named(f"gpu_lost{{{WHERE}}}"),
    }
    columns = list(queries)
    units = ("percentunit", "percentunit", "watt", "celsius", "celsius", "bool_yes_no")
    bar: list[Json] = [
        {"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic"}},
        {"id": "min", "value": 0},
        {"id": "max", "value": 1},
    ]
    overrides: list[Json] = [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [
                {"id": "unit", "value": unit},
                *(bar if column in ("Utilisation", "Memory") else []),
            ],
        }
        for column, unit in zip(columns, units, strict=True)
    ]
    overrides.append(
        {
            "matcher": {"id": "byName", "options": "To slowdown"},
            "properties": [
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                {
                    "id": "thresholds",
                    "value": {
                        "mode": "absolute",
                        "steps": [
                            {"color": color, "value": None if i == 0 else value}
                            for i, (value, color) in enumerate(MARGIN)
                        ],
                    },
                },
            ],
        }
    )
    hidden = ["Time", "__name__", "instance", "job", "uuid"]
    return Panel(
        "table",
        "GPUs",
        "Every GPU of the chosen hosts; utilisation is the exact mean of five minutes.",
        queries,
        24,
        9,
        instant=True,
        options={"showHeader": True, "sortBy": [{"displayName": "To slowdown", "desc": False}]},
        overrides=overrides,
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": dict.fromkeys(hidden, True),
                    "indexByName": {"host": 0, "gpu": 1, "name": 2},
                    "renameByName": {
                        "host": "Host",
                        "gpu": "GPU",
                        "name": "Model",
                        **{f"Value #{chr(ord('A') + i)}": c for i, c in enumerate(columns)},
                    },
                },
            },
        ],
    )


def panels() -> list[Panel]:
    """In the order in which they are read."""
    return [
        stat("GPUs", "GPUs that are shown.", f"count(gpu_info{{{WHERE}}})"),
        stat(
            "Missing or lost",
            "GPUs that the driver reports as lost, and those that are expected and not listed.",
            f"sum(gpu_lost{{{WHERE}}}) "
            f"+ sum(clamp_min(gpu_expected_devices{{{WHERE}}} - gpu_devices{{{WHERE}}}, 0))",
            steps=((0, GOOD), (1, BAD)),
        ),
        stat(
            "Alerts",
            "Alerts that fire now, without the watchdog.",
            'count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)',
            steps=((0, GOOD), (1, BAD)),
        ),
        stat(
            "Mean utilisation",
            "Exact mean over five minutes and all GPUs.",
            f"avg(gpu:utilization_ratio:mean5m{{{WHERE}}})",
            unit="percentunit",
            steps=UTILIZATION,
        ),
        stat("Power", "Power of all GPUs now.", f"sum(gpu_power_watts{{{WHERE}}})", unit="watt"),
        stat(
            "Least margin",
            "Degrees left to the slowdown, of the hottest GPU.",
            f"min(gpu_temperature_margin_celsius{{{WHERE}}})",
            unit="celsius",
            steps=MARGIN,
        ),
        table(),
        lines(
            "Utilisation",
            "Exact mean between the points.",
            {BY_GPU: f"rate(gpu_busy_seconds_total{{{WHERE}}}[$__rate_interval])"},
            unit="percentunit",
            high=1,
        ),
        lines(
            "Memory in use",
            "Largest use of the last minute, as a share of the memory.",
            {
                BY_GPU: f'gpu_memory_used_max_bytes{{{WHERE},window="1m"}} '
                f"/ on (instance, uuid, gpu, host, job) gpu_memory_total_bytes{{{WHERE}}}"
            },
            unit="percentunit",
            high=1,
        ),
        lines(
            "Power, peaks of the last minute",
            "No peak between two scrapes is missed.",
            {BY_GPU: f'gpu_power_max_watts{{{WHERE},window="1m"}}'},
            unit="watt",
        ),
        lines(
            "Degrees left to the slowdown",
            "Below zero a GPU slows itself down.",
            {BY_GPU: f"gpu_temperature_margin_celsius{{{WHERE}}}"},
            unit="celsius",
            steps=MARGIN,
            low=None,
        ),
        lines(
            "Clocks held down",
            "Share of the time in which a reason held the clocks down, mean of all GPUs.",
            {
                "{{reason}}": "avg by (reason) (rate(gpu_clock_event_seconds_total"
                f'{{{WHERE},reason!="gpu_idle"}}[$__rate_interval]))'
            },
            unit="percentunit",
        ),
        lines(
            "Memory errors",
            "Errors that ECC corrected or could not correct, per minute.",
            {
                "{{host}} GPU {{gpu}} {{type}}": "60 * rate(gpu_ecc_volatile_errors_total"
                f"{{{WHERE}}}[$__rate_interval])"
            },
            unit="short",
        ),
    ]


def dashboard() -> Json:
    """The dashboard as Grafana's file provisioning takes it."""
    return {
        "uid": "gpu-fleet",
        "title": "GPU fleet",
        "description": "Generated by grafana/build; do not edit.",
        "tags": ["gpu-sentinel"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "browser",
        "templating": variables(),
        "annotations": {"list": []},
        "links": [],
        "panels": arrange(panels()),
    }
