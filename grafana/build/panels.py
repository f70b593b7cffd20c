"""Panels as small functions: what a dashboard is made of.

The dashboards are plain JSON (schema version 39, Grafana 11 and newer), written without Grafana's
own builder library: it sets no panel ids and would be the largest dependency of the repository, for
some hundred lines of data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "sentinel-prometheus"}
COLUMNS = 24

#: Colours of severities, which are told apart with colour blindness too.
GOOD, WARN, BAD, NEUTRAL = "green", "orange", "red", "blue"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; its place is found by `arrange`.

    Attributes:
        queries: legend -> PromQL.
        steps: (from this value, colour), ascending; the first begins at minus infinity.
        options: as the panel type takes them.
        defaults: further field options.
        transformations: Grafana's, applied to the answers.
    """

    type: str
    title: str
    description: str
    queries: Mapping[str, str]
    width: int
    height: int
    unit: str = "short"
    steps: Sequence[tuple[float, str]] = ((0, NEUTRAL),)
    instant: bool = False
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel with its id at its place."""
        first, *rest = self.steps
        steps: list[Json] = [{"color": first[1], "value": None}]
        steps += [{"color": color, "value": value} for value, color in rest]
        return {
            "id": number,
            "type": self.type,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "thresholds": {"mode": "absolute", "steps": steps},
                    **self.defaults,
                },
                "overrides": list(self.overrides),
            },
            "options": self.options,
            "targets": [
                {
                    "refId": chr(ord("A") + i),
                    "datasource": DATASOURCE,
                    "expr": expr,
                    "legendFormat": legend,
                    "instant": self.instant,
                    "range": not self.instant,
                    **({"format": "table"} if self.type == "table" else {}),
                }
                for i, (legend, expr) in enumerate(self.queries.items())
            ],
            "transformations": list(self.transformations),
        }


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float, str]] = ((0, NEUTRAL),),
    width: int = 4,
) -> Panel:
    """One number."""
    return Panel(
        "stat",
        title,
        description,
        {"": expr},
        width,
        4,
        unit,
        steps,
        instant=True,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
        defaults={"noValue": "0"},
    )


def lines(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str,
    steps: Sequence[tuple[float, str]] = ((0, NEUTRAL),),
    low: float | None = 0,
    high: float | None = None,
    width: int = 12,
) -> Panel:
    """Lines over time, with a legend that can be sorted."""
    limits = {name: v for name, v in (("min", low), ("max", high)) if v is not None}
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        width,
        8,
        unit,
        steps,
        options={
            "legend": {
                "displayMode": "table",
                "placement": "right",
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        defaults={
            "custom": {
                "lineWidth": 1,
                "fillOpacity": 5,
                "showPoints": "never",
                "thresholdsStyle": {"mode": "dashed" if len(steps) > 1 else "off"},
            },
            **limits,
        },
    )


def arrange(panels: Sequence[Panel]) -> list[Json]:
    """Places panels in rows from left to right, and numbers them."""
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append(panel.json(number, x, y))
        x, height = x + panel.width, max(height, panel.height)
    return placed
