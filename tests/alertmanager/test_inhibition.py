"""A cause silences its consequences: shown by a real Alertmanager and what it sends."""

from __future__ import annotations

import time
from typing import Any

import pytest

A = {"host": "node-a", "gpu": "0", "uuid": "GPU-a0"}
A1 = {"host": "node-a", "gpu": "1", "uuid": "GPU-a1"}
B = {"host": "node-b", "gpu": "0", "uuid": "GPU-b0"}

#: By name: the alerts that fire, those of them that nobody is told.
CASES: dict[str, tuple[list[dict[str, str]], set[tuple[str, str]]]] = {
    "exporter-down": (
        [
            {"name": "GpuExporterDown", "severity": "critical", "host": "node-a"},
            {"name": "GpuDriverGone", "severity": "critical", "host": "node-a"},
            {"name": "GpuMissing", "severity": "critical", "host": "node-a"},
            {"name": "GpuLost", "severity": "critical", **A},
            {"name": "GpuNearSlowdown", "severity": "warning", **A1},
            {"name": "YourOwn", "severity": "warning", **A},
            {"name": "DiskFull", "severity": "warning", "host": "node-a"},
            {"name": "GpuLost", "severity": "critical", **B},
        ],
        {
            ("GpuDriverGone", ""),
            ("GpuMissing", ""),
            ("GpuLost", "GPU-a0"),
            ("GpuNearSlowdown", "GPU-a1"),
            ("YourOwn", "GPU-a0"),
        },
    ),
    "driver-gone": (
        [
            {"name": "GpuDriverGone", "severity": "critical", "host": "node-a"},
            {"name": "GpuSamplesStalled", "severity": "critical", **A},
            {"name": "GpuSamplesStalled", "severity": "critical", **B},
        ],
        {("GpuSamplesStalled", "GPU-a0")},
    ),
    "lost-gpu": (
        [
            {"name": "GpuLost", "severity": "critical", **A},
            {"name": "GpuXidFatal", "severity": "critical", **A},
            {"name": "GpuNearSlowdown", "severity": "warning", **A},
            {"name": "GpuNearSlowdown", "severity": "warning", **A1},
        ],
        {("GpuXidFatal", "GPU-a0"), ("GpuNearSlowdown", "GPU-a0")},
    ),
    "failing-gpu": (
        [
            {"name": "GpuFailing", "severity": "critical", **A},
            {"name": "GpuXidReset", "severity": "critical", **A},
            {"name": "GpuUnsteady", "severity": "critical", **A},
            {"name": "GpuNearSlowdown", "severity": "warning", **A},
            {"name": "GpuUnsteady", "severity": "critical", **A1},
            {"name": "GpuFailing", "severity": "critical", **B},
        ],
        {("GpuXidReset", "GPU-a0"), ("GpuUnsteady", "GPU-a0"), ("GpuNearSlowdown", "GPU-a0")},
    ),
    "lost-gpu-that-fails-as-well": (
        [
            {"name": "GpuLost", "severity": "critical", **A},
            {"name": "GpuFailing", "severity": "critical", **A},
        ],
        {("GpuFailing", "GPU-a0")},
    ),
    "heat": (
        [
            {"name": "GpuOverheating", "severity": "critical", **A},
            {"name": "GpuThermalThrottling", "severity": "warning", **A},
            {"name": "GpuNearSlowdown", "severity": "warning", **A},
            {"name": "GpuThermalThrottling", "severity": "warning", **B},
            {"name": "GpuNearSlowdown", "severity": "warning", **B},
            {"name": "GpuNearSlowdown", "severity": "warning", **A1},
        ],
        {
            ("GpuThermalThrottling", "GPU-a0"),
            ("GpuNearSlowdown", "GPU-a0"),
            ("GpuNearSlowdown", "GPU-b0"),
        },
    ),
    "same-subject": (
        [
            {"name": "GpuPagesFull", "severity": "critical", "subject": "pages", **A},
            {"name": "GpuPagesFilling", "severity": "warning", "subject": "pages", **A},
            {"name": "GpuSlow", "severity": "warning", "subject": "speed", **A},
            {"name": "GpuOther", "severity": "warning", **A},
            {"name": "GpuPagesFilling", "severity": "warning", "subject": "pages", **A1},
        ],
        {("GpuPagesFilling", "GPU-a0")},
    ),
    "a-host-of-the-same-name-in-another-cluster": (
        [
            {
                "name": "GpuExporterDown",
                "severity": "critical",
                "host": "node-a",
                "cluster": "east",
            },
            {"name": "GpuLost", "severity": "critical", "cluster": "west", **A},
            {"name": "GpuLost", "severity": "critical", "cluster": "east", **A1},
        ],
        {("GpuLost", "GPU-a1")},
    ),
    "labels-that-are-missing-are-not-equal": (
        [
            {"name": "GpuLost", "severity": "critical", "host": "node-a"},
            {"name": "GpuOverheating", "severity": "critical"},
            {"name": "GpuNearSlowdown", "severity": "warning"},
            {"name": "GpuSlow", "severity": "warning", **A},
        ],
        set(),
    ),
}


def quick(config: dict[str, Any]) -> dict[str, Any]:
    for route in config["route"]["routes"]:
        route["group_wait"] = "2s"
    return config


@pytest.mark.parametrize("case", CASES)
def test_consequences_are_not_told(
    case: str, *, run_alertmanager, delivered, inbox, alert, eventually
):
    fire, expected = CASES[case]
    running = run_alertmanager(quick(delivered()))
    alerts = []
    for labels in fire:
        rest = dict(labels)
        alerts.append(alert(rest.pop("name"), rest.pop("severity"), **rest))
    # At once, or a busy machine tells of the first before the last is there.
    running.post(*alerts)
    every = {(a["name"], a.get("uuid", "")) for a in fire}

    def told() -> set[tuple[str, str]]:
        return {
            (a["labels"]["alertname"], a["labels"].get("uuid", ""))
            for _, hook in inbox.hooks
            for a in hook["alerts"]
        }

    eventually(lambda: told() >= every - expected, 15, "the causes are told")
    eventually(lambda: len(running.states()) == len(every), 5, "all are seen")
    states = running.states()
    assert {key for key, state in states.items() if state == "suppressed"} == expected
    time.sleep(1)
    assert told() == every - expected


def test_the_same_alert_at_two_severities(run_alertmanager, delivered, inbox, alert, eventually):
    running = run_alertmanager(quick(delivered()))
    running.post(
        alert("GpuMemoryFull", "warning", **A),
        alert("GpuMemoryFull", "critical", **A),
        alert("GpuMemoryFull", "warning", **A1),
    )
    eventually(lambda: len(inbox.hooks) >= 2, 15, "two are told")
    time.sleep(1)
    told = {
        (a["labels"]["severity"], a["labels"]["uuid"])
        for _, hook in inbox.hooks
        for a in hook["alerts"]
    }
    assert told == {("critical", "GPU-a0"), ("warning", "GPU-a1")}
