"""What is read many times a second: through buffers that are made once; see `raw`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import cast

import pynvml

from gpu_sentinel.catalogue import CLOCK_EVENT_REASONS
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.errors import UNSUPPORTED
from gpu_sentinel.nvml.linkqueries import NVLINK_TOTALS
from gpu_sentinel.nvml.query import Call, Field, FieldBatch, Query, raw_call, signed_field
from gpu_sentinel.nvml.raw import Answer, Handle, Read
from gpu_sentinel.nvml.units import mega, milli, percent, signed

NAN = float("nan")

CLOCKS = {
    "graphics": pynvml.NVML_CLOCK_GRAPHICS,
    "sm": pynvml.NVML_CLOCK_SM,
    "memory": pynvml.NVML_CLOCK_MEM,
    "video": pynvml.NVML_CLOCK_VIDEO,
}


def memory_v2() -> ctypes.Structure:
    """What nvmlDeviceGetMemoryInfo_v2 fills."""
    info = pynvml.c_nvmlMemory_v2_t()
    info.version = pynvml.nvmlMemory_v2
    return cast("ctypes.Structure", info)


def _margin() -> ctypes.Structure:
    margin = pynvml.c_nvmlMarginTemperature_v1_t()
    margin.version = pynvml.nvmlMarginTemperature_v1
    return cast("ctypes.Structure", margin)


def speaks_t_limit(handle: Handle) -> bool:
    """Whether this GPU counts heat down to its limit instead of giving absolute thresholds.

    So do GPUs from Ada on with a driver that has nvmlDeviceGetMarginTemperature (nvml.h: the
    thresholds of such GPUs are fields 193 to 196, relative to T.Limit 0).
    """
    try:
        pynvml.nvmlDeviceGetMarginTemperature(handle)
        signed_field(handle, pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT)
    except pynvml.NVMLError:
        return False
    return True


def _core_sensor() -> ctypes.Structure:
    wanted = pynvml.c_nvmlTemperature_v1_t()
    wanted.version = pynvml.nvmlTemperature_v1
    wanted.sensorType = pynvml.NVML_TEMPERATURE_GPU
    return cast("ctypes.Structure", wanted)


def _celsius(handle: Handle) -> Read:
    """The temperature, by the older function as long as that answers.

    nvml.h: it is deprecated, and nvmlDeviceGetTemperatureV, of drivers from 570 on, takes its
    place. The older one has a pointer to an unsigned number; below zero its bits have a sign.
    """
    older = ("nvmlDeviceGetTemperature", signed, pynvml.NVML_TEMPERATURE_GPU)
    try:
        read = raw.number(*older)(handle)
        read()
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
    else:
        return read
    return raw.members("nvmlDeviceGetTemperatureV", _core_sensor, float, "temperature")(handle)


def _temperature(handle: Handle) -> tuple[tuple[str, ...], Read]:
    """The temperature, and the margin too where it is counted from an absolute threshold."""
    celsius = _celsius(handle)
    keys = ("temperature.gpu", "temperature.margin")
    if speaks_t_limit(handle):
        return keys[:1], celsius
    try:
        limit = float(
            pynvml.nvmlDeviceGetTemperatureThreshold(
                handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            )
        )
    except pynvml.NVMLError:
        return keys[:1], celsius
    if limit <= 0.0:  # a board without this limit
        return keys[:1], celsius

    told: Sequence[Answer] = ()
    both: Sequence[Answer] = ()

    def read() -> Sequence[Answer]:
        nonlocal told, both
        answers = celsius()
        if answers is not told:
            (now,) = told = answers
            both = (now, limit - now) if isinstance(now, float) else (now, now)
        return both

    return keys, read


def _t_limit(handle: Handle) -> tuple[tuple[str, ...], Read]:
    # T.Limit falls to 0 at the highest operating temperature, and slowdown begins below 0: an
    # H100 at 59 C says T.Limit 26 with slowdown at -2, so 28 degrees are left.
    read = raw.members("nvmlDeviceGetMarginTemperature", _margin, float, "marginTemperature")(
        handle
    )
    try:
        slowdown = signed_field(handle, pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT)
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        return ("temperature.tlimit",), read
    told: Sequence[Answer] = ()
    both: Sequence[Answer] = ()

    def read_both() -> Sequence[Answer]:
        nonlocal told, both
        answers = read()
        if answers is not told:
            (margin,) = told = answers
            both = (margin - slowdown, margin) if isinstance(margin, float) else (margin, margin)
        return both

    return ("temperature.margin", "temperature.tlimit"), read_both


def _pstate(value: float) -> float:
    return NAN if value == pynvml.NVML_PSTATE_UNKNOWN else float(value)


def _clock_events(current: str, supported: str) -> Call:
    keys = tuple(f"clocks_event_reasons.{reason}" for reason in CLOCK_EVENT_REASONS)

    def prepare(handle: Handle) -> tuple[tuple[str, ...], Read]:
        reasons = raw.integer(current)(handle)
        try:
            mask = raw.integer(supported)(handle)()
        except pynvml.NVMLError as error:
            if error.value not in UNSUPPORTED:
                raise
            mask = -1  # it does not tell which ones it can give: any
        bits = [bit for bit in range(len(keys)) if mask >> bit & 1]
        # One answer for each combination of reasons that occurs; there are few.
        answers: dict[int, Sequence[Answer]] = {}

        def read() -> Sequence[Answer]:
            now = reasons()
            found = answers.get(now)
            if found is None:
                found = _flags(now, bits)
                if len(answers) < 64:
                    answers[now] = found
            return found

        return tuple(keys[bit] for bit in bits), read

    return Call("clocks_event_reasons", Tier.FAST, keys, prepare)


def _flags(mask: int, bits: Sequence[int]) -> Sequence[Answer]:
    if mask >> 32:  # far beyond every reason that nvml.h has ever named
        return [NAN] * len(bits)
    return [float(mask >> bit & 1) for bit in bits]


def _number(
    name: str, key: str, call: str, convert: Callable[[float], float], *arguments: int
) -> Call:
    wide = key == "energy.total"
    return raw_call(name, Tier.FAST, [key], raw.number(call, convert, *arguments, wide=wide))


FAST: tuple[Query, ...] = (
    FieldBatch(
        "fields.power",
        Tier.FAST,
        (Field(pynvml.NVML_FI_DEV_POWER_INSTANT, "power.draw.instant", milli),),
    ),
    FieldBatch(
        "fields.fast",
        Tier.FAST,
        (
            Field(pynvml.NVML_FI_DEV_POWER_AVERAGE, "power.draw.average", milli),
            Field(pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "energy.total", milli),
            Field(
                pynvml.NVML_FI_DEV_POWER_AVERAGE,
                "memory.power.average",
                milli,
                scope=pynvml.NVML_POWER_SCOPE_MEMORY,
            ),
            Field(
                pynvml.NVML_FI_DEV_POWER_INSTANT,
                "module.power.instant",
                milli,
                scope=pynvml.NVML_POWER_SCOPE_MODULE,
            ),
            *NVLINK_TOTALS,
            # Drivers disagree with themselves about the type of this one; below zero it has a sign.
            Field(
                pynvml.NVML_FI_DEV_MEMORY_TEMP,
                "temperature.memory",
                value_type=pynvml.NVML_VALUE_TYPE_SIGNED_INT,
            ),
        ),
    ),
    _number("power.draw", "power.draw.instant", "nvmlDeviceGetPowerUsage", milli),
    _number("energy.total", "energy.total", "nvmlDeviceGetTotalEnergyConsumption", milli),
    raw_call(
        "utilization",
        Tier.FAST,
        ["utilization.gpu", "utilization.memory"],
        raw.members(
            "nvmlDeviceGetUtilizationRates", pynvml.c_nvmlUtilization_t, percent, "gpu", "memory"
        ),
    ),
    *(
        raw_call(f"utilization.{engine}", Tier.FAST, [f"utilization.{engine}"], prepare)
        for engine, prepare in (
            ("encoder", raw.engine("nvmlDeviceGetEncoderUtilization", percent)),
            ("decoder", raw.engine("nvmlDeviceGetDecoderUtilization", percent)),
            ("jpeg", raw.engine("nvmlDeviceGetJpgUtilization", percent)),
            ("ofa", raw.engine("nvmlDeviceGetOfaUtilization", percent)),
        )
    ),
    raw_call(
        "memory",
        Tier.FAST,
        ["memory.total", "memory.reserved", "memory.free", "memory.used"],
        raw.members(
            "nvmlDeviceGetMemoryInfo_v2", memory_v2, float, "total", "reserved", "free", "used"
        ),
    ),
    raw_call(
        "memory",
        Tier.FAST,
        ["memory.total", "memory.free", "memory.used"],
        raw.members(
            "nvmlDeviceGetMemoryInfo", pynvml.c_nvmlMemory_t, float, "total", "free", "used"
        ),
    ),
    Call("temperature", Tier.FAST, ("temperature.gpu", "temperature.margin"), _temperature),
    Call("temperature.margin", Tier.FAST, ("temperature.margin", "temperature.tlimit"), _t_limit),
    *(
        _number(
            f"clocks.current.{name}",
            f"clocks.current.{name}",
            "nvmlDeviceGetClockInfo",
            mega,
            clock,
        )
        for name, clock in CLOCKS.items()
    ),
    _number("pstate", "pstate", "nvmlDeviceGetPerformanceState", _pstate),
    _clock_events(
        "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetSupportedClocksEventReasons"
    ),
    _clock_events(
        "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetSupportedClocksThrottleReasons"
    ),
)
