"""`gpu-sentinel alerts history` against a real Prometheus with a month behind it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
import requests

from gpu_sentinel.alerting import annotations

Run = Callable[..., subprocess.CompletedProcess[str]]
DAY, HOUR = 86400, 3600

RULES = """
groups:
  - name: heat
    interval: 5s
    rules:
      - alert: GpuOverheating
        expr: gpu_temperature_margin_celsius <= 2
        keep_firing_for: 1m
        labels: {severity: critical}
        annotations:
          summary: "GPU {{ $labels.gpu }} on {{ $labels.host }} overheats"
          value: "{{ $value }} °C left"
          threshold: "2 °C left"
      - alert: GpuPowerHigh
        expr: sum by (host, gpu, uuid) (gpu_power_watts{gpu!="<"}) > 600
        labels: {severity: warning}
        annotations: {value: "{{ $value | humanize }}W"}
      - alert: GpuPowerHigh
        expr: gpu_power_watts > 700
        labels: {severity: critical}
  - name: meta
    rules:
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
"""


def labels(alert: str, severity: str, host: str, gpu: str = "0") -> dict[str, str]:
    return {
        "alertname": alert,
        "severity": severity,
        "host": host,
        "gpu": gpu,
        "uuid": f"GPU-{host}-{gpu}",
    }


class Past:
    """Samples every 5 s of what fired, and of what it fired about."""

    def __init__(self) -> None:
        self.now = int(time.time())
        self._series: dict[str, dict[str, list[tuple[float, float]]]] = {}

    def add(self, name: str, labels: dict[str, str], time: float, value: float) -> None:
        shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
        self._series.setdefault(name, {}).setdefault(shown, []).append((time, value))

    def fired(
        self, alert: dict[str, str], ago: float, seconds: float, metric: str, values: list[float]
    ) -> None:
        own = {key: alert[key] for key in ("host", "gpu", "uuid")}
        steps = round(seconds / 5)
        for step in range(steps + 1):
            moment = self.now - ago + 5 * step
            self.add("ALERTS", {**alert, "alertstate": "firing"}, moment, 1)
            self.add(metric, own, moment, values[min(step * len(values) // steps, len(values) - 1)])

    def text(self) -> str:
        lines = []
        for name, series in self._series.items():
            lines.append(f"# TYPE {name} gauge")
            for shown, points in series.items():
                lines += [f"{name}{{{shown}}} {value} {moment:.3f}" for moment, value in points]
        return "\n".join(lines) + "\n"


@pytest.fixture
def a_month(past) -> tuple[Past, str]:
    it = Past()
    margin, power = "gpu_temperature_margin_celsius", "gpu_power_watts"
    hot = labels("GpuOverheating", "critical", "node-a")
    # A day that is long past: two firings with a minute and a half between them.
    it.fired(hot, 25 * DAY, 60, margin, [2, 1])
    it.fired(hot, 25 * DAY - 150, 60, margin, [2])
    # Longer than every sample is read of.
    it.fired(labels("GpuPowerHigh", "warning", "node-b"), 3 * DAY, 8 * HOUR, power, [650, 690, 610])
    it.fired(labels("GpuOverheating", "critical", "node-b", "1"), 2 * HOUR, 300, margin, [2, -3, 1])
    it.fired(labels("GpuGone", "critical", "node-c"), HOUR, 10, "gone", [1])
    it.fired(labels("GpuOverheating", "critical", "node-c"), 120, 120, margin, [1.5, 0.5])
    it.fired(labels("GpuPowerHigh", "critical", "node-c"), 900, 5, power, [720])
    always = {"alertname": "Watchdog", "severity": "none", "alertstate": "firing"}
    it.add("ALERTS", always, it.now - 60, 1)
    return it, past(it.text(), RULES)


@pytest.fixture
def ask(a_month, alertmanager: str, sentinel) -> Run:
    _, url = a_month
    return lambda *more: sentinel("alerts", "--url", alertmanager, "--prometheus", url, *more)


def found(result: subprocess.CompletedProcess[str]) -> list[dict]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_month(ask: Run, a_month):
    it, _ = a_month
    every = found(ask("history", "--since", "30d", "--json"))
    assert [(f["alert"], f["labels"]["host"], f["labels"]["severity"]) for f in every] == [
        ("GpuOverheating", "node-c", "critical"),
        ("GpuPowerHigh", "node-c", "critical"),
        ("GpuGone", "node-c", "critical"),
        ("GpuOverheating", "node-b", "critical"),
        ("GpuPowerHigh", "node-b", "warning"),
        ("GpuOverheating", "node-a", "critical"),
        ("GpuOverheating", "node-a", "critical"),
    ]
    going_on, moment, gone, worse, long, second, first = every
    assert going_on["end"] is None
    assert going_on["values"]["start"] == 1.5
    for firing, ago, lasted in (
        (first, 25 * DAY, 60),
        (second, 25 * DAY - 150, 60),
        (long, 3 * DAY, 8 * HOUR),
        (worse, 2 * HOUR, 300),
        (moment, 900, 5),
    ):
        assert seconds(firing["start"]) == it.now - ago
        assert seconds(firing["end"]) - seconds(firing["start"]) == lasted
        assert not firing["began_earlier"]
    assert worse["values"] == {"start": 2, "worst": -3, "end": 1}, "less is worse"
    assert worse["threshold"] == "2 °C left"
    assert worse["summary"] == "GPU 1 on node-b overheats"
    assert long["values"] == {"start": 650, "worst": 690, "end": 610}, "more is worse"
    assert long["threshold"] is None
    assert moment["values"]["worst"] == 720, "of the rule with this severity"
    assert gone["values"] is None, "its rule is no more"
    assert gone["silenced"] == []


def test_what_to_look_at(ask: Run):
    day = found(ask("history", "--json"))
    assert {f["labels"]["host"] for f in day} == {"node-b", "node-c"}
    (one,) = found(ask("history", "--json", "--host", "node-b"))
    assert one["labels"]["gpu"] == "1"
    cut = found(ask("history", "--json", "--since", "118m", "--host", "node-b"))
    assert cut[0]["began_earlier"]
    assert ask("history", "--since", "90s", "--host", "node-b").stdout == (
        "No alert fired in the last 90s.\n"
    )


def test_host_that_prometheus_does_not_know(ask: Run):
    for more in ((), ("--json",)):
        result = ask("history", "--host", "node-x", *more)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "gpu-sentinel: no host 'node-x': did you mean 'node-c'?\n"
    # One that is gone, but has samples, is known.
    assert ask("history", "--since", "90s", "--host", "node-a").returncode == 0


def test_table(ask: Run):
    result = ask("history", "--since", "30d")
    header, first, *_ = lines = result.stdout.splitlines()
    assert header.startswith("SEVERITY  HOST")
    assert header.endswith("ALERT                      SILENCED")
    assert "still fires" in first
    (worse,) = [line for line in lines if "GPU 1 on node-b overheats" in line]
    assert "5m 0s" in worse
    assert "  2 / -3 / 1 °C left  " in worse
    (long,) = [line for line in lines if "8h 0m" in line]
    assert "650W / 690W / 610W" in long


def test_silences_that_held(ask: Run, alertmanager: str):
    now = datetime.now(timezone.utc)

    def silence(author: str, host: str, *, regex: bool = False) -> None:
        matchers = [{"name": "host", "value": host, "isRegex": regex, "isEqual": True}]
        body = {
            "matchers": matchers,
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": author,
            "comment": "in work",
        }
        answer = requests.post(f"{alertmanager}/api/v2/silences", json=body, timeout=60)
        assert answer.ok, answer.text

    silence("ann", "node-c")
    silence("bob", "node-[bc]", regex=True)
    silence("eve", "node-d")
    by_time = {
        f["start"]: {s["author"] for s in f["silenced"]}
        for f in found(ask("history", "--since", "30d", "--json"))
    }
    going_on, *earlier = by_time.values()
    assert going_on == {"ann", "bob"}, "what had ended before was not silenced"
    assert not any(earlier)
    assert "ann: in work" in ask("history").stdout


def test_without_alertmanager(a_month, sentinel, free_port):
    nobody = f"http://127.0.0.1:{free_port()}"
    result = sentinel("alerts", "--url", nobody, "--prometheus", a_month[1], "history", "--json")
    assert all(f["silenced"] is None for f in found(result))
    assert result.stderr.startswith("gpu-sentinel: silences are not shown: no Alertmanager answers")
    assert len(result.stderr.splitlines()) == 1


def one_line(result: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_use_is_one_line(sentinel, free_port):
    nobody = f"http://ann:secret@127.0.0.1:{free_port()}"
    result = sentinel("alerts", "--prometheus", nobody, "history")
    one_line(result, 1, "no Prometheus answers at http://127.0.0.1:")
    assert "Connection refused" in result.stderr
    assert "secret" not in result.stderr
    one_line(sentinel("alerts", "history", "--since", "3"), 2, "is no duration")
    one_line(sentinel("alerts", "--prometheus", "here", "history"), 2, "'here' is no URL")
    one_line(sentinel("alerts", "--ca-file", "/nowhere", "history"), 2, "/nowhere")


def test_another_server_is_named(sentinel, serve):
    url = serve("steady").url
    one_line(sentinel("alerts", "--prometheus", url, "history"), 1, "Prometheus answers 404")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ $value }} °C left", "2.5 °C left"),
        ("{{ $value | humanize }}", "2.5"),
        ("{{ $value | humanizePercentage }} of it", "250% of it"),
        ("{{$value | humanizeDuration}}", "2.5s"),
        ('{{ printf "%.1f" $value }} %', "2.5 %"),
        ('{{ $value | printf "%.0f%%" }}', "2%"),
        ("GPU {{ $labels.gpu }}{{ $labels.none }}", "GPU 3"),
        ("plain", "plain"),
        ('{{ with query "x" }}{{ end }}', None),
        ("{{ if $labels.gpu }}a{{ end }}", None),
        ("{{ $labels.gpu | toUpper }}", None),
        ("{{ $value | sqrt }}", None),
        ("{{ $value | humanize | humanize }}", None),
    ],
)
def test_annotations_are_filled_in_or_left(template: str, expected: str | None):
    assert annotations.fill(template, {"gpu": "3"}, 2.5) == expected


@pytest.mark.parametrize(
    ("value", "function", "expected"),
    [
        (1_234_567, "humanize", "1.235M"),
        (3 * 2**30, "humanize1024", "3Gi"),
        (0.0123, "humanizePercentage", "1.23%"),
        (0.25, "humanizeDuration", "250ms"),
        (3661, "humanizeDuration", "1h 1m 1s"),
        (93784, "humanizeDuration", "1d 2h 3m 4s"),
    ],
)
def test_numbers_as_prometheus_writes_them(value: float, function: str, expected: str):
    assert annotations.fill(f"{{{{ $value | {function} }}}}", {}, value) == expected


@pytest.mark.parametrize(
    ("expression", "lowest"),
    [
        ("gpu_temperature_margin_celsius <= 2", True),
        ("gpu_lost == 1", False),
        ('max by (host) (rate(x{reason=~"<"}[1m])) > 0.1', False),
        ("(time() - a) > on (b) group_left () (15 + 3 * c) and on (d) e < 1", False),
        ("(a < 5) > 3", False),
        ("vector(1)", False),
    ],
)
def test_which_way_is_worse(expression: str, lowest: bool):
    assert annotations.lowest_is_worst(expression) == lowest
