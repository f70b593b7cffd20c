"""What reaches people: batches, mute times, and what is not told, by a real Alertmanager."""

from __future__ import annotations

import time
from typing import Any

import pytest

ALWAYS: dict[str, Any] = {"times": [{"start_time": "00:00", "end_time": "24:00"}]}


def quick(config: dict[str, Any]) -> dict[str, Any]:
    for route in config["route"]["routes"]:
        route["group_wait"] = "1s"
    return config


def muted(config: dict[str, Any], interval: dict[str, Any]) -> dict[str, Any]:
    config["time_intervals"] = [{"name": "nights-and-weekends", "time_intervals": [interval]}]
    for route in config["route"]["routes"]:
        if route["matchers"] == ['severity="warning"']:
            route["mute_time_intervals"] = ["nights-and-weekends"]
    return config


def names(inbox) -> list[str]:
    return [hook["groupLabels"]["alertname"] for _, hook in inbox.hooks]


def test_warnings_of_a_host_come_together_and_critical_ones_apart(
    run_alertmanager, delivered, inbox, alert, eventually
):
    running = run_alertmanager(quick(delivered()))
    gpus = [{"host": "node-a", "gpu": str(n), "uuid": f"GPU-{n}"} for n in range(3)]
    running.post(*(alert("GpuNearSlowdown", "warning", **gpu) for gpu in gpus))
    running.post(*(alert("GpuXidFatal", "critical", **gpu) for gpu in gpus))
    eventually(lambda: len(inbox.mails) >= 4, 10, "the mails are there")
    time.sleep(1)
    subjects = sorted(str(message["Subject"]) for _, message in inbox.mails)
    assert subjects == [
        *(f"[CRITICAL] GpuXidFatal of GPU {n}" for n in range(3)),
        "[WARNING] GpuNearSlowdown: 3 alerts on node-a",
    ]


def test_info_and_the_watchdog_are_told_to_nobody(run_alertmanager, delivered, inbox, eventually):
    running = run_alertmanager(quick(delivered()))
    running.fire("GpuIdle", "info", host="node-a")
    running.fire("Watchdog", "none")
    running.fire("GpuLost", "critical", host="node-a", uuid="GPU-1")
    eventually(lambda: inbox.hooks, 10, "the critical one is told")
    time.sleep(2)
    assert names(inbox) == ["GpuLost"]
    assert running.states()["GpuIdle", ""] == "active", "but listed"


def test_metric_tells_that_all_is_silenced(run_alertmanager, delivered, eventually):
    """What the alert AlertmanagerAllSilenced relies on."""
    config = quick(delivered())
    for route in (config["route"], *config["route"]["routes"]):
        route["group_interval"] = "1s"
    running = run_alertmanager(config)
    running.fire("Watchdog", "none")
    running.fire("GpuLost", "critical", host="node-a", uuid="GPU-1")

    def counted() -> tuple[float, float]:
        metric = "alertmanager_alerts"
        return running.metric(metric, state="active"), running.metric(metric, state="suppressed")

    eventually(lambda: counted() == (2, 0), 20, "both are active")
    running.silence("alertname", "GpuLost")
    eventually(lambda: counted() == (1, 1), 20, "one is silenced, the Watchdog is not")
    running.silence("alertname", ".+")
    eventually(lambda: counted() == (0, 2), 20, "all are silenced")


@pytest.mark.parametrize("now", [True, False])
def test_mute_times_hold_warnings_back_and_nothing_else(
    run_alertmanager, delivered, inbox, eventually, *, now: bool
):
    never = {"years": ["2001"]}
    running = run_alertmanager(muted(quick(delivered()), ALWAYS if now else never))
    running.fire("GpuNearSlowdown", "warning", host="node-a", uuid="GPU-1")
    running.fire("GpuXidFatal", "critical", host="node-a", uuid="GPU-2")
    eventually(lambda: len(inbox.hooks) >= (1 if now else 2), 10, "what is not muted is told")
    time.sleep(2)
    expected = ["GpuXidFatal"] if now else ["GpuNearSlowdown", "GpuXidFatal"]
    assert sorted(names(inbox)) == expected
