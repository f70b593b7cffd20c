"""What fired when, how bad it was, and who had silenced it; from what Prometheus stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpu_sentinel.alerting.alertmanager import Silence
from gpu_sentinel.alerting.annotations import fill, lowest_is_worst, plain
from gpu_sentinel.alerting.prometheus import AlertRule, Prometheus, selector
from gpu_sentinel.alerting.selection import check_known

#: Seconds of a coarse look; it sees whatever fired in between, and gives the whereabouts.
_STEP, _STEP_OF_LONG_RANGES, _LONG = 60.0, 300.0, 7 * 86400.0
#: So long, and every single sample is read; of longer ones only the edges.
_READ_WHOLE = 6 * 3600.0
#: Shorter breaks, as of a restart of Prometheus, are none.
_SHORTEST_BREAK = 30.0
#: Points at which a rule is evaluated again over one firing.
_EVALUATIONS = 500

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Values:
    """A rule's own value at the start, at its worst and at the end, and as its annotation says."""

    start: float
    worst: float
    end: float
    told: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert from when it fired until it ended.

    Attributes:
        end: None while it still fires.
        began_earlier: than what was looked at.
        values: None where the rule is no more, or gives nothing for that time.
        threshold: as its annotation says; empty without one.
    """

    labels: Mapping[str, str]
    start: float
    end: float | None
    began_earlier: bool
    values: Values | None
    threshold: str
    summary: str

    def silenced_by(self, silences: Iterable[Silence]) -> list[Silence]:
        """Those of the silences that held while it fired."""
        return [
            silence
            for silence in silences
            if silence.covers(self.labels)
            and silence.ends.timestamp() > self.start
            and (self.end is None or silence.starts.timestamp() < self.end)
        ]


def history(prometheus: Prometheus, start: float, now: float, host: str | None) -> list[Firing]:
    """Every firing between two Unix times, the latest first; without the watchdog.

    Raises:
        ApiError: Prometheus does not answer.
        SelectionError: it has never heard of the host.
    """
    if host is not None:
        check_known("host", host, prometheus.label_values("host"))
    step = _STEP if now - start <= _LONG else _STEP_OF_LONG_RANGES
    rules = prometheus.rules()
    found = [
        _firing(prometheus, labels, span, _rule(labels, rules), (start, now))
        for labels, spans in _whereabouts(prometheus, start, now, step, host)
        for whereabout in spans
        for span in _exact(prometheus, labels, whereabout, step, _break(labels, rules))
    ]
    return sorted(found, key=lambda firing: firing.start, reverse=True)


def _whereabouts(
    prometheus: Prometheus, start: float, now: float, step: float, host: str | None
) -> list[tuple[dict[str, str], list[Span]]]:
    """By series the times, to within a step, between which it fired."""
    of_host = selector("", {"host": host})[1:-1] if host else 'severity!="none"'
    chosen = f'ALERTS{{alertstate="firing",alertname!="Watchdog",{of_host}}}'
    series: dict[tuple[tuple[str, str], ...], list[Span]] = {}
    # The grid ends now, so that the last look is as far as it gets.
    first = now - ((now - start - 1) // step) * step
    expression = f"last_over_time({chosen}[{step:.0f}s])"
    for piece in prometheus.over(expression, first, now, step):
        spans = series.setdefault(tuple(sorted(piece.labels.items())), [])
        for time, _ in piece.points:
            if spans and time - spans[-1][1] <= step * 1.5:
                spans[-1] = spans[-1][0], time
            else:
                spans.append((max(start, time - step), time))
    return [(dict(labels), spans) for labels, spans in series.items()]


def _exact(
    prometheus: Prometheus, labels: Mapping[str, str], span: Span, step: float, pause: float
) -> list[Span]:
    """The firings in a span, to the evaluation."""

    def between(start: float, end: float) -> list[Span]:
        found: list[Span] = []
        for series in prometheus.raw(selector("ALERTS", labels), start, end):
            if series.labels != labels:
                continue
            for time, _ in series.points:
                if found and time - found[-1][1] <= pause:
                    found[-1] = found[-1][0], time
                else:
                    found.append((time, time))
        return found

    start, end = span
    if end - start <= _READ_WHOLE:
        return between(start, end)
    first, last = between(start, start + 2 * step), between(end - 2 * step, end)
    if not first or not last:
        return [span]
    return [*first[:-1], (first[-1][0], last[0][1]), *last[1:]]


def _break(labels: Mapping[str, str], rules: list[AlertRule]) -> float:
    rule = _rule(labels, rules)
    return max(_SHORTEST_BREAK, 3 * rule.interval) if rule else _SHORTEST_BREAK


def _rule(labels: Mapping[str, str], rules: list[AlertRule]) -> AlertRule | None:
    """The rule that an alert came from; labels that are templates say nothing about it."""
    for rule in rules:
        if rule.name == labels.get("alertname") and all(
            labels.get(name) == value for name, value in rule.labels.items() if "{{" not in value
        ):
            return rule
    return None


def _firing(
    prometheus: Prometheus,
    labels: Mapping[str, str],
    span: Span,
    rule: AlertRule | None,
    looked_at: Span,
) -> Firing:
    start, last = span
    told = {name: value for name, value in labels.items() if name != "alertstate"}
    pause = max(_SHORTEST_BREAK, 3 * rule.interval) if rule else _SHORTEST_BREAK
    annotations = rule.annotations if rule else {}
    values = _values(prometheus, told, span, rule) if rule else None
    at_start = values.start if values else None
    return Firing(
        labels=told,
        start=start,
        end=None if looked_at[1] - last <= pause else last,
        began_earlier=start - looked_at[0] <= pause,
        values=values,
        threshold=fill(annotations.get("threshold", ""), told, at_start) or "",
        summary=fill(annotations.get("summary", ""), told, at_start) or told.get("alertname", "?"),
    )


def _values(
    prometheus: Prometheus, labels: Mapping[str, str], span: Span, rule: AlertRule
) -> Values | None:
    """The rule's expression over the firing, of the series whose labels the alert has."""
    start, end = span
    step = max(rule.interval, (end - start) / _EVALUATIONS)
    values = [
        value
        for series in prometheus.over(rule.expression, start, end, step)
        if series.labels.items() <= labels.items()
        for _, value in series.points
    ]
    if not values:
        return None
    worst = min(values) if lowest_is_worst(rule.expression) else max(values)
    template = rule.annotations.get("value", "")

    def text(value: float) -> str:
        return fill(template, labels, value) or plain(value)

    return Values(values[0], worst, values[-1], (text(values[0]), text(worst), text(values[-1])))
