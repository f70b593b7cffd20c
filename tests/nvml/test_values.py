"""What is believed: temperatures below zero, power beyond the board's limits, NaN."""

from __future__ import annotations

import math

import pynvml
import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.units import signed

LIMIT_FUNCTIONS = (
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceGetPowerManagementLimitConstraints",
    "nvmlDeviceGetPowerManagementDefaultLimit",
    "nvmlDeviceGetEnforcedPowerLimit",
)
LIMIT_FIELDS = tuple(
    f"POWER_{which}_LIMIT" for which in ("MIN", "MAX", "DEFAULT", "CURRENT", "REQUESTED")
)


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
    assert set(device.failures) == {"temperature"}
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


class TestPower:
    def test_more_than_the_board_can_draw(self, board):
        simulation, device, stats, _ = board("h100-sxm")
        simulation.set(0, "power", 5_000_000)
        fast = device.read(Tier.FAST)
        assert "power.draw.instant" not in fast
        assert "power.draw.average" in fast
        assert stats.total().rejected["power.draw.instant"] == 1
        simulation.unset(0, "power")
        assert "power.draw.instant" in device.read(Tier.FAST)

    def test_a_peak_beyond_the_limit_is_believed(self, board):
        simulation, device, stats, _ = board("h100-sxm")
        simulation.set(0, "power", 1_400_000)
        assert device.read(Tier.FAST)["power.draw.instant"] == 1400.0
        assert not stats.total().rejected

    def test_samples_of_the_drivers_buffer(self, board, monkeypatch):
        _, device, stats, now = board("h100-sxm")
        (ring,) = [ring for ring in device.rings if ring.key == "power.draw.instant"]
        device.drain(ring)
        real = ring._read

        def read(newest):
            (first, _), *others = real(newest)
            return [(first, 5_000_000), *others]

        monkeypatch.setattr(ring, "_read", read)
        now[0] += 1.0
        batch = device.drain(ring)
        assert batch.rejected == 1
        assert len(batch.samples) >= 8
        assert max(watts for _, watts in batch.samples) < 800.0
        assert stats.total().rejected["samples.power.draw.instant"] == 1

    def test_a_module_has_limits_of_its_own(self, board):
        _, device, stats, _ = board("gb200")
        # Processor and GPU draw more than the GPU alone may.
        assert device._valid("module.power.instant")[1] == 2.5 * 2500.0
        assert device._valid("power.draw.instant")[1] == 2.5 * 1200.0
        assert "module.power.instant" in device.read(Tier.FAST)
        assert not stats.total().rejected

    def test_limits_by_fields_where_the_functions_are_gone(self, board):
        _, device, stats, _ = board("rtx-4080-super", lacks=frozenset(LIMIT_FUNCTIONS))
        slow, static = device.read(Tier.SLOW), device.read(Tier.STATIC)
        assert slow["power.limit"] == slow["power.requested_limit"] == 320.0
        assert static["power.default_limit"] == 320.0
        assert (static["power.min_limit"], static["power.max_limit"]) == (150.0, 400.0)
        assert device._valid("power.draw.instant")[1] == 2.5 * 400.0
        assert not stats.total().errors

    def test_limits_by_functions_where_there_are_no_fields(self, board):
        _, device, _, _ = board("rtx-4080-super", lacks=frozenset(LIMIT_FIELDS))
        assert device._valid("power.draw.instant")[1] == 2.5 * 400.0

    def test_a_board_that_tells_no_limit(self, board):
        lacks = frozenset((*LIMIT_FUNCTIONS, *LIMIT_FIELDS))
        _, device, _, _ = board("rtx-4080-super", lacks=lacks)
        assert device._valid("power.draw.instant")[1] == 10_000.0
        assert "power.limit" not in device.read(Tier.SLOW)
        assert "power.draw.instant" in device.read(Tier.FAST)

    @pytest.mark.parametrize("limit", [0, math.nan, math.inf, -5])
    def test_limits_that_cannot_be(self, board, monkeypatch, limit: float):
        _, device, _, _ = board("rtx-4080-super", lacks=frozenset(LIMIT_FIELDS))
        for name in ("PowerManagementDefaultLimit", "EnforcedPowerLimit"):
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", lambda _: limit)
        monkeypatch.setattr(
            pynvml, "nvmlDeviceGetPowerManagementLimitConstraints", lambda _: [limit, limit]
        )
        device.probe()
        assert device._valid("power.draw.instant")[1] == 10_000.0
        assert "power.draw.instant" in device.read(Tier.FAST)
