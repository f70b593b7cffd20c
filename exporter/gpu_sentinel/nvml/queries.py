"""Every key of the catalogue and the driver's function that answers it.

The order is the order of preference: a key is taken from the first query that this device
supports, and later queries are asked only for what is still missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pynvml

from gpu_sentinel.catalogue import CLOCK_EVENT_REASONS, THRESHOLDS, VIOLATION_POLICIES
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.query import (
    Answer,
    Call,
    Field,
    FieldBatch,
    Handle,
    Query,
    Read,
    call,
    signed_field,
)

NAN = float("nan")

_CLOCKS = {
    "graphics": pynvml.NVML_CLOCK_GRAPHICS,
    "sm": pynvml.NVML_CLOCK_SM,
    "memory": pynvml.NVML_CLOCK_MEM,
    "video": pynvml.NVML_CLOCK_VIDEO,
}
_THRESHOLDS = dict(
    zip(
        THRESHOLDS,
        (
            pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
            pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
            pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
            pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
        ),
        strict=True,
    )
)
_ECC_TYPES = {
    "corrected": pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    "uncorrected": pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
}
_ECC_COUNTERS = {
    "volatile": pynvml.NVML_VOLATILE_ECC,
    "aggregate": pynvml.NVML_AGGREGATE_ECC,
}


def _milli(value: float) -> float:
    return value / 1e3


def _nano(value: float) -> float:
    return value / 1e9


def _percent(value: float) -> float:
    return value / 100.0


def _mega(value: float) -> float:
    return value * 1e6


def _clock(key: str, tier: Tier, get: Callable[[Handle, int], int], clock: int) -> Call:
    return call(key, tier, [key], lambda handle: (_mega(get(handle, clock)),))


def _utilization(handle: Handle) -> Sequence[Answer]:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return _percent(rates.gpu), _percent(rates.memory)


def _memory_v2(handle: Handle) -> Sequence[Answer]:
    m = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return float(m.total), float(m.used), float(m.free), float(m.reserved)


def _memory_v1(handle: Handle) -> Sequence[Answer]:
    m = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return float(m.total), float(m.used), float(m.free)


def _bar1(handle: Handle) -> Sequence[Answer]:
    m = pynvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    return float(m.bar1Total), float(m.bar1Used), float(m.bar1Free)


def _remapped_rows(handle: Handle) -> Sequence[Answer]:
    return [float(v) for v in pynvml.nvmlDeviceGetRemappedRows(handle)]


def _pstate(handle: Handle) -> Sequence[Answer]:
    state = pynvml.nvmlDeviceGetPerformanceState(handle)
    return (None if state == pynvml.NVML_PSTATE_UNKNOWN else float(state),)


def _speaks_t_limit(handle: Handle) -> bool:
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


def _temperature(handle: Handle) -> tuple[tuple[str, ...], Read]:
    sensor = pynvml.NVML_TEMPERATURE_GPU
    get, margin = pynvml.nvmlDeviceGetTemperature, pynvml.nvmlDeviceGetMarginTemperature
    keys = ("temperature.gpu", "temperature.margin")
    if _speaks_t_limit(handle):
        # T.Limit falls to 0 at the highest operating temperature, and slowdown begins below 0:
        # an H100 at 59 C says T.Limit 26 with slowdown at -2, so 28 degrees are left.
        slowdown = signed_field(handle, pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT)
        return keys, lambda: (float(get(handle, sensor)), margin(handle) - slowdown)
    try:
        limit = float(
            pynvml.nvmlDeviceGetTemperatureThreshold(
                handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            )
        )
    except pynvml.NVMLError:
        return keys[:1], lambda: (float(get(handle, sensor)),)

    def read() -> Sequence[Answer]:
        celsius = float(get(handle, sensor))
        return celsius, limit - celsius

    return keys, read


def _thresholds(handle: Handle) -> tuple[tuple[str, ...], Read]:
    if _speaks_t_limit(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    found: dict[str, float] = {}
    for name, number in _THRESHOLDS.items():
        try:
            celsius = pynvml.nvmlDeviceGetTemperatureThreshold(handle, number)
        except pynvml.NVMLError:
            continue
        if celsius:  # 0 where a board has no such limit
            found[f"temperature.threshold.{name}"] = float(celsius)
    return tuple(found), lambda: tuple(found.values())


def _clock_events(current: str, supported: str) -> Call:
    keys = tuple(f"clocks_event_reasons.{reason}" for reason in CLOCK_EVENT_REASONS)

    def prepare(handle: Handle) -> tuple[tuple[str, ...], Read]:
        # Looked up by name: the functions have other names before driver 535.
        get = getattr(pynvml, current)
        mask = getattr(pynvml, supported)(handle)
        bits = [bit for bit in range(len(keys)) if mask >> bit & 1]

        def read() -> Sequence[Answer]:
            reasons = get(handle)
            if reasons >> 32:  # far beyond every reason that nvml.h has ever named
                return [NAN] * len(bits)
            return [float(reasons >> bit & 1) for bit in bits]

        return tuple(keys[bit] for bit in bits), read

    return Call("clocks_event_reasons", Tier.FAST, keys, prepare)


def _fans(handle: Handle) -> tuple[tuple[str, ...], Read]:
    count = pynvml.nvmlDeviceGetNumFans(handle)
    if not count:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    get = pynvml.nvmlDeviceGetFanSpeed_v2
    return ("fan.speed",), lambda: [tuple(_percent(get(handle, fan)) for fan in range(count))]


def _ecc(handle: Handle) -> Sequence[Answer]:
    return [
        float(pynvml.nvmlDeviceGetTotalEccErrors(handle, type_, counter))
        for counter in _ECC_COUNTERS.values()
        for type_ in _ECC_TYPES.values()
    ]


QUERIES: tuple[Query, ...] = (
    FieldBatch(
        "fields.fast",
        Tier.FAST,
        (
            Field(pynvml.NVML_FI_DEV_POWER_INSTANT, "power.draw.instant", _milli),
            Field(pynvml.NVML_FI_DEV_POWER_AVERAGE, "power.draw.average", _milli),
            Field(pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "energy.total", _milli),
            # Drivers disagree with themselves about the type of this one.
            Field(pynvml.NVML_FI_DEV_MEMORY_TEMP, "temperature.memory", member="uiVal"),
        ),
    ),
    call(
        "power.draw",
        Tier.FAST,
        ["power.draw.instant"],
        lambda h: (_milli(pynvml.nvmlDeviceGetPowerUsage(h)),),
    ),
    call(
        "energy.total",
        Tier.FAST,
        ["energy.total"],
        lambda h: (_milli(pynvml.nvmlDeviceGetTotalEnergyConsumption(h)),),
    ),
    call("utilization", Tier.FAST, ["utilization.gpu", "utilization.memory"], _utilization),
    call(
        "utilization.encoder",
        Tier.FAST,
        ["utilization.encoder"],
        lambda h: (_percent(pynvml.nvmlDeviceGetEncoderUtilization(h)[0]),),
    ),
    call(
        "utilization.decoder",
        Tier.FAST,
        ["utilization.decoder"],
        lambda h: (_percent(pynvml.nvmlDeviceGetDecoderUtilization(h)[0]),),
    ),
    call(
        "memory",
        Tier.FAST,
        ["memory.total", "memory.used", "memory.free", "memory.reserved"],
        _memory_v2,
    ),
    call("memory", Tier.FAST, ["memory.total", "memory.used", "memory.free"], _memory_v1),
    Call("temperature", Tier.FAST, ("temperature.gpu", "temperature.margin"), _temperature),
    *(
        _clock(f"clocks.current.{name}", Tier.FAST, pynvml.nvmlDeviceGetClockInfo, number)
        for name, number in _CLOCKS.items()
    ),
    call("pstate", Tier.FAST, ["pstate"], _pstate),
    _clock_events(
        "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetSupportedClocksEventReasons"
    ),
    _clock_events(
        "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetSupportedClocksThrottleReasons"
    ),
    FieldBatch(
        "fields.slow",
        Tier.SLOW,
        (
            Field(pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL, "ecc.errors.corrected.volatile"),
            Field(pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL, "ecc.errors.uncorrected.volatile"),
            Field(pynvml.NVML_FI_DEV_ECC_SBE_AGG_TOTAL, "ecc.errors.corrected.aggregate"),
            Field(pynvml.NVML_FI_DEV_ECC_DBE_AGG_TOTAL, "ecc.errors.uncorrected.aggregate"),
            Field(pynvml.NVML_FI_DEV_RETIRED_SBE, "retired_pages.single_bit_ecc"),
            Field(pynvml.NVML_FI_DEV_RETIRED_DBE, "retired_pages.double_bit_ecc"),
            Field(pynvml.NVML_FI_DEV_RETIRED_PENDING, "retired_pages.pending"),
            *(
                Field(pynvml.NVML_FI_DEV_PERF_POLICY_POWER + i, f"violation.{policy}", _nano)
                for i, policy in enumerate(VIOLATION_POLICIES)
            ),
            Field(pynvml.NVML_FI_DEV_REMAPPED_COR, "remapped_rows.correctable"),
            Field(pynvml.NVML_FI_DEV_REMAPPED_UNC, "remapped_rows.uncorrectable"),
            Field(pynvml.NVML_FI_DEV_REMAPPED_PENDING, "remapped_rows.pending"),
            Field(pynvml.NVML_FI_DEV_REMAPPED_FAILURE, "remapped_rows.failure"),
        ),
    ),
    call(
        "ecc",
        Tier.SLOW,
        [f"ecc.errors.{type_}.{counter}" for counter in _ECC_COUNTERS for type_ in _ECC_TYPES],
        _ecc,
    ),
    call(
        "remapped_rows",
        Tier.SLOW,
        [
            f"remapped_rows.{what}"
            for what in ("correctable", "uncorrectable", "pending", "failure")
        ],
        _remapped_rows,
    ),
    call(
        "power.limit",
        Tier.SLOW,
        ["power.limit"],
        lambda h: (_milli(pynvml.nvmlDeviceGetEnforcedPowerLimit(h)),),
    ),
    call("bar1", Tier.SLOW, ["bar1.total", "bar1.used", "bar1.free"], _bar1),
    Call("fan.speed", Tier.SLOW, ("fan.speed",), _fans),
    call(
        "fan.speed",
        Tier.SLOW,
        ["fan.speed"],
        lambda h: [(_percent(pynvml.nvmlDeviceGetFanSpeed(h)),)],
    ),
    call(
        "pcie.link.gen.current",
        Tier.SLOW,
        ["pcie.link.gen.current"],
        lambda h: (float(pynvml.nvmlDeviceGetCurrPcieLinkGeneration(h)),),
    ),
    call(
        "pcie.link.width.current",
        Tier.SLOW,
        ["pcie.link.width.current"],
        lambda h: (float(pynvml.nvmlDeviceGetCurrPcieLinkWidth(h)),),
    ),
    call(
        "pcie.replays",
        Tier.SLOW,
        ["pcie.replays"],
        lambda h: (float(pynvml.nvmlDeviceGetPcieReplayCounter(h)),),
    ),
    call(
        "pcie.link.gen.max",
        Tier.STATIC,
        ["pcie.link.gen.max"],
        lambda h: (float(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(h)),),
    ),
    call(
        "pcie.link.width.max",
        Tier.STATIC,
        ["pcie.link.width.max"],
        lambda h: (float(pynvml.nvmlDeviceGetMaxPcieLinkWidth(h)),),
    ),
    call(
        "power.default_limit",
        Tier.STATIC,
        ["power.default_limit"],
        lambda h: (_milli(pynvml.nvmlDeviceGetPowerManagementDefaultLimit(h)),),
    ),
    Call(
        "temperature.threshold",
        Tier.STATIC,
        tuple(f"temperature.threshold.{name}" for name in THRESHOLDS),
        _thresholds,
    ),
    *(
        _clock(f"clocks.max.{name}", Tier.STATIC, pynvml.nvmlDeviceGetMaxClockInfo, number)
        for name, number in _CLOCKS.items()
    ),
)
