"""Tables: rows that lead on, and the matrix of hosts by GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import links
from colours import PLAIN
from core import Json, Panel, Query, Steps, thresholds
from panels import override

#: Labels, by the column in which they stand; all others are hidden.
LABELS = {
    "severity": "Severity",
    "alertname": "Alert",
    "host": "Host",
    "gpu": "GPU",
    "name": "Model",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers.

    Attributes:
        cell: how it is drawn: "" plain, "gauge", "color-text" or "color-background".
        high: the end of a bar.
    """

    title: str
    expr: str
    unit: str = "none"
    steps: Steps = PLAIN
    cell: str = ""
    high: float | None = None
    mappings: Sequence[Json] = ()
    decimals: int | None = None

    def override(self) -> Json:
        """Its options."""
        properties: list[Json] = [{"id": "unit", "value": self.unit}]
        if self.cell:
            shape: Json = {"type": self.cell}
            if self.cell == "gauge":
                shape["mode"] = "basic"
                properties += [{"id": "min", "value": 0}, {"id": "max", "value": self.high}]
            properties += [
                {"id": "custom.cellOptions", "value": shape},
                {"id": "thresholds", "value": thresholds(self.steps)},
                {"id": "color", "value": {"mode": "thresholds"}},
            ]
        if self.mappings:
            properties.append({"id": "mappings", "value": list(self.mappings)})
        if self.decimals is not None:
            properties.append({"id": "decimals", "value": self.decimals})
        return override(self.title, *properties)


def table(
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    labels: Sequence[str] = ("host", "gpu", "name"),
    more: Mapping[str, str] | None = None,
    sort: str = "",
    descending: bool = True,
    row_links: Sequence[Json] | None = None,
    overrides: Sequence[Json] = (),
    width: int = 12,
    height: int = 8,
    empty: str = "None",
) -> Panel:
    """Rows of labels and numbers; every row leads to its GPU.

    Args:
        title: of the panel.
        description: of the panel.
        columns: each with its own query; those with equal labels share a row.
        labels: that are shown, in this order.
        more: further labels, by the names of their columns.
        sort: the column by which rows are sorted.
        descending: the largest first.
        row_links: where a row leads instead.
        overrides: further ones.
        width: of the panel.
        height: of the panel.
        empty: what it says without a row.
    """
    names = {**LABELS, **(more or {})}
    shown = [*labels, *(more or {})]
    values = [f"Value #{chr(ord('A') + i)}" for i in range(len(columns))]
    if len(columns) == 1:
        values = ["Value"]
    rename = {label: names[label] for label in shown}
    rename |= {value: column.title for value, column in zip(values, columns, strict=True)}
    order = {name: i for i, name in enumerate([*shown, *values])}
    return Panel(
        type="table",
        title=title,
        description=description,
        queries=[Query(c.expr, "", instant=True, format="table") for c in columns],
        width=width,
        height=height,
        links=links.to_gpu() if row_links is None else row_links,
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False, "reducer": [], "countRows": False},
            **({"sortBy": [{"displayName": sort, "desc": descending}]} if sort else {}),
        },
        defaults={"noValue": empty},
        custom={"align": "auto", "cellOptions": {"type": "auto"}},
        overrides=[*(c.override() for c in columns), *overrides],
        transformations=[
            *([{"id": "merge", "options": {}}] if len(columns) > 1 else []),
            {
                "id": "filterFieldsByName",
                "options": {"include": {"names": [*shown, *values]}},
            },
            {
                "id": "organize",
                "options": {"excludeByName": {}, "indexByName": order, "renameByName": rename},
            },
        ],
    )


def matrix(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str,
    steps: Steps,
    width: int = 12,
    height: int = 10,
) -> Panel:
    """Hosts by GPUs, one coloured cell for each; a cell leads to its GPU.

    Args:
        title: of the panel.
        description: of the panel.
        expr: one series for each host and GPU, with no other labels.
        unit: of the values.
        steps: their colours.
        width: of the panel.
        height: of the panel.
    """
    return Panel(
        type="table",
        title=title,
        description=description,
        queries=(Query(expr, "", instant=True, format="table"),),
        width=width,
        height=height,
        unit=unit,
        steps=steps,
        links=links.to_gpu(gpu="${__field.name}"),
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False, "reducer": [], "countRows": False},
            "sortBy": [{"displayName": "Host", "desc": False}],
        },
        defaults={"color": {"mode": "thresholds"}, "decimals": 0},
        custom={
            "align": "center",
            "minWidth": 50,
            "cellOptions": {"type": "color-background", "mode": "basic"},
        },
        overrides=[
            override(
                "Host",
                {"id": "custom.align", "value": "left"},
                {"id": "custom.cellOptions", "value": {"type": "auto"}},
                {"id": "links", "value": list(links.to_host())},
            )
        ],
        transformations=[
            # The order of the columns is that in which GPUs come.
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "gpu"}]}},
            {
                "id": "groupingToMatrix",
                "options": {
                    "columnField": "gpu",
                    "rowField": "host",
                    "valueField": "Value",
                    "emptyValue": "null",
                },
            },
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": {},
                    "renameByName": {"host\\gpu": "Host"},
                },
            },
        ],
    )
