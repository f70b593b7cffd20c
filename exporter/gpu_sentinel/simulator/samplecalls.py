"""nvmlDeviceGetSamples on simulated GPUs: what the board did at each step, kept for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_uint

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import Call, NvmlFailure, function, not_supported, put
from gpu_sentinel.simulator.physics import STEP, Past

#: How many samples a buffer holds.
CAPACITY = 120
#: The buffers' clock counts from an instant that is not the simulation's start.
_EPOCH = 1_700_000_000_000_000
_STEP_US = round(STEP * 1e6)
#: One type for all lengths: each of its own would be garbage for the collector.
_Samples = pynvml.c_nvmlSample_t * CAPACITY

#: Buffer (nvml.h, nvmlSamplingType_t) -> steps between two samples, value in the driver's unit.
_BUFFERS: Mapping[int, tuple[int, Callable[[Past], int]]] = {
    # Every 100 ms, as boards from Ampere on measure it.
    pynvml.NVML_TOTAL_POWER_SAMPLES: (1, lambda p: round(p.watts * 1e3)),
    pynvml.NVML_GPU_UTILIZATION_SAMPLES: (2, lambda p: round(p.utilization * 100)),
    pynvml.NVML_MEMORY_UTILIZATION_SAMPLES: (2, lambda p: round(p.memory_utilization * 100)),
    pynvml.NVML_ENC_UTILIZATION_SAMPLES: (2, lambda p: round(p.encoder * 100)),
    pynvml.NVML_DEC_UTILIZATION_SAMPLES: (2, lambda p: round(p.decoder * 100)),
}


def _held(gpu: SimulatedGpu, kind: int, t: float, since: int) -> list[tuple[int, int]]:
    """What a buffer holds that is newer: (timestamp, value). Idle GPUs measure no utilisation."""
    every, get = _BUFFERS[kind]
    gpu.state(t)
    always = kind == pynvml.NVML_TOTAL_POWER_SAMPLES
    held: list[tuple[int, int]] = []
    # From the newest on: most calls want few.
    for past in reversed(gpu.past()):
        at = _EPOCH + past.step * _STEP_US
        if at <= since or len(held) == CAPACITY:
            break
        if past.step % every == 0 and (always or past.working):
            held.append((at, get(past)))
    held.reverse()
    return held


def _broken(fault: str, held: list[tuple[int, int]], t: float) -> list[tuple[int, int]]:
    if fault == "backward":
        return [(at, value) for (at, _), (_, value) in zip(reversed(held), held, strict=True)]
    if fault == "foreign":
        return [(at + int((1 + t) * 3600e6), value) for at, value in held]
    if fault == "repeated":
        return [item for item in held for _ in range(2)][-CAPACITY:]
    if fault == "garbage":
        return [(at, 4_000_000_000) for at, _ in held]
    return []  # "empty"


@function("diqppp", "nvmlDeviceGetSamples")
def _samples(call: Call, gpu: SimulatedGpu, kind: int, since: int, *pointers: int) -> None:
    value_type, count, out = pointers
    power = kind == pynvml.NVML_TOTAL_POWER_SAMPLES
    if kind not in _BUFFERS or not gpu.model.buffers or (gpu.mig.enabled and not power):
        raise not_supported()
    put(c_uint, value_type, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT)
    if not out:
        put(c_uint, count, CAPACITY)
        return
    new = _held(gpu, kind, call.t, 0 if gpu.buffer_fault else since)
    if gpu.buffer_fault:
        new = _broken(gpu.buffer_fault, new, call.t)
    room = c_uint.from_address(count).value
    put(c_uint, count, len(new))
    if not new:
        raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)
    if len(new) > room:
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    for sample, (at, value) in zip(_Samples.from_address(out), new, strict=False):
        sample.timeStamp = at
        sample.sampleValue.ullVal = value
