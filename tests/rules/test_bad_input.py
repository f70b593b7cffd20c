"""What is missing, twice there, or of another time: no rule fails, no alert is wrong or lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from faults import CASES
from recorded import Recording, Timelines, asked, firings, record

#: promtool gives a query 10,000 samples, and 5 minutes of some families are 150 for each host.
_HOSTS_A_RUN = 20


class Lacking:
    """As another host would show it, without one metric."""

    def __init__(self, lines: Timelines, metric: str) -> None:
        self.scrapes = lines.scrapes
        self._lines = lines
        self._metric = metric

    def series(self) -> list[dict[str, str]]:
        return [
            {**s, "series": s["series"].replace('"node-1', f'"without-{self._metric}')}
            for s in self._lines.series()
            if s["series"].partition("{")[0] != self._metric
        ]


@pytest.mark.parametrize("scenario", [pytest.param("steady", marks=pytest.mark.long), "old-driver"])
def test_one_metric_missing_raises_nothing(tool, tmp_path: Path, scenario: str):
    lines = record(Recording(scenario, 300, every=30.0))
    names = {s["series"].partition("{")[0] for s in lines.series()}
    assert len(names) > 30
    assert names <= asked() | {"up"}
    every = [Lacking(lines, metric) for metric in sorted(names)]
    for first in range(0, len(every), _HOSTS_A_RUN):
        # A host that lacks nothing, so that Prometheus itself does not seem to store nothing.
        hosts = [lines, *every[first : first + _HOSTS_A_RUN]]
        found = firings(tool("promtool"), tmp_path, hosts, 30.0)
        assert not found, "\n".join(map(str, found))


def test_without_the_margin_throttling_is_told(tool, tmp_path: Path):
    recording = Recording("overheat", 300, without="gpu_temperature_margin_celsius")
    found = firings(tool("promtool"), tmp_path, [record(recording)], recording.every)
    assert {f.name for f in found} == {"warning GpuThermalThrottling: GPU 1"}


#: Alerts of all kinds: by the clock of the host, by that of Prometheus, by counters, by gauges.
MIXED = ("hung-gpu", "reset")
#: `make test-long` has the others.
SHORT = ("hung-gpu", -60.0)


@pytest.mark.parametrize(
    ("name", "ahead"),
    [
        pytest.param(name, ahead, marks=() if (name, ahead) == SHORT else pytest.mark.long)
        for name in MIXED
        for ahead in (-60.0, 60.0)
    ],
)
def test_clocks_a_minute_apart(tool: Callable[..., str], tmp_path: Path, name: str, ahead: float):
    case = CASES[name]
    found = firings(tool("promtool"), tmp_path, [record(replace(case.recording, ahead=ahead))], 5.0)
    told = "\n".join(map(str, found))
    assert {f.name for f in found} == case.alerts, told
    # XIDs end by the time of the reset, which is of the same clock.
    assert all(f.last <= case.over.get(f.name, f.last) for f in found), told


def by_exporter(labels: dict[str, str]) -> str:
    return f"{labels['job']} {labels['instance']} {labels.get('xid', labels.get('gpu', ''))}"


@pytest.mark.parametrize("name", ["overheat", "xid"])
def test_two_exporters_on_one_host(tool: Callable[..., str], tmp_path: Path, name: str):
    """The same GPUs twice, and once more by another job: each alert for each of them."""
    one = replace(CASES[name].recording, seconds=240.0, every=15.0)
    others = replace(one, instance="node-1:9837"), replace(one, job="gpu-sentinel-again")
    lines = [record(recording) for recording in (one, *others)]
    alone = firings(tool("promtool"), tmp_path, lines[:1], 15.0, told=by_exporter)
    found = firings(tool("promtool"), tmp_path, lines, 15.0, told=by_exporter)
    wanted = {
        (f.alert, f.about.replace(*change))
        for f in alone
        for change in (("", ""), ("9836", "9837"), ("gpu-sentinel ", "gpu-sentinel-again "))
    }
    assert alone
    assert {(f.alert, f.about) for f in found} == wanted
