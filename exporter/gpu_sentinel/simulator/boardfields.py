"""Fields about the board itself: memory errors, slowdowns, heat, power."""

from __future__ import annotations

from collections.abc import Callable

import pynvml

from gpu_sentinel.simulator.fields import INT, U64, UINT, Asked, Get, add
from gpu_sentinel.simulator.physics import State


def _ecc(type_: str, *, aggregate: bool) -> Get:
    def get(asked: Asked) -> int | None:
        errors = asked.gpu.errors
        return errors.count(type_, aggregate=aggregate) if asked.gpu.model.ecc else None

    return get


def _retired(get: Get) -> Get:
    return lambda asked: get(asked) if asked.gpu.model.retirement else None


def _remapped(get: Get) -> Get:
    return lambda asked: get(asked) if asked.gpu.model.remapping is not None else None


def _seconds(get: Callable[[State], float]) -> Get:
    return lambda asked: int(get(asked.gpu.state(asked.t)) * 1e9)


def _t_limit(position: int) -> Get:
    def get(asked: Asked) -> int | None:
        limits = asked.gpu.model.t_limits
        return None if limits is None else limits[position]

    return get


def _thermal(state: State) -> float:
    return state.sw_thermal_seconds + state.hw_thermal_seconds


for _name in ("ECC_CURRENT", "ECC_PENDING"):
    add(_name, UINT, lambda a: 1 if a.gpu.model.ecc else None)
for _which, _type in (("SBE", "corrected"), ("DBE", "uncorrected")):
    add(f"ECC_{_which}_VOL_TOTAL", U64, _ecc(_type, aggregate=False))
    add(f"ECC_{_which}_AGG_TOTAL", U64, _ecc(_type, aggregate=True))

add("RETIRED_SBE", UINT, _retired(lambda a: a.gpu.errors.retired["single_bit"]))
add("RETIRED_DBE", UINT, _retired(lambda a: a.gpu.errors.retired["double_bit"]))
add("RETIRED_PENDING", UINT, _retired(lambda a: int(bool(a.gpu.errors.waiting))))
add("RETIRED_PENDING_SBE", UINT, _retired(lambda a: int("single_bit" in a.gpu.errors.waiting)))
add("RETIRED_PENDING_DBE", UINT, _retired(lambda a: int("double_bit" in a.gpu.errors.waiting)))

add("REMAPPED_COR", UINT, _remapped(lambda a: a.gpu.errors.remapped["correctable"]))
add("REMAPPED_UNC", UINT, _remapped(lambda a: a.gpu.errors.remapped["uncorrectable"]))
add("REMAPPED_PENDING", UINT, _remapped(lambda a: int(a.gpu.errors.remap_pending)))
add("REMAPPED_FAILURE", UINT, _remapped(lambda a: int(a.gpu.errors.remap_failure)))
for _name in ("REMAPPED_ROWS_COR_INACTIVE", "REMAPPED_ROWS_UNC_INACTIVE"):
    add(_name, UINT, _remapped(lambda _: 0))

add("PERF_POLICY_POWER", U64, _seconds(lambda s: s.power_capped_seconds))
add("PERF_POLICY_THERMAL", U64, _seconds(_thermal))
for _name in ("SYNC_BOOST", "BOARD_LIMIT", "LOW_UTILIZATION", "RELIABILITY"):
    add(f"PERF_POLICY_{_name}", U64, lambda _: 0)
add("CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN", U64, _seconds(lambda s: s.sw_thermal_seconds))
add("CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN", U64, _seconds(lambda s: s.hw_thermal_seconds))
add("CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN", U64, lambda _: 0)

add("MEMORY_TEMP", UINT, lambda a: a.gpu.reading("memory_temperature", a.t))
for _position, _name in enumerate(("SHUTDOWN", "SLOWDOWN", "MEM_MAX", "GPU_MAX")):
    add(f"TEMPERATURE_{_name}_TLIMIT", INT, _t_limit(_position))

add("GET_GPU_RECOVERY_ACTION", UINT, lambda a: a.gpu.errors.recovery)
add("EDPP_MULTIPLIER", UINT, lambda a: a.gpu.model.facts.edpp)


def _module_watts(asked: Asked, *, average: bool) -> int | None:
    """What processor and GPUs of a module draw, in milliwatts; the same for each of its GPUs."""
    module = asked.gpu.model.facts.module
    if module is None:
        return None
    first = asked.gpu.index - asked.gpu.index % module.gpus
    gpus = asked.call.library.simulation.gpus[first : first + module.gpus]
    states = [gpu.state(asked.t) for gpu in gpus]
    drawn = sum(s.average_watts if average else s.watts for s in states)
    return round((drawn + module.processor_watts) * 1e3)


def _average(asked: Asked) -> int | None:
    if asked.scope == pynvml.NVML_POWER_SCOPE_MODULE:
        return _module_watts(asked, average=True)
    if asked.scope == pynvml.NVML_POWER_SCOPE_MEMORY:
        return asked.gpu.memory_power(asked.t)
    if asked.scope != pynvml.NVML_POWER_SCOPE_GPU or not asked.gpu.model.average_power:
        return None
    return asked.gpu.power_average(asked.t)


def _instant(asked: Asked) -> int | None:
    if asked.scope == pynvml.NVML_POWER_SCOPE_MODULE:
        return _module_watts(asked, average=False)
    if asked.scope != pynvml.NVML_POWER_SCOPE_GPU or not asked.gpu.model.instant_power:
        return None
    return asked.gpu.reading("power", asked.t)


def _limit(gpu: Callable[[Asked], float], module: int) -> Get:
    """A power limit: of the GPU, or one of those of its module."""

    def get(asked: Asked) -> int | None:
        whole = asked.gpu.model.facts.module
        if asked.scope == pynvml.NVML_POWER_SCOPE_GPU:
            return round(gpu(asked) * 1e3)
        if asked.scope != pynvml.NVML_POWER_SCOPE_MODULE or whole is None:
            return None
        return round(whole.limits[module] * 1e3)

    return get


add("POWER_AVERAGE", UINT, _average)
add("POWER_INSTANT", UINT, _instant)
add("POWER_MIN_LIMIT", UINT, _limit(lambda a: a.gpu.model.limits[0], 0))
add("POWER_MAX_LIMIT", UINT, _limit(lambda a: a.gpu.model.limits[2], 2))
add("POWER_DEFAULT_LIMIT", UINT, _limit(lambda a: a.gpu.model.limits[1], 1))
add("POWER_CURRENT_LIMIT", UINT, _limit(lambda a: a.gpu.board.limit, 1))
add("POWER_REQUESTED_LIMIT", UINT, _limit(lambda a: a.gpu.board.limit, 1))
for _name in ("TOTAL_ENERGY_CONSUMPTION", "ENERGY"):
    add(_name, U64, lambda a: a.gpu.millijoules(a.t) if a.scope == 0 else None)
