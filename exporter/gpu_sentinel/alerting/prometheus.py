"""A client of Prometheus' HTTP API: what it stored, and the alert rules that it evaluates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpu_sentinel.alerting.api import Api, ApiError

#: Prometheus answers no more than 11,000 for a series.
_POINTS = 1440


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

    def rules(self) -> list[AlertRule]:
        """The alert rules."""
        groups = self._data("GET", "/api/v1/rules?type=alert")["groups"]
        return [
            AlertRule(
                name=rule["name"],
                expression=rule["query"],
                interval=float(group["interval"]),
                labels=rule.get("labels", {}),
                annotations=rule.get("annotations", {}),
            )
            for group in groups
            for rule in group["rules"]
        ]

    def _query(self, path: str, **form: str) -> list[Series]:
        found = self._data("POST", f"/api/v1/{path}", form)["result"]
        return [_series(item) for item in found]

    def _data(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Any:
        answer = self.ask(method, path, form=form)
        try:
            return answer["data"]
        except (KeyError, TypeError):
            raise ApiError(f"{self._shown} is no {self.name}: it answers something else") from None


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A selector of the series with these labels."""

    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    return f"{name}{{{','.join(f'{key}={quoted(value)}' for key, value in labels.items())}}}"


def _series(item: Mapping[str, Any]) -> Series:
    labels = {name: value for name, value in item["metric"].items() if name != "__name__"}
    points = item["values"] if "values" in item else [item["value"]]
    return Series(labels, [(float(time), float(value)) for time, value in points])
