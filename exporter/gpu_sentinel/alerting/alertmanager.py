"""A client of Alertmanager's API v2.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gpu_sentinel.alerting.api import Api
from gpu_sentinel.alerting.shape import Answer
from gpu_sentinel.expressions import ExpressionError, expression


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a silence asks of one label; a label that is missing is empty."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are meant."""
        have = labels.get(self.name, "")
        if not self.is_regex:
            return (have == self.value) == self.is_equal
        try:
            return expression(self.value).matches(have) == self.is_equal
        except ExpressionError:
            return False

    def __str__(self) -> str:
        sign = ("=" if self.is_equal else "!") + ("~" if self.is_regex else "")
        return f'{self.name}{"!=" if sign == "!" else sign}"{self.value}"'


@dataclass(frozen=True, slots=True)
class Silence:
    """Who silenced something from when until when, and why."""

    id: str
    author: str
    comment: str
    starts: datetime
    ends: datetime
    state: str
    matchers: tuple[Matcher, ...]

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is silenced while this holds."""
        return all(matcher.matches(labels) for matcher in self.matchers)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires.

    Attributes:
        id: Alertmanager's fingerprint of the labels.
        state: `active`, `acknowledged`, or `inhibited` by another alert.
        silences: those that acknowledge it; empty unless it is acknowledged.
    """

    id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: datetime
    state: str
    silences: tuple[Silence, ...] = ()


class Alertmanager(Api):
    """Alertmanager at a URL such as `http://127.0.0.1:9093`; user and password may be in it."""

    name = "Alertmanager"

    def alerts(self) -> list[Alert]:
        """All alerts that fire, the most severe and the oldest first.

        Raises:
            ApiError: no proper answer.
        """
        silences = {s.id: s for s in self.silences()}
        found = [_alert(item, silences) for item in self.ask("GET", "/api/v2/alerts").parts()]
        order = {"critical": 0, "warning": 1}
        return sorted(found, key=lambda a: (order.get(a.labels.get("severity", ""), 2), a.starts))

    def silences(self, *states: str) -> list[Silence]:
        """Silences in these states: `active` (if none is named), `pending`, `expired`.

        Raises:
            ApiError: no proper answer.
        """
        found = [_silence(item) for item in self.ask("GET", "/api/v2/silences").parts()]
        return [silence for silence in found if silence.state in (states or ("active",))]

    def acknowledge(self, alert: Alert, author: str, comment: str, seconds: float) -> str:
        """Silence exactly this alert, by all of its labels; returns the silence's id.

        Raises:
            ApiError: it was not taken.
        """
        matchers = [Matcher(name, value) for name, value in alert.labels.items()]
        return self.silence(matchers, author, comment, datetime.now(timezone.utc), seconds)

    def silence(
        self,
        matchers: Iterable[Matcher],
        author: str,
        comment: str,
        starts: datetime,
        seconds: float,
    ) -> str:
        """Silence whatever matches for some time; returns the silence's id.

        Raises:
            ApiError: it was not taken.
        """
        answer = self.ask(
            "POST",
            "/api/v2/silences",
            body={
                "matchers": [
                    {"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal}
                    for m in matchers
                ],
                "startsAt": starts.isoformat(),
                "endsAt": (starts + timedelta(seconds=seconds)).isoformat(),
                "createdBy": author,
                "comment": comment,
            },
        )
        return answer["silenceID"].text()

    def expire(self, silence: Silence) -> None:
        """End a silence; what it silenced is told again.

        Raises:
            ApiError: it was not ended.
        """
        self.ask("DELETE", f"/api/v2/silence/{silence.id}")


def _alert(item: Answer, silences: Mapping[str, Silence]) -> Alert:
    status = item["status"]
    names = [name.text() for name in status["silencedBy"].parts()]
    by = tuple(silences[name] for name in names if name in silences)
    inhibited = any(True for _ in status["inhibitedBy"].parts())
    return Alert(
        id=item["fingerprint"].text(),
        labels=item["labels"].texts(),
        annotations=item["annotations"].texts(),
        starts=item["startsAt"].date(),
        state="acknowledged" if by else "inhibited" if inhibited else "active",
        silences=by,
    )


def _silence(item: Answer) -> Silence:
    return Silence(
        id=item["id"].text(),
        author=item["createdBy"].text(),
        comment=item["comment"].text(),
        starts=item["startsAt"].date(),
        ends=item["endsAt"].date(),
        state=item["status"]["state"].text(),
        matchers=tuple(map(_matcher, item["matchers"].parts())),
    )


def _matcher(item: Answer) -> Matcher:
    equal = item.get("isEqual")  # older than 0.22 have none
    return Matcher(
        item["name"].text(),
        item["value"].text(),
        item["isRegex"].flag(),
        True if equal is None else equal.flag(),
    )
