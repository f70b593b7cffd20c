"""What a dashboard is made of, and its JSON.

The dashboards are plain JSON (schema version 41, Grafana 11.6 and newer), written without Grafana's
own builder library: it leaves panels without ids, and takes more words for the same. It serves the
tests instead, which read every dashboard into its types: a key that Grafana doesn't know is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
#: (from this value, colour), ascending; the first begins at minus infinity.
Steps: TypeAlias = Sequence[tuple[float, str]]

COLUMNS = 24
SCHEMA_VERSION = 41
#: The variable that every dashboard begins with.
DATASOURCE: Mapping[str, str] = {"type": "prometheus", "uid": "${ds}"}
TAG = "gpu-sentinel"


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus.

    Attributes:
        legend: how its lines are called, as a template of labels.
        instant: only the newest values are asked for.
        format: "time_series", "table" or "heatmap".
    """

    expr: str
    legend: str = ""
    instant: bool = False
    format: str = "time_series"

    def json(self, number: int) -> Json:
        """As a target of a panel."""
        return {
            "refId": chr(ord("A") + number),
            "datasource": dict(DATASOURCE),
            "expr": self.expr,
            "legendFormat": self.legend,
            "instant": self.instant,
            "range": not self.instant,
            "format": self.format,
        }


def thresholds(steps: Steps) -> Json:
    """Colours by value."""
    (_, first), *rest = steps
    found: list[Json] = [{"color": first, "value": None}]
    found += [{"color": color, "value": value} for value, color in rest]
    return {"mode": "absolute", "steps": found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; its place is found by `Dashboard`.

    Attributes:
        links: where a click on a value leads.
        defaults: further field options.
        custom: field options of the panel's type.
        maximum: of the points of a line; None for as many as the panel has pixels.
    """

    type: str
    title: str
    description: str
    queries: Sequence[Query] = ()
    width: int = 12
    height: int = 8
    unit: str = ""
    steps: Steps = ((0, "blue"),)
    mappings: Sequence[Json] = ()
    links: Sequence[Json] = ()
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()
    maximum: int | None = None

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel with its id at its place."""
        found: Json = {
            "id": number,
            "type": self.type,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "options": self.options,
        }
        if not self.queries:
            return found
        defaults: Json = {
            **({"unit": self.unit} if self.unit else {}),
            "thresholds": thresholds(self.steps),
            "mappings": list(self.mappings),
            **({"links": list(self.links)} if self.links else {}),
            **self.defaults,
            **({"custom": self.custom} if self.custom else {}),
        }
        found |= {
            "datasource": dict(DATASOURCE),
            "fieldConfig": {"defaults": defaults, "overrides": list(self.overrides)},
            "targets": [query.json(i) for i, query in enumerate(self.queries)],
            "transformations": list(self.transformations),
        }
        if self.maximum is not None:
            found["maxDataPoints"] = self.maximum
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question.

    Attributes:
        title: the question; without one the row has no head line.
        collapsed: asked only when it is opened.
    """

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Json]
    annotations: Sequence[Json] = ()
    links: Sequence[Json] = ()
    span: str = "1h"
    refresh: str = "10s"

    @property
    def panels(self) -> Iterator[Panel]:
        """All of them, in the order in which they are read."""
        for row in self.rows:
            yield from row.panels

    def json(self) -> Json:
        """As Grafana's file provisioning takes it: the bare dashboard, no resource around it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": f"{self.description} Generated by grafana/build.",
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "time": {"from": f"now-{self.span}", "to": "now"},
            "refresh": self.refresh,
            "timezone": "browser",
            "templating": {"list": list(self.variables)},
            "annotations": {"list": list(self.annotations)},
            "links": list(self.links),
            "panels": self._placed(),
        }

    def _placed(self) -> list[Json]:
        placed: list[Json] = []
        number, y = 1, 0
        for row in self.rows:
            head: Json | None = None
            if row.title:
                head = {
                    "id": number,
                    "type": "row",
                    "title": row.title,
                    "collapsed": row.collapsed,
                    "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                    "panels": [],
                }
                placed.append(head)
                number, y = number + 1, y + 1
            inside, bottom = _flow(row.panels, number, y)
            number += len(inside)
            if head is not None and row.collapsed:
                head["panels"] = inside
            else:
                placed += inside
                y = bottom
        return placed


def _flow(panels: Sequence[Panel], number: int, y: int) -> tuple[list[Json], int]:
    """Panels from left to right, line by line; and where the next line begins."""
    placed: list[Json] = []
    x = height = 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append(panel.json(number + len(placed), x, y))
        x, height = x + panel.width, max(height, panel.height)
    return placed, y + height
