"""Panels as small functions, one for each way of showing something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from colours import MUTED, PLAIN, SLOWED
from core import Json, Panel, Query, Steps
from facts import fact
from promql import BY_GPU, Scope

_REDUCE: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "none",
    steps: Steps = MUTED,
    width: int = 3,
    height: int = 4,
    links: Sequence[Json] = (),
    mappings: Sequence[Json] = (),
    legend: str = "",
    decimals: int | None = None,
    empty: str = "-",
) -> Panel:
    """One number; it takes colour only from its thresholds."""
    return Panel(
        type="stat",
        title=title,
        description=description,
        queries=(Query(expr, legend, instant=True),),
        width=width,
        height=height,
        unit=unit,
        steps=steps,
        mappings=mappings,
        links=links,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "center",
            "textMode": "value" if not legend else "value_and_name",
            "reduceOptions": _REDUCE,
        },
        defaults={"noValue": empty, **({} if decimals is None else {"decimals": decimals})},
    )


def gauge(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str,
    steps: Steps,
    low: float = 0,
    high: float,
    width: int = 6,
    legend: str = BY_GPU,
) -> Panel:
    """What is used of a limit, one gauge a GPU."""
    return Panel(
        type="gauge",
        title=title,
        description=description,
        queries=(Query(expr, legend, instant=True),),
        width=width,
        height=6,
        unit=unit,
        steps=steps,
        options={
            "reduceOptions": _REDUCE,
            "showThresholdLabels": False,
            "showThresholdMarkers": True,
            "orientation": "auto",
        },
        defaults={"min": low, "max": high},
    )


def lines(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str,
    steps: Steps = PLAIN,
    low: float | None = 0,
    high: float | None = None,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    links: Sequence[Json] = (),
    overrides: Sequence[Json] = (),
    legend: bool = True,
) -> Panel:
    """Lines over time: legend -> PromQL."""
    limits = {name: v for name, v in (("min", low), ("max", high)) if v is not None}
    return Panel(
        type="timeseries",
        title=title,
        description=description,
        queries=[Query(expr, name) for name, expr in queries.items()],
        width=width,
        height=height,
        unit=unit,
        steps=steps,
        links=links,
        overrides=overrides,
        options={
            "legend": {
                "showLegend": legend,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        defaults=limits,
        custom={
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 60 if stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if len(steps) > 1 else "off"},
        },
    )


def metric_lines(
    name: str,
    scope: Scope,
    *matchers: str,
    rate: bool = False,
    legend: str = BY_GPU,
    width: int = 12,
    height: int = 8,
    high: float | None = None,
    links: Sequence[Json] = (),
) -> Panel:
    """One metric over time, in the catalogue's words."""
    told = fact(name)
    expr = scope.rate(name, *matchers) if rate else scope.read(name, *matchers)
    return lines(
        told.title,
        told.description,
        {legend: expr},
        unit=told.unit,
        width=width,
        height=height,
        high=high,
        links=links,
    )


def band(
    title: str,
    description: str,
    low_mean_high: tuple[str, str, str],
    *,
    unit: str,
    limit: Mapping[str, str] | None = None,
    low: float | None = 0,
    high: float | None = None,
    steps: Steps = PLAIN,
    width: int = 12,
) -> Panel:
    """What a signal did between two points: its lowest, its mean, its highest."""
    lowest, mean, highest = low_mean_high
    queries = {"lowest": lowest, "highest": highest, "mean": mean, **(limit or {})}
    faint: list[Json] = [{"id": "custom.lineWidth", "value": 0}, *colour("light-blue")]
    overrides = [
        override("lowest", *faint),
        override(
            "highest",
            *faint,
            {"id": "custom.fillBelowTo", "value": "lowest"},
            {"id": "custom.fillOpacity", "value": 25},
        ),
        override("mean", {"id": "custom.lineWidth", "value": 2}, *colour("blue")),
        *(
            override(name, {"id": "custom.lineStyle", "value": DASHED}, *colour("orange"))
            for name in limit or {}
        ),
    ]
    return lines(
        title,
        description,
        queries,
        unit=unit,
        low=low,
        high=high,
        steps=steps,
        width=width,
        overrides=overrides,
    )


DASHED: Json = {"fill": "dash", "dash": [6, 6]}


def colour(name: str) -> list[Json]:
    """One colour, whatever the value."""
    return [{"id": "color", "value": {"mode": "fixed", "fixedColor": name}}]


def override(field: str, *properties: Json) -> Json:
    """Other options for one line or column."""
    return {"matcher": {"id": "byName", "options": field}, "properties": list(properties)}


def states(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str = "none",
    steps: Steps = SLOWED,
    mappings: Sequence[Json] = (),
    width: int = 12,
    height: int = 8,
    high: float | None = None,
    links: Sequence[Json] = (),
) -> Panel:
    """When something held, as coloured stretches of time."""
    return Panel(
        type="state-timeline",
        title=title,
        description=description,
        queries=[Query(expr, name) for name, expr in queries.items()],
        width=width,
        height=height,
        unit=unit,
        steps=steps,
        mappings=mappings,
        links=links,
        options={
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "left",
            "rowHeight": 0.8,
            "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "single", "sort": "none"},
            "perPage": 20,
        },
        defaults={
            "min": 0,
            **({} if high is None else {"max": high}),
            "color": {"mode": "thresholds"},
        },
        custom={"fillOpacity": 80, "lineWidth": 0},
        maximum=300,
    )


def heatmap(title: str, description: str, expr: str, *, width: int = 12, height: int = 8) -> Panel:
    """How many there were at which level, over time; from cumulative buckets."""
    return Panel(
        type="heatmap",
        title=title,
        description=description,
        queries=(Query(expr, "{{le}}", format="heatmap"),),
        width=width,
        height=height,
        options={
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "reverse": False},
            "cellGap": 1,
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
            "yAxis": {"unit": "percentunit", "axisPlacement": "left"},
            "legend": {"show": False},
        },
        defaults={"unit": "none"},
        maximum=200,
    )


def text(title: str, description: str, content: str, *, width: int = 6, height: int = 4) -> Panel:
    """A few words, in Markdown."""
    return Panel(
        type="text",
        title=title,
        description=description,
        width=width,
        height=height,
        options={"mode": "markdown", "content": content},
    )
