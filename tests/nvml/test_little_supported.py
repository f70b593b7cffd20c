"""GPUs that tell little, and answers of which a part is missing: the rest is shown."""

from __future__ import annotations

import math

import pynvml
import pytest

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.model import DeviceId, Tier
from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.mig import Mig
from gpu_sentinel.nvml.query import Call, nothing

THRESHOLDS = [key for key in query_keys() if key.startswith("temperature.threshold.")]


def keys(device) -> set[str]:
    return {key for tier in Tier for key in device.keys(tier)}


def every_query_has_keys(device) -> bool:
    return all(bound.keys for plan in device.plan.values() for bound in plan)


def test_a_gpu_without_thresholds(board):
    _, device, stats, _ = board("a100-sxm", thresholds={})
    assert not keys(device).intersection(THRESHOLDS)
    assert "temperature.margin" not in keys(device)
    assert "temperature.gpu" in device.read(Tier.FAST)
    assert every_query_has_keys(device)
    assert not device.failures
    assert not stats.total().errors


def test_a_threshold_of_zero_is_none(board):
    slowdown, gpu_max = (
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
    )
    _, device, _, _ = board("a100-sxm", thresholds={slowdown: 0, gpu_max: 85})
    assert device.read(Tier.STATIC)["temperature.threshold.gpu_max"] == 85.0
    assert "temperature.threshold.slowdown" not in keys(device)
    # A margin of minus the temperature would say that the GPU is far beyond its limit.
    assert "temperature.margin" not in keys(device)


def test_one_threshold_that_fails_costs_itself(board):
    simulation, device, _, _ = board("a100-sxm")
    assert set(THRESHOLDS) - keys(device) == {"temperature.threshold.target"}
    simulation.fail(0, "nvmlDeviceGetTemperatureThreshold", "UNKNOWN")
    device.probe()
    assert "temperature.gpu" in device.read(Tier.FAST)
    # What fails is not taken for what is not there: it answers as soon as it can.
    simulation.mend(0, "nvmlDeviceGetTemperatureThreshold")
    assert device.read(Tier.STATIC)["temperature.threshold.shutdown"] == 92.0


def test_a_gpu_that_gives_no_clock_event_reason(board):
    _, device, _, _ = board("a100-sxm", reasons=0)
    assert not [key for key in keys(device) if key.startswith("clocks_event_reasons")]
    assert every_query_has_keys(device)


def test_reasons_are_read_where_it_is_not_told_which_there_are(board):
    _, device, _, _ = board(
        "a100-sxm",
        lacks=frozenset(
            {
                "nvmlDeviceGetSupportedClocksEventReasons",
                "nvmlDeviceGetSupportedClocksThrottleReasons",
            }
        ),
    )
    assert device.read(Tier.FAST)["clocks_event_reasons.gpu_idle"] == 0.0


def test_t_limit_without_an_offset_for_slowdown(board):
    _, device, _, _ = board("l40s", lacks=frozenset({"TEMPERATURE_SLOWDOWN_TLIMIT"}))
    fast = device.read(Tier.FAST)
    assert fast["temperature.tlimit"] > 0.0
    assert "temperature.margin" not in fast


@pytest.mark.parametrize("lacking", [0, 1])
def test_one_fan_that_answers_nothing(board, monkeypatch, lacking: int):
    simulation, device, stats, _ = board("rtx-4080-super")
    asked = pynvml.nvmlDeviceGetFanSpeed_v2

    def speed(handle, fan):
        if fan == lacking:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return asked(handle, fan)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetFanSpeed_v2", speed)
    simulation.set(0, "fan", 40)
    device.probe()
    for _ in range(3):
        speeds = device.read(Tier.SLOW)["fan.speed"]
        assert math.isnan(speeds[lacking])
        assert speeds[1 - lacking] == 0.4
    assert stats.total().errors["fan.speed", "not_supported"] == 1, "told once"


def test_no_fan_answers(board):
    _, device, stats, _ = board(
        "rtx-4080-super",
        lacks=frozenset({"nvmlDeviceGetFanSpeed_v2", "nvmlDeviceGetFanSpeed"}),
    )
    assert "fan.speed" not in keys(device)
    assert "fan.rpm" in keys(device)
    assert not stats.total().errors


