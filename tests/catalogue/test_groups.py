"""Metrics on and off: by group, by name, and what is read for what is shown."""

from __future__ import annotations

import re

import pytest

from gpu_sentinel.catalogue import GROUPS, METRICS, Selection, keys_needed
from gpu_sentinel.config import ConfigError, load
from gpu_sentinel.expressions import expression
from gpu_sentinel.groupcosts import alerts_by_group, costs
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.models import MODELS

#: Series of one GPU by default, at most.
MOST_SERIES = 130


def names(selection: Selection) -> set[str]:
    return {m.name for m in selection.metrics()}


def test_every_metric_is_in_a_group_and_no_group_is_empty():
    assert {m.group for m in METRICS} == set(GROUPS)


def test_by_default_groups_are_on_or_off():
    assert names(Selection()) == {m.name for m in METRICS if GROUPS[m.group].on}


def test_groups_are_switched():
    default = names(Selection())
    more = names(Selection(enable=["limits"]))
    assert more - default == {m.name for m in METRICS if m.group == "limits"}
    less = names(Selection(disable=["fans"]))
    assert default - less == {m.name for m in METRICS if m.group == "fans"}
    assert names(Selection(enable=["limits"], disable=["limits"])) == default


def test_a_name_beats_its_group_and_exclude_beats_include():
    pattern = expression("gpu_bar1_.*")
    assert "gpu_bar1_memory_used_bytes" in names(Selection(include=[pattern]))
    assert "gpu_bar1_memory_used_bytes" not in names(
        Selection(enable=["details"], include=[pattern], exclude=[pattern])
    )


def test_a_pattern_matches_the_whole_name():
    assert "gpu_power_watts" in names(Selection(exclude=[expression("power")]))


@pytest.mark.parametrize("board", sorted(MODELS))
def test_default_stays_small(board: str):
    series = sum(cost.series for name, cost in costs(board).items() if GROUPS[name].on)
    assert 0 < series <= MOST_SERIES


def test_what_is_not_shown_is_not_read():
    simulation = Simulation(load_scenario("steady"), lambda: 60.0)
    metrics = Selection(disable=sorted(set(GROUPS) - {"power"})).metrics()
    driver = Driver(CallStats(), simulation.library, keys_needed(metrics))
    driver.open()
    device = driver.device(0)
    device.probe()
    read = {key for tier in Tier for key in device.keys(tier)}
    assert read <= keys_needed(metrics)
    assert "power.draw.instant" in read
    assert {ring.key for ring in device.rings} == {"power.draw.instant"}
    driver.close()


def test_what_is_computed_keeps_its_readings():
    metrics = Selection(exclude=[expression("gpu_power_watts")]).metrics()
    assert "power.draw.instant" in keys_needed(metrics)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("metrics.enable", "limit", "--metrics.enable: 'limit' is no group: did you mean 'limits'"),
        ("metrics.disable", 3, "--metrics.disable: 3 is no list of groups"),
        ("metrics.include", "gpu_(", "--metrics.include: 'gpu_(' is no regular expression"),
        ("metrics.exclude", 3, "--metrics.exclude: 3 is no text"),
    ],
)
def test_bad_selections(flag: str, value: object, message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load({flag: value}, {})


def test_alerts_that_a_group_takes_away():
    found = alerts_by_group()
    assert found["fans"] == ["GpuFanFailed"]
    assert "GpuEccUncorrected" in found["errors"]
    assert "GpuXidFatal" in found["xid"]
    # By what is recorded: the alert itself asks for a series with colons.
    assert "GpuPowerUnlikePeers" in found["power"]
    needed_though_off = {name for name in found if not GROUPS[name].on}
    # Where processes are not shown, their owners are looked at; of a fabric, its state.
    needed = {"processes", "topology"}
    assert needed_though_off == needed, "an alert that can never fire by default"
    assert set(found["topology"]) <= set(found["nvlink"])
    assert set(found["processes"]) <= set(found["owners"])


def test_selection_from_settings():
    settings = load({"metrics.enable": "limits, media", "metrics.exclude": "gpu_fan_.*"}, {})
    shown = names(settings.selection)
    assert "gpu_temperature_tlimit_celsius" in shown
    assert "gpu_jpeg_utilization_ratio" in shown
    assert not any(name.startswith("gpu_fan_") for name in shown)
