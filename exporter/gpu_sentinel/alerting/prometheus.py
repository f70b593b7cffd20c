"""A client of Prometheus' HTTP API: what it stored, and the alert rules that it evaluates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gpu_sentinel.alerting.api import Api
from gpu_sentinel.alerting.shape import Answer

#: Prometheus answers no more than 11,000 for a series.
_POINTS = 1440
#: Prometheus takes intervals from a millisecond on.
_SHORTEST_INTERVAL = 0.001


@dataclass(frozen=True, slots=True)
class Series:
    """A series with its points as pairs of Unix time and value; its name is no label."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert rule; the annotations are templates.

    Attributes:
        interval: seconds between two evaluations.
    """

    name: str
    expression: str
    interval: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Prometheus(Api):
    """Prometheus at a URL such as `http://127.0.0.1:9090`; user and password may be in it."""

    name = "Prometheus"
    option = "--prometheus"

    def raw(self, selector: str, start: float, end: float) -> list[Series]:
        """The stored samples, with their own times."""
        seconds = max(1, math.ceil(end - start))
        return self._query("query", query=f"{selector}[{seconds}s]", time=f"{end:.3f}")

    def now(self, expression: str) -> list[Series]:
        """What an expression is at this moment."""
        return self._query("query", query=expression)

    def over(self, expression: str, start: float, end: float, step: float) -> Iterator[Series]:
        """An expression over time, in pieces that a server can answer; a series may come again."""
        while start <= end:
            stop = min(end, start + _POINTS * step)
            yield from self._query(
                "query_range",
                query=expression,
                start=f"{start:.3f}",
                end=f"{stop:.3f}",
                step=f"{step:.3f}",
            )
            start = stop + step if stop < end else math.inf

    def label_values(self, label: str) -> set[str]:
        """Every value that a label has had, as far back as samples are stored."""
        # https://prometheus.io/docs/prometheus/latest/querying/api/#querying-label-values
        found = self.ask("GET", f"/api/v1/label/{label}/values")["data"]
        return {value.text() for value in found.parts()}

    def rules(self) -> list[AlertRule]:
        """The alert rules."""
        groups = self.ask("GET", "/api/v1/rules?type=alert")["data"]["groups"]
        return [
            _rule(rule, interval)
            for group in groups.parts()
            for interval in (_interval(group["interval"]),)
            for rule in group["rules"].parts()
        ]

    def _query(self, path: str, **form: str) -> list[Series]:
        found = self.ask("POST", f"/api/v1/{path}", form=form)["data"]["result"]
        return [_series(item) for item in found.parts()]


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A selector of the series with these labels."""

    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    return f"{name}{{{','.join(f'{key}={quoted(value)}' for key, value in labels.items())}}}"


def _rule(item: Answer, interval: float) -> AlertRule:
    labels, annotations = item.get("labels"), item.get("annotations")
    return AlertRule(
        name=item["name"].text(),
        expression=item["query"].text(),
        interval=interval,
        labels=labels.texts() if labels else {},
        annotations=annotations.texts() if annotations else {},
    )


def _interval(item: Answer) -> float:
    # What is evaluated is asked for at such steps: none would never come to an end.
    if item.number() < _SHORTEST_INTERVAL:
        raise item.wrong("seconds between two evaluations")
    return item.number()


def _series(item: Answer) -> Series:
    labels = item["metric"].texts()
    labels.pop("__name__", None)
    values = item.get("values")
    points = [item["value"]] if values is None else values.parts()
    return Series(labels, [_point(point) for point in points])


def _point(item: Answer) -> tuple[float, float]:
    pair = list(item.parts())
    if len(pair) != 2:
        raise item.wrong("a time and a value")
    return pair[0].seconds(), pair[1].sample()
