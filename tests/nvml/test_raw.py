"""The raw readers say what pynvml says, whatever the GPU reads."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Device, Driver, NvmlError, Ring, raw
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.simulator import Simulation, load_scenario

SENSOR = pynvml.NVML_TEMPERATURE_GPU


def _memory(name: str) -> Callable[[Any], float]:
    def get(handle: Any) -> float:
        info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        return float(getattr(info, name))

    return get


#: What pynvml gives for each key, in base units.
PYNVML: Mapping[str, Callable[[Any], float]] = {
    "power.draw.instant": lambda h: _field(h, pynvml.NVML_FI_DEV_POWER_INSTANT).uiVal / 1e3,
    "power.draw.average": lambda h: _field(h, pynvml.NVML_FI_DEV_POWER_AVERAGE).uiVal / 1e3,
    "energy.total": lambda h: pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3,
    "temperature.memory": lambda h: _field(h, pynvml.NVML_FI_DEV_MEMORY_TEMP).uiVal,
    "utilization.gpu": lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).gpu / 100,
    "utilization.memory": lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).memory / 100,
    "utilization.encoder": lambda h: pynvml.nvmlDeviceGetEncoderUtilization(h)[0] / 100,
    "utilization.decoder": lambda h: pynvml.nvmlDeviceGetDecoderUtilization(h)[0] / 100,
    "memory.total": _memory("total"),
    "memory.used": _memory("used"),
    "memory.free": _memory("free"),
    "memory.reserved": _memory("reserved"),
    "temperature.gpu": lambda h: pynvml.nvmlDeviceGetTemperature(h, SENSOR),
    "temperature.margin": lambda h: pynvml.nvmlDeviceGetMarginTemperature(h) + 2,
    "clocks.current.sm": lambda h: pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_SM) * 1e6,
    "clocks.current.memory": lambda h: (
        pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_MEM) * 1e6
    ),
    "pstate": pynvml.nvmlDeviceGetPerformanceState,
    "clocks_event_reasons.sw_power_cap": lambda h: (
        pynvml.nvmlDeviceGetCurrentClocksEventReasons(h) >> 2 & 1
    ),
}


def _field(handle: Any, number: int) -> Any:
    (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [number])
    assert value.nvmlReturn == pynvml.NVML_SUCCESS
    return value.value


@pytest.fixture(scope="module")
def machine():
    simulation = Simulation(load_scenario("steady"), lambda: 60.0)
    driver = Driver(CallStats(), simulation.library)
    driver.open()
    device = driver.device(0)
    device.probe()
    yield simulation, device
    nvml_library.detach()


readings = st.fixed_dictionaries(
    {},
    optional={
        "power": st.integers(0, 1_750_000),
        "utilization": st.integers(0, 100),
        "memory_utilization": st.integers(0, 100),
        "encoder": st.integers(0, 100),
        "decoder": st.integers(0, 100),
        "memory_used": st.integers(0, 80 * 2**30),
        "temperature": st.integers(0, 130),
        "memory_temperature": st.integers(0, 130),
        "sm_clock": st.integers(0, 4000),
        "pstate": st.integers(0, 15),
        "reasons": st.integers(0, 0x1FF),
    },
)


@given(readings)
def test_same_as_pynvml(machine, chosen: dict[str, int]):
    simulation, device = machine
    gpu = simulation.gpus[0]
    gpu.overrides.clear()
    gpu.overrides.update(chosen)
    fast = device.read(Tier.FAST)
    assert {key: fast.get(key) for key in PYNVML} == pytest.approx(
        {key: get(device._handle) for key, get in PYNVML.items()}
    )


VALUE_TYPES = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: ("dVal", st.floats(allow_nan=False)),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: ("uiVal", st.integers(0, 2**32 - 1)),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: ("ulVal", st.integers(0, 2**64 - 1)),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: ("ullVal", st.integers(0, 2**64 - 1)),
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: ("sllVal", st.integers(-(2**63), 2**63 - 1)),
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: ("siVal", st.integers(-(2**31), 2**31 - 1)),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: ("usVal", st.integers(0, 2**16 - 1)),
}


@pytest.mark.parametrize("value_type", VALUE_TYPES)
@given(data=st.data())
def test_every_value_type_is_decoded(value_type: int, data: st.DataObject):
    member, numbers = VALUE_TYPES[value_type]
    value = data.draw(numbers)
    union = pynvml.c_nvmlValue_t()
    ctypes.memset(ctypes.byref(union), data.draw(st.integers(0, 255)), ctypes.sizeof(union))
    setattr(union, member, value)
    (bits,) = struct.unpack("<Q", bytes(union))
    assert raw.decoder(value_type)(bits) == value


def test_value_type_that_nobody_knows():
    with pytest.raises(pynvml.NVMLError):
        raw.decoder(99)


def test_fields_have_return_codes_of_their_own(machine):
    simulation, device = machine
    simulation.gpus[0].overrides.clear()
    wanted = [pynvml.NVML_FI_DEV_POWER_INSTANT, 9999, pynvml.NVML_FI_DEV_MEMORY_TEMP]
    buffer = raw.FieldBuffer(device._handle, [(number, 0) for number in wanted])
    answers = raw.fields(buffer, [(float, None)] * len(wanted))()
    assert isinstance(answers[0], float)
    assert isinstance(answers[1], pynvml.NVMLError)
    assert isinstance(answers[2], float)


def test_buffer_is_emptied_by_its_timestamps(machine):
    simulation, device = machine
    now = [80.0]
    simulation._clock = lambda: now[0]
    ring = Ring(device._handle, "power.draw.instant", (0.0, 10_000.0))
    assert ring.drain(lambda: now[0]).samples == (), "the first one only finds the end"
    now[0] = 81.0
    batch = ring.drain(lambda: now[0])
    assert len(batch.samples) == 10
    assert batch.interval == pytest.approx(0.1)
    assert ring.drain(lambda: now[0]).samples == ()
    assert batch.lost == 0
    assert ring.longest == pytest.approx(6.0), "half of 120 samples, one every 100 ms"
    # More than it holds is lost to everyone.
    now[0] = 181.0
    known = batch.samples[-1][0]
    batch = ring.drain(lambda: now[0])
    assert len(batch.samples) == 120
    assert batch.lost == round((batch.samples[-1][0] - known) / 0.1) - 120
    assert batch.lost > 870
    now[0] = 182.0
    assert ring.drain(lambda: now[0]).lost == 0


def test_what_a_buffer_pauses_is_not_lost(machine):
    """A GPU that is idle measures no utilisation."""
    simulation, device = machine
    now = [200.0]
    simulation._clock = lambda: now[0]
    ring = Ring(device._handle, "utilization.gpu", (0.0, 1.0))
    assert ring.longest == pytest.approx(1.2), "the shortest that is known, as long as it is new"
    kept = list(ring._read(0))
    later = [(t + 60_000_000, v) for t, v in kept[:20]]
    ring._read = lambda newest: later if newest else kept
    ring.drain(lambda: now[0])
    now[0] = 260.0
    batch = ring.drain(lambda: now[0])
    assert len(batch.samples) == 20
    assert batch.lost == 0


def test_queries_for_fields_share_a_call(machine):
    _, device = machine
    wanted = (
        (pynvml.NVML_FI_DEV_POWER_INSTANT,),
        (pynvml.NVML_FI_DEV_POWER_AVERAGE, 9999),
        (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,),
    )
    buffers = [raw.FieldBuffer(device._handle, [(n, 0) for n in numbers]) for numbers in wanted]
    reads = [raw.fields(buffer, [(float, None)] * len(buffer.items)) for buffer in buffers]
    alone = [read() for read in reads]
    assert isinstance(alone[1][1], pynvml.NVMLError)
    shared = raw.SharedFields(device._handle, buffers)
    calls: list[int] = []
    function = shared._call

    def counted(*arguments: Any) -> int:
        calls.append(arguments[1])
        return function(*arguments)

    shared._call = counted
    for buffer in buffers:
        buffer._call = counted
    shared.expect([buffers[0], buffers[2]])
    for read, before in zip((reads[0], reads[2]), (alone[0], alone[2]), strict=True):
        assert read() == before
    assert calls == [4], "one call, from the first to the last"
    assert reads[0]() == alone[0]
    assert reads[1]()[0] == alone[1][0]
    assert calls == [4, 1, 2], "each by itself again"
    shared.expect(buffers)
    reads[1]()
    shared.expect(buffers)
    for read in reads:
        read()
    assert calls == [4, 1, 2, 4, 4], "what was not fetched is not taken for new"


def test_buffer_of_a_board_without_one(machine):
    simulation, device = machine
    simulation.fail(0, "nvmlDeviceGetSamples", "NOT_SUPPORTED")
    try:
        with pytest.raises(pynvml.NVMLError):
            Ring(device._handle, "power.draw.instant", (0.0, 10_000.0))
        fresh = Device(0, CallStats().recorder("gpu0"))
        fresh.probe()
        assert fresh.rings == ()
        assert not fresh.failures
    finally:
        simulation.mend(0, "nvmlDeviceGetSamples")


def test_call_that_fails_is_an_error_with_its_name(machine):
    simulation, device = machine
    simulation.fail(0, "nvmlDeviceGetUtilizationRates", "UNKNOWN")
    try:
        (bound,) = [b for b in device.plan[Tier.FAST] if b.query == "utilization"]
        values: dict[str, Any] = {"utilization.gpu": 1.0}
        failure = device.ask(bound, values)
        assert isinstance(failure, NvmlError)
        assert failure.name == "unknown"
        assert values == {}, "what was known is known no more"
    finally:
        simulation.mend(0, "nvmlDeviceGetUtilizationRates")
