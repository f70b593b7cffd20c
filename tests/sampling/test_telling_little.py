"""A GPU that tells little shows that little, for as long as it is there."""

from __future__ import annotations

import pynvml
import pytest

from gpu_sentinel.simulator.models import symbols

#: What a GPU has to tell to be known at all.
KNOWN = ("nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetUUID")
TOLD = {
    "utilization.gpu": "nvmlDeviceGetUtilizationRates",
    "temperature.gpu": "nvmlDeviceGetTemperature",
    "memory.used": "nvmlDeviceGetMemoryInfo_v2",
    "persistence_mode": "nvmlDeviceGetPersistenceMode",
    "clocks.max.sm": "nvmlDeviceGetMaxClockInfo",
}


def only(machine, *functions: str) -> None:
    """Let the GPU answer these functions, and NOT_SUPPORTED to all others."""
    for name in symbols("r590"):
        if name.startswith("nvmlDeviceGet") and name not in (*KNOWN, *functions):
            machine.simulation.fail(0, name, "NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("utilization.gpu", "persistence_mode"),
        ("temperature.gpu", "memory.used"),
        ("persistence_mode", "clocks.max.sm"),
        ("utilization.gpu", "temperature.gpu"),
    ],
)
def test_a_gpu_that_tells_two_things_shows_two(simulated, first: str, second: str):
    machine = simulated("steady", None, 0)
    only(machine, TOLD[first], TOLD[second])
    for until in (5.0, 60.0, 130.0):
        machine.run(until)
        values = machine.values()
        assert first in values
        assert second in values
    (sampler,) = machine.samplers
    assert sampler.failure is None
    assert not machine.gpu().lost
    assert not machine.stats.total().errors


@pytest.mark.parametrize("threshold", [None, 0])
def test_a_gpu_that_knows_no_threshold(simulated, monkeypatch, threshold: int | None):
    machine = simulated("one-of-each", None, 1)
    if threshold is None:
        machine.simulation.fail(1, "nvmlDeviceGetTemperatureThreshold", "NOT_SUPPORTED")
    else:
        thresholds = machine.simulation.gpus[1].model.thresholds
        assert pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN in thresholds
        for number in thresholds:
            monkeypatch.setitem(thresholds, number, threshold)
    machine.run(30.0)
    assert machine.number("temperature.gpu", 1) > 0.0
    assert machine.number("power.draw.instant", 1) > 0.0
    assert "temperature.margin" not in machine.values(1)
    assert machine.samplers[0].failure is None


@pytest.mark.parametrize("board", ["vgpu-guest", "wsl2", "gb10", "jetson-thor"])
def test_boards_that_tell_little(simulated, board: str):
    machine = simulated(board)
    machine.run(70.0)
    samples = machine.gpu().samples
    machine.run(130.0)
    assert machine.gpu().samples > samples + 50
    assert 0.0 < machine.number("utilization.gpu") <= 1.0
    assert machine.samplers[0].failure is None