def test_no_link_tells_its_state(board):
    _, device, stats, _ = board("h100-sxm", lacks=frozenset({"nvmlDeviceGetNvLinkState"}))
    assert "nvlink.link.active" not in keys(device)
    assert "nvlink.link.speed" in keys(device)
    device.read(Tier.SLOW)
    assert not stats.total().errors


def test_totals_of_ecc_one_by_one(board, monkeypatch):
    _, device, _, _ = board(
        "a100-sxm",
        lacks=frozenset({f"ECC_{w}_{c}_TOTAL" for w in ("SBE", "DBE") for c in ("VOL", "AGG")}),
    )
    asked = pynvml.nvmlDeviceGetTotalEccErrors

    def total(handle, type_, counter):
        if counter == pynvml.NVML_AGGREGATE_ECC:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return asked(handle, type_, counter)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEccErrors", total)
    device.probe()
    slow = device.read(Tier.SLOW)
    assert slow["ecc.errors.uncorrected.volatile"] == 0.0
    assert "ecc.errors.uncorrected.aggregate" not in slow


def test_wide_counters_of_pcie_need_no_link(board):
    _, device, _, _ = board(
        "gb200",
        lacks=frozenset({"nvmlDeviceGetMaxPcieLinkGeneration", "nvmlDeviceGetMaxPcieLinkWidth"}),
    )
    assert "pcie.tx.bytes" in device.read(Tier.FAST)


FLOOD = 2**32 - 1


@pytest.mark.parametrize(
    ("function", "key"), [("nvmlDeviceGetNumFans", "fan.speed"), ("nvmlDeviceGetCount", "p2p.read")]
)
def test_a_count_that_cannot_be_is_no_loop_without_end(board, monkeypatch, function, key):
    _, device, _, _ = board("rtx-4080-super")
    monkeypatch.setattr(pynvml, function, lambda *_: FLOOD)
    device.probe()
    assert key in keys(device)


def test_a_count_of_mig_devices_that_cannot_be(board, monkeypatch):
    _, device, stats, _ = board("h100-sxm")
    mig = Mig(DeviceId(0, device.uuid), stats.recorder("mig"))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMaxMigDeviceCount", lambda _: FLOOD)
    none = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMigDeviceHandleByIndex", raises(none))
    assert mig.devices() == ()


def test_a_count_of_licences_that_cannot_be(board, monkeypatch):
    _, device, _, _ = board("l40s")
    features = pynvml.c_nvmlGridLicensableFeatures_v4_t()
    features.isGridLicenseSupported, features.licensableFeaturesCount = 1, FLOOD
    features.gridLicensableFeatures[2].featureState = 1
    monkeypatch.setattr(pynvml, "nvmlDeviceGetGridLicensableFeatures_v4", lambda _: features)
    device.probe()
    assert device.read(Tier.SLOW)["vgpu.license"] == 1.0


def test_a_sample_buffer_of_a_length_that_cannot_be(board, monkeypatch):
    _, device, _, _ = board("h100-sxm")
    real = raw.function("nvmlDeviceGetSamples")

    def samples(*arguments):
        code = real(*arguments)
        arguments[4]._obj.value = FLOOD
        return code

    monkeypatch.setattr(raw, "function", lambda _: samples)
    found = raw.samples(device._handle, pynvml.NVML_TOTAL_POWER_SAMPLES)[0](0)
    assert 0 < len(found) <= 4096


def raises(error: Exception):
    def call(*_):
        raise error

    return call


@pytest.mark.parametrize(
    "answer",
    [
        None,
        pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED),
        (math.nan, pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)),
        (),
    ],
)
def test_nothing(answer):
    assert nothing(answer)
    query = Call("query", Tier.SLOW, ("key",), lambda _: (("key",), lambda: [answer]))
    with pytest.raises(pynvml.NVMLError) as caught:
        query.bind(None, frozenset({"key"}))
    assert caught.value.value == pynvml.NVML_ERROR_NOT_SUPPORTED


@pytest.mark.parametrize(
    "answer",
    [0.0, math.nan, pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN), (math.nan, 0.0)],
)
def test_something(answer):
    assert not nothing(answer)


def test_a_query_without_keys_is_not_supported():
    with pytest.raises(pynvml.NVMLError):
        Call("query", Tier.SLOW, ("key",), lambda _: ((), list)).bind(None, frozenset())
