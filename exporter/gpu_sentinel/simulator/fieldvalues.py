"""nvmlDeviceGetFieldValues on simulated GPUs: each field with a type and a return code."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import Call, NvmlFailure, function
from gpu_sentinel.simulator.mig import FIELDS_WITHOUT_MIG
from gpu_sentinel.simulator.physics import State

_Get = Callable[[SimulatedGpu, float], int | None]

_UINT = (pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, "uiVal")
_U64 = (pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, "ullVal")
_INT = (pynvml.NVML_VALUE_TYPE_SIGNED_INT, "siVal")


def _ecc(kind: str, *, aggregate: bool) -> _Get:
    def get(gpu: SimulatedGpu, _t: float) -> int | None:
        if not gpu.model.ecc:
            return None
        before = getattr(gpu.errors, f"{kind}_before") if aggregate else 0
        return int(getattr(gpu.errors, kind)) + int(before)

    return get


def _retired(get: _Get) -> _Get:
    return lambda gpu, t: get(gpu, t) if gpu.model.retirement else None


def _remapped(get: _Get) -> _Get:
    return lambda gpu, t: get(gpu, t) if gpu.model.remapping is not None else None


def _seconds(get: Callable[[State], float]) -> _Get:
    return lambda gpu, t: int(get(gpu.state(t)) * 1e9)


def _t_limit(position: int) -> _Get:
    return lambda gpu, _t: None if gpu.model.t_limits is None else gpu.model.t_limits[position]


def _instant(gpu: SimulatedGpu, t: float) -> int | None:
    return gpu.reading("power", t) if gpu.model.instant_power else None


def _average(gpu: SimulatedGpu, t: float) -> int | None:
    return round(gpu.state(t).average_watts * 1e3) if gpu.model.instant_power else None


#: Fields by number (nvml.h, NVML_FI_DEV_*): type, and the value in the driver's unit.
FIELDS: Mapping[int, tuple[tuple[int, str], _Get]] = {
    pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL: (_U64, _ecc("corrected", aggregate=False)),
    pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL: (_U64, _ecc("uncorrected", aggregate=False)),
    pynvml.NVML_FI_DEV_ECC_SBE_AGG_TOTAL: (_U64, _ecc("corrected", aggregate=True)),
    pynvml.NVML_FI_DEV_ECC_DBE_AGG_TOTAL: (_U64, _ecc("uncorrected", aggregate=True)),
    pynvml.NVML_FI_DEV_RETIRED_SBE: (
        _UINT,
        _retired(lambda g, _: g.errors.retired["single_bit"]),
    ),
    pynvml.NVML_FI_DEV_RETIRED_DBE: (
        _UINT,
        _retired(lambda g, _: g.errors.retired["double_bit"]),
    ),
    pynvml.NVML_FI_DEV_RETIRED_PENDING: (
        _UINT,
        _retired(lambda g, _: int(g.errors.retirement_pending)),
    ),
    pynvml.NVML_FI_DEV_PERF_POLICY_POWER: (_U64, _seconds(lambda s: s.power_capped_seconds)),
    pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: (_U64, _seconds(lambda s: s.thermal_seconds)),
    **{
        number: (_U64, _seconds(lambda _s: 0.0))
        for number in range(
            pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST,
            pynvml.NVML_FI_DEV_PERF_POLICY_RELIABILITY + 1,
        )
    },
    pynvml.NVML_FI_DEV_MEMORY_TEMP: (_UINT, lambda g, t: g.reading("memory_temperature", t)),
    pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: (_U64, lambda g, t: g.millijoules(t)),
    pynvml.NVML_FI_DEV_REMAPPED_COR: (
        _UINT,
        _remapped(lambda g, _: g.errors.remapped["correctable"]),
    ),
    pynvml.NVML_FI_DEV_REMAPPED_UNC: (
        _UINT,
        _remapped(lambda g, _: g.errors.remapped["uncorrectable"]),
    ),
    pynvml.NVML_FI_DEV_REMAPPED_PENDING: (
        _UINT,
        _remapped(lambda g, _: int(g.errors.remap_pending)),
    ),
    pynvml.NVML_FI_DEV_REMAPPED_FAILURE: (
        _UINT,
        _remapped(lambda g, _: int(g.errors.remap_failure)),
    ),
    pynvml.NVML_FI_DEV_POWER_AVERAGE: (_UINT, _average),
    pynvml.NVML_FI_DEV_POWER_INSTANT: (_UINT, _instant),
    **{
        number: (_INT, _t_limit(position))
        for position, number in enumerate(
            (
                pynvml.NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT,
                pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
                pynvml.NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT,
                pynvml.NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT,
            )
        )
    },
}


@function("dip", "nvmlDeviceGetFieldValues")
def _field_values(call: Call, gpu: SimulatedGpu, count: int, out: int) -> None:
    if count < 0 or not out:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    for item in (pynvml.c_nvmlFieldValue_t * count).from_address(out):
        item.timestamp = int(call.t * 1e6)
        item.latencyUsec = 0
        known = FIELDS.get(item.fieldId)
        value = known[1](gpu, call.t) if known else None
        if gpu.mig.enabled and item.fieldId in FIELDS_WITHOUT_MIG:
            value = None
        if item.fieldId > call.library.version.last_field:
            item.nvmlReturn = pynvml.NVML_ERROR_INVALID_ARGUMENT
        elif known is None or value is None:
            item.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
        else:
            (item.valueType, member), _ = known
            setattr(item.value, member, value)
            item.nvmlReturn = pynvml.NVML_SUCCESS
