"""Each scenario of the simulator raises the alerts that stand here, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from recorded import Recording, firings, record

from gpu_sentinel.simulator import scenario_names


@dataclass(frozen=True)
class Case:
    """What Prometheus is to find.

    Attributes:
        alerts: "severity alert: what it is about".
    """

    recording: Recording
    alerts: set[str]


def case(scenario: str, minutes: float, *alerts: str, **more) -> Case:
    return Case(Recording(scenario, minutes * 60, **more), set(alerts))


SHIPPED = [
    case("steady", 10),
    case("training", 15),
    case("superchip", 10),
    case("one-of-each", 10),
    case("old-driver", 10),
    # MIG is switched on and off every two minutes, which is no fault.
    case("mig", 15),
    # The driver is away for ten seconds each time: less than `for`.
    case("driver-reload", 10),
]
CASES = {Path(c.recording.scenario).stem: c for c in SHIPPED}


def test_every_scenario_of_the_package_is_here():
    assert set(scenario_names()) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_alerts(tool: Callable[..., str], tmp_path: Path, name: str):
    recording, alerts = CASES[name].recording, CASES[name].alerts
    found = firings(tool("promtool"), tmp_path, [record(recording)], recording.every)
    told = "\n".join(["what fired, and when:", *map(str, found)])
    assert {f"{f.severity} {f.alert}: {f.about}" for f in found} == alerts, told
