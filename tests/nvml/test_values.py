"""What is believed: temperatures below zero, power beyond the board's limits, NaN."""

from __future__ import annotations

import math

import pynvml
import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.units import signed


def test_a_temperature_below_zero(board):
    simulation, device, stats, _ = board("a100-sxm")
    simulation.set(0, "temperature", -16)
    simulation.set(0, "memory_temperature", -9)
    fast = device.read(Tier.FAST)
    assert fast["temperature.gpu"] == -16.0
    assert fast["temperature.memory"] == -9.0
    assert fast["temperature.margin"] == 89.0 + 16.0
    assert not stats.total().rejected


@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "DEPRECATED", "FUNCTION_NOT_FOUND"])
@pytest.mark.parametrize("celsius", [41, -16])
def test_the_newer_function_is_asked_where_the_older_one_is_gone(board, code: str, celsius: int):
    simulation, device, stats, _ = board("a100-sxm")
    simulation.fail(0, "nvmlDeviceGetTemperature", code)
    simulation.set(0, "temperature", celsius)
    device.probe()
    fast = device.read(Tier.FAST)
    assert fast["temperature.gpu"] == celsius
    assert fast["temperature.margin"] == 89.0 - celsius
    assert not stats.total().errors


def test_neither_function_for_the_temperature(board):
    simulation, device, stats, _ = board("a100-sxm")
    for name in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"):
        simulation.fail(0, name, "NOT_SUPPORTED")
    device.probe()
    fast = device.read(Tier.FAST)
    assert "temperature.gpu" not in fast
    assert "power.draw.instant" in fast
    assert not stats.total().errors


def test_a_failure_is_no_reason_for_the_newer_function(board):
    simulation, device, stats, _ = board("a100-sxm")
    simulation.fail(0, "nvmlDeviceGetTemperature", "TIMEOUT")
    device.probe()
    assert device.incomplete
    assert stats.total().errors["temperature", "timeout"] == 1


@pytest.mark.parametrize(
    ("bits", "number"), [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (2**32 - 16, -16)]
)
def test_signed(bits: int, number: int):
    assert signed(bits) == number


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number(board, monkeypatch, value: float):
    _, device, stats, _ = board("a100-sxm")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetEnforcedPowerLimit", lambda _: value)
    assert "power.limit" not in device.read(Tier.SLOW)
    assert stats.total().rejected["power.limit"] == 1
    device.probe()
    assert "power.draw.instant" in device.read(Tier.FAST)
