"""Every key of the catalogue and the driver's function that answers it.

The order is the order of preference: a key is taken from the first query that this device
supports, and later queries are asked only for what is still missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import pynvml

from gpu_sentinel.catalogue import THRESHOLDS, VIOLATION_POLICIES
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.fastqueries import CLOCKS, FAST, mega, milli, percent, speaks_t_limit
from gpu_sentinel.nvml.query import Call, Field, FieldBatch, Query, call
from gpu_sentinel.nvml.raw import Answer, Handle, Read

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


def _nano(value: float) -> float:
    return value / 1e9


def _max_clock(name: str, clock: int) -> Call:
    return call(
        f"clocks.max.{name}",
        Tier.STATIC,
        [f"clocks.max.{name}"],
        lambda handle: (mega(pynvml.nvmlDeviceGetMaxClockInfo(handle, clock)),),
    )


def _bar1(handle: Handle) -> Sequence[Answer]:
    m = pynvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    return float(m.bar1Total), float(m.bar1Used), float(m.bar1Free)


def _remapped_rows(handle: Handle) -> Sequence[Answer]:
    return [float(v) for v in pynvml.nvmlDeviceGetRemappedRows(handle)]


def _thresholds(handle: Handle) -> tuple[tuple[str, ...], Read]:
    if speaks_t_limit(handle):
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


def _fans(handle: Handle) -> tuple[tuple[str, ...], Read]:
    count = pynvml.nvmlDeviceGetNumFans(handle)
    if not count:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    get = pynvml.nvmlDeviceGetFanSpeed_v2
    return ("fan.speed",), lambda: [tuple(percent(get(handle, fan)) for fan in range(count))]


def _ecc(handle: Handle) -> Sequence[Answer]:
    return [
        float(pynvml.nvmlDeviceGetTotalEccErrors(handle, type_, counter))
        for counter in _ECC_COUNTERS.values()
        for type_ in _ECC_TYPES.values()
    ]


QUERIES: tuple[Query, ...] = (
    *FAST,
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
        lambda h: (milli(pynvml.nvmlDeviceGetEnforcedPowerLimit(h)),),
    ),
    call("bar1", Tier.SLOW, ["bar1.total", "bar1.used", "bar1.free"], _bar1),
    Call("fan.speed", Tier.SLOW, ("fan.speed",), _fans),
    call(
        "fan.speed",
        Tier.SLOW,
        ["fan.speed"],
        lambda h: [(percent(pynvml.nvmlDeviceGetFanSpeed(h)),)],
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
        lambda h: (milli(pynvml.nvmlDeviceGetPowerManagementDefaultLimit(h)),),
    ),
    Call(
        "temperature.threshold",
        Tier.STATIC,
        tuple(f"temperature.threshold.{name}" for name in THRESHOLDS),
        _thresholds,
    ),
    *(_max_clock(name, number) for name, number in CLOCKS.items()),
)
