"""Which alerts a recorded scenario raises, by Prometheus' own engine.

The page that the exporter shows at every scrape becomes series for `promtool test rules`, with the
target labels and the staleness that Prometheus would give them. All rules are evaluated at every
scrape, at least as often as Prometheus does it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.sampling import Pace
from simulatedhost import SimulatedHost

PROMETHEUS = Path(__file__).parents[2] / "prometheus"
RULE_FILES = sorted(
    path for folder in ("rules", "alerts") for path in (PROMETHEUS / folder).glob("*.yml")
)
#: A pass costs real time, and alerts do not need four in a second.
PACE = Pace(fast=1.0, slow=10.0, buffers=1.0, profiling=10.0)
#: From a first to a second, both included.
Span = tuple[float, float]


@dataclass(frozen=True)
class Recording:
    """What Prometheus sees of one exporter.

    Attributes:
        scenario: name or path.
        seconds: how long it goes on.
        every: seconds between two scrapes.
        down: when the exporter does not run; afterwards a new process does.
        unscraped: when Prometheus itself does not scrape.
        forgotten: when the exporter is no target of Prometheus.
        ahead: seconds by which the exporter's clock is ahead of Prometheus'.
        expected: GPUs that the exporter is told to expect.
        refused: from when on it has refused a new configuration.
        without: a metric that this exporter does not show.
        lean: the exporter reads only what rules ask for, which is faster.
    """

    scenario: str
    seconds: float
    every: float = 5.0
    host: str = "node-1"
    instance: str = ""
    job: str = "gpu-sentinel"
    down: Sequence[Span] = ()
    unscraped: Sequence[Span] = ()
    forgotten: Sequence[Span] = ()
    ahead: float = 0.0
    expected: int | None = None
    refused: float | None = None
    without: str = ""
    pace: Pace = PACE
    lean: bool = False

    @property
    def target(self) -> str:
        """Labels of the target, as discovery sets them."""
        instance = self.instance or f"{self.host}:9836"
        return f'job="{self.job}",instance="{instance}",host="{self.host}"'


@dataclass(order=True, frozen=True)
class Firing:
    """One alert, about one GPU, host or XID, over all the time.

    Attributes:
        first, last: seconds from the beginning.
    """

    first: float
    severity: str
    alert: str
    about: str
    last: float = field(compare=False)

    @property
    def name(self) -> str:
        """As the tables of the tests spell it."""
        return f"{self.severity} {self.alert}" + (f": {self.about}" if self.about else "")

    def __str__(self) -> str:
        return f"{self.name}, {self.first:.0f} s to {self.last:.0f} s"


@cache
def asked() -> frozenset[str]:
    """The words of all rules; the names of metrics are among them."""
    found: set[str] = set()
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                found |= set(re.findall(r"[a-z_][a-z0-9_:]*", rule["expr"]))
    return frozenset(found)


@cache
def wanted() -> frozenset[str]:
    """The readings that rules need."""
    needed = [m for m in METRICS if m.name in asked()]
    return frozenset(key for m in needed for key in (*m.series.values(), *m.needs))


class Timelines:
    """Series by their name with labels, as promtool takes them."""

    def __init__(self) -> None:
        self.scrapes = 0
        self._runs: dict[str, list[list[object]]] = {}
        self._here: set[str] = set()

    def add(self, page: Mapping[str, str] | None) -> None:
        """One scrape; None for one that was not made, which ends no series."""
        here = set(page) if page is not None else self._here
        for name in here - self._runs.keys():
            self._runs[name] = [["_", self.scrapes]] if self.scrapes else []
        for name, runs in self._runs.items():
            value = "_"
            if page is not None and name in page:
                value = page[name]
            elif page is not None and name in self._here:
                value = "stale"
            if runs and runs[-1][0] == value:
                runs[-1][1] += 1
            else:
                runs.append([value, 1])
        self._here = here
        self.scrapes += 1

    def series(self) -> list[dict[str, str]]:
        return [
            {"series": name, "values": " ".join(_spelled(*run) for run in runs)}
            for name, runs in self._runs.items()
        ]


def _spelled(value: str, times: int) -> str:
    if times == 1:
        return value
    # `ax5` is a, and five times more.
    return f"_x{times}" if value == "_" else f"{value}x{times - 1}"


def record(recording: Recording) -> Timelines:
    """Run the scenario, and scrape it from second 0 on."""
    host = SimulatedHost(
        recording.scenario,
        recording.pace,
        ahead=recording.ahead,
        expected=recording.expected,
        wanted=wanted() if recording.lean else None,
    )
    lines = Timelines()
    running = True
    try:
        for number in range(int(recording.seconds / recording.every) + 1):
            now = number * recording.every
            down = _within(recording.down, now)
            if down and running:
                host.run(now)
                host.stop_exporter()
            elif not (down or running):
                host.start_exporter()
            running = not down
            (host.run if running else host.rest)(now)
            if recording.refused is not None and now >= recording.refused:
                host.reload.succeeded("mistake")
            if _within(recording.unscraped, now):
                lines.add(None)
            elif _within(recording.forgotten, now):
                lines.add({})
            else:
                lines.add(dict(_page(host, recording) if running else _failed(recording)))
    finally:
        host.stop_exporter()
    return lines


def _within(spans: Sequence[Span], now: float) -> bool:
    return any(first <= now <= last for first, last in spans)


def _failed(recording: Recording) -> Iterator[tuple[str, str]]:
    yield f"up{{{recording.target}}}", "0"


def _page(host: SimulatedHost, recording: Recording) -> Iterator[tuple[str, str]]:
    target = recording.target
    yield f"up{{{target}}}", "1"
    for line in host.body().splitlines():
        series, _, value = line.rpartition(" ")
        name, brace, labels = series.partition("{")
        if name not in asked() or name == recording.without:
            continue
        yield f"{name}{{{target},{labels}" if brace else f"{name}{{{target}}}", value


_FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'


def firings(
    promtool: str,
    folder: Path,
    timelines: Sequence[Timelines],
    every: float,
    *,
    rules: Sequence[Path] = RULE_FILES,
    look: float | None = None,
    told: Callable[[dict[str, str]], str] | None = None,
) -> list[Firing]:
    """Every alert that fires at any time, the first one first.

    Args:
        look: seconds between two looks at what fires; every evaluation where it is None.
        told: says what an alert is about, from its labels.

    Raises:
        AssertionError: a rule failed.
    """
    look = look or every
    last = (timelines[0].scrapes - 1) * every
    query = _FIRING if look == every else f"max_over_time({_FIRING}[{look:g}s])"
    moments = [look * n for n in range(1, int(last / look) + 1)]
    content = {
        "rule_files": [str(path) for path in rules],
        "evaluation_interval": f"{every:g}s",
        "tests": [
            {
                "interval": f"{every:g}s",
                "input_series": [s for lines in timelines for s in lines.series()],
                # Nothing is expected, so that promtool tells what there is.
                "promql_expr_test": [{"expr": query, "eval_time": f"{t:g}s"} for t in moments],
            }
        ],
    }
    path = folder / "recorded.yml"
    path.write_text(json.dumps(content))
    done = subprocess.run(
        [promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    return _parsed(done.stdout + done.stderr, told or about)


def about(labels: Mapping[str, str]) -> str:
    """What an alert is about, in short: the GPU and what tells it from others, else the host."""
    gpu = [f"GPU {labels['gpu']}"] if "gpu" in labels else [labels.get("host", "")]
    kinds = ("xid", "check", "query", "fan", "owner", "pid")
    more = [f"{k} {labels[k]}" for k in kinds if k in labels]
    return ", ".join(filter(None, (*gpu, *more)))


_SAMPLE = re.compile(r'\{((?:\w+="(?:[^"\\]|\\.)*"(?:, )?)+)\}')
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _parsed(out: str, told: Callable[[dict[str, str]], str]) -> list[Firing]:
    found: dict[tuple[str, str, str], list[float]] = {}
    parts = re.split(r"^ +expr: .*, time: (\S+),$", out, flags=re.MULTILINE)
    # A rule that fails, or a series that is no series, is told in other words.
    assert re.fullmatch(r"\s*Unit Testing: .*\s+(SUCCESS|FAILED:)\s*", parts[0]), out[:4000]
    for time, text in zip(parts[1::2], parts[2::2], strict=True):
        for inside in _SAMPLE.findall(text):
            labels = dict(_PAIR.findall(inside))
            key = labels["severity"], labels["alertname"], told(labels)
            found.setdefault(key, []).append(_seconds(time))
    return sorted(Firing(min(t), *key, last=max(t)) for key, t in found.items())


def _seconds(duration: str) -> float:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)([dhms])", duration))
