"""Timelines of series for promtool: well, then beyond a threshold, then well again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Now:
    """The moment of a sample: the last value, the step, the beginning of the phase, the time."""

    last: float
    step: float
    since: float
    at: float


#: The next value.
Move = Callable[[Now], float | None]
Moves = Mapping[str, Move]

#: What every alert is shown to do or not to do.
KINDS = ("fires", "second", "below", "resolves", "reset")


def gauge(value: float) -> Move:
    return lambda _: value


def counter(rate: float) -> Move:
    """By its rate in a second."""
    return _Counter(rate)


@dataclass(frozen=True)
class _Counter:
    rate: float

    def __call__(self, now: Now) -> float:
        return now.last + self.rate * now.step


def ramp(rate: float) -> Move:
    """A gauge that moves steadily, in a second."""
    return lambda now: now.last + rate * now.step


def stamp() -> Move:
    """When the phase began, as Unix time."""
    return lambda now: now.since


def clock() -> Move:
    """The time."""
    return lambda now: now.at


def fresh(rate: float) -> Move:
    """A counter that begins at 0 with the phase."""
    return lambda now: rate * (now.at - now.since)


def swing(*values: float) -> Move:
    """A gauge that changes with every step."""
    turn = iter(range(10**9))
    return lambda _: values[next(turn) % len(values)]


def absent() -> Move:
    return lambda _: None


@dataclass(frozen=True)
class Scenario:
    """How one alert comes and goes.

    Attributes:
        good: series -> how it moves while all is well.
        bad: what is different beyond the threshold.
        edge: what is different just below it.
        after: what is different from `good` once it was bad.
        quiet: seconds after the beginning for which it does not fire yet; 0 where it fires at once.
        fires: seconds after which it does.
        clears: seconds after the end of the cause in which it ends.
        level: `gpu`, or the job whose instances are watched.
        peers: further GPUs of the host, all well.
        step: seconds between two samples.
        warm: seconds of well-being before.
        more: seconds for which it goes on once it fires.
        restarts: whether counters and gauges outlive a restart of the exporter on the way.
    """

    good: Moves
    bad: Moves
    edge: Moves
    fires: int
    quiet: int = 0
    clears: int = 15
    level: str = "gpu"
    peers: int = 0
    after: Moves = field(default_factory=dict)
    step: int = 5
    warm: int = 600
    more: int = 60
    restarts: bool = True

    def tests(self, alert: str, told: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """Cases as promtool takes them; `told` are labels and annotations, None to ask for them."""
        start, end = self.warm, self.warm + self.fires + self.more
        last = end + self.clears + 60
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        one = {start - 15: 0, start + self.fires: 1, end - self.step: 1}
        if self.quiet:
            one[start + self.quiet] = 0
        found = [
            self._case(alert, "fires", [(self.bad, start, end)], last, firing, one),
            self._case(
                alert, "second", [(self.bad, start, end)], last, firing, {start + self.fires: 2}
            ),
            self._case(
                alert,
                "below",
                [(self.edge, start, last)],
                last,
                firing,
                dict.fromkeys(range(start, last, 30), 0),
            ),
            self._case(
                alert, "resolves", [(self.bad, start, end)], last, firing, {end + self.clears: 0}
            ),
            self._case(
                alert,
                "reset",
                [(self.bad, start, end)],
                last,
                firing,
                {**dict.fromkeys(range(30, start, 30), 0), start + self.fires: 1, end - 5: 1},
            ),
        ]
        found[0]["alert_rule_test"] = [
            {
                "eval_time": f"{start + self.fires}s",
                "alertname": alert,
                "exp_alerts": [told] if told else [],
            }
        ]
        return found

    def _case(  # noqa: PLR0917 - what `tests` knows
        self,
        alert: str,
        kind: str,
        phases: list[tuple[Moves, int, int]],
        last: int,
        firing: str,
        counts: Mapping[int, int],
    ) -> dict[str, Any]:
        return {
            "name": f"{alert}: {kind}",
            "interval": f"{self.step}s",
            "input_series": self._series(kind, phases, last),
            "promql_expr_test": [
                {
                    "expr": f"count({firing}) or vector(0)",
                    "eval_time": f"{at}s",
                    "exp_samples": [{"labels": "{}", "value": count}],
                }
                for at, count in sorted(counts.items())
            ],
        }

    def _series(
        self, kind: str, phases: list[tuple[Moves, int, int]], last: int
    ) -> list[dict[str, str]]:
        series = []
        for number in range(2 + self.peers):
            ill = number == 0 or (kind == "second" and number == 1)
            for name, good in self.good.items():
                values = self._values(name, good, phases if ill else [], last, kind)
                series.append({"series": self._named(name, number), "values": " ".join(values)})
        return series

    def _values(
        self,
        name: str,
        good: Move,
        phases: list[tuple[Moves, int, int]],
        last: int,
        kind: str,
    ) -> list[str]:
        value, values = 0.0, []
        over = max((end for _, _, end in phases), default=last)
        # What starts anew: the exporter is away for three steps, and every counter begins at 0.
        anew = {self.warm // 2, self.warm + self.fires // 2} if kind == "reset" else set()
        away = 0
        for at in range(0, last, self.step):
            move, since = good, 0
            for moves, start, end in phases:
                if start <= at < end and name in moves:
                    move, since = moves[name], start
            if at >= over and name in self.after:
                move, since = self.after[name], over
            if self.restarts and any(at <= t < at + self.step for t in anew):
                value = 0.0 if isinstance(move, _Counter) else value
                away = 0 if at >= self.warm else 3
            moved = move(Now(value, self.step, since, at))
            if moved is None or away > 0:
                away -= 1
                values.append("_")
                continue
            value = moved
            values.append(f"{value:.12g}")
        return values

    def _named(self, name: str, number: int) -> str:
        base, own = re.fullmatch(r"(\w+)(?:\{(.*)\})?", name).groups()
        labels: dict[str, str]
        if self.level == "gpu":
            labels = {
                "job": "gpu-sentinel",
                "instance": "a:9836",
                "host": "node-7",
                "gpu": str(number),
                "uuid": f"GPU-{number}",
            }
        else:
            labels = {
                "job": self.level,
                "instance": f"{'abcdef'[number]}:1",
                "host": f"node-{number}",
            }
        text = ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items())
        return f"{base}{{{','.join(filter(None, (text, own)))}}}"


def simple(  # noqa: PLR0917 - in the order of what happens
    series: str, good: float, bad: float, edge: float, fires: int, quiet: int = 0, **more
) -> Scenario:
    """One gauge."""
    return Scenario(
        {series: gauge(good)}, {series: gauge(bad)}, {series: gauge(edge)}, fires, quiet, **more
    )


def rate(series: str, bad: float, edge: float, fires: int, quiet: int = 0, **more) -> Scenario:
    """One counter, by its rate in a second."""
    return Scenario(
        {series: counter(0.0)},
        {series: counter(bad)},
        {series: counter(edge)},
        fires,
        quiet,
        **more,
    )
