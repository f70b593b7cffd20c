"""Every key of the catalogue and the driver's function that answers it.

The order is the order of preference: a key is taken from the first query that this device
supports, and later queries are asked only for what is still missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pynvml

from gpu_sentinel.catalogue import THRESHOLDS, VIOLATION_POLICIES
from gpu_sentinel.catalogue.clocks import SLOWDOWN_REASONS
from gpu_sentinel.catalogue.temperature import TLIMITS
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.boardqueries import BOARD, single
from gpu_sentinel.nvml.errorqueries import ERROR_FIELDS, ERRORS
from gpu_sentinel.nvml.fastqueries import CLOCKS, FAST, speaks_t_limit
from gpu_sentinel.nvml.linkqueries import LINKS, NVLINK_ERROR_TOTALS, PCIE_ERROR_COUNTS
from gpu_sentinel.nvml.query import (
    Call,
    Field,
    FieldBatch,
    Parts,
    Query,
    Reader,
    call,
    signed_field,
)
from gpu_sentinel.nvml.raw import Answer, Handle
from gpu_sentinel.nvml.units import mega, milli, nano, percent

_THRESHOLDS = dict(
    zip(
        THRESHOLDS,
        (
            pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
            pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
            pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
            pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
            # nvidia-smi's "Target Temperature", to which the fans cool.
            pynvml.NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR,
        ),
        strict=True,
    )
)
#: In the order of `VIOLATION_POLICIES`.
_VIOLATIONS = (
    *range(pynvml.NVML_FI_DEV_PERF_POLICY_POWER, pynvml.NVML_FI_DEV_PERF_POLICY_RELIABILITY + 1),
    pynvml.NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS,
    pynvml.NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS,
)
#: In the order of `SLOWDOWN_REASONS`.
_SLOWDOWNS = (
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
)


def _max_clock(name: str, clock: int) -> Call:
    return single(
        f"clocks.max.{name}",
        Tier.STATIC,
        lambda handle: mega(pynvml.nvmlDeviceGetMaxClockInfo(handle, clock)),
    )


def _bar1(handle: Handle) -> Sequence[Answer]:
    m = pynvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    return float(m.bar1Total), float(m.bar1Used), float(m.bar1Free)


def _threshold(number: int, handle: Handle) -> Answer:
    celsius = pynvml.nvmlDeviceGetTemperatureThreshold(handle, number)
    if not celsius:  # 0 where a board has no such limit
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return float(celsius)


@dataclass(frozen=True, slots=True)
class AbsoluteThresholds(Parts):
    """Thresholds in degrees: of a GPU that counts down to T.Limit they are no use."""

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """See `Query.bind`: keeps the thresholds that this device has."""
        if speaks_t_limit(handle):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        # dataclass() makes another class for the slots, which super() without arguments misses.
        return Parts.bind(self, handle, wanted)


def _tlimit(number: int, handle: Handle) -> Answer:
    return signed_field(handle, number)


QUERIES: tuple[Query, ...] = (
    *FAST,
    *LINKS,
    FieldBatch(
        "fields.slow",
        Tier.SLOW,
        (
            *ERROR_FIELDS,
            *(
                Field(number, f"violation.{policy}", nano)
                for number, policy in zip(_VIOLATIONS, VIOLATION_POLICIES, strict=True)
            ),
            *(
                Field(number, f"slowdown.{reason}", nano)
                for number, reason in zip(_SLOWDOWNS, SLOWDOWN_REASONS, strict=True)
            ),
            *NVLINK_ERROR_TOTALS,
            *PCIE_ERROR_COUNTS,
            Field(
                pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT,
                "module.power.limit",
                milli,
                scope=pynvml.NVML_POWER_SCOPE_MODULE,
            ),
            Field(pynvml.NVML_FI_DEV_EDPP_MULTIPLIER, "edpp_multiplier", percent),
        ),
    ),
    FieldBatch(
        "fields.static",
        Tier.STATIC,
        (
            Field(pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT, "nvlink.links"),
            Field(pynvml.NVML_FI_DEV_C2C_LINK_COUNT, "c2c.links"),
        ),
    ),
    *ERRORS,
    single("power.limit", Tier.SLOW, lambda h: milli(pynvml.nvmlDeviceGetEnforcedPowerLimit(h))),
    call("bar1", Tier.SLOW, ["bar1.total", "bar1.used", "bar1.free"], _bar1),
    single("pcie.link.gen.current", Tier.SLOW, pynvml.nvmlDeviceGetCurrPcieLinkGeneration),
    single("pcie.link.width.current", Tier.SLOW, pynvml.nvmlDeviceGetCurrPcieLinkWidth),
    single("pcie.replays", Tier.SLOW, pynvml.nvmlDeviceGetPcieReplayCounter),
    single("pcie.link.gen.max", Tier.STATIC, pynvml.nvmlDeviceGetMaxPcieLinkGeneration),
    single("pcie.link.gen.gpumax", Tier.STATIC, pynvml.nvmlDeviceGetGpuMaxPcieLinkGeneration),
    single("pcie.link.width.max", Tier.STATIC, pynvml.nvmlDeviceGetMaxPcieLinkWidth),
    single(
        "power.default_limit",
        Tier.STATIC,
        lambda h: milli(pynvml.nvmlDeviceGetPowerManagementDefaultLimit(h)),
    ),
    AbsoluteThresholds(
        "temperature.threshold",
        Tier.STATIC,
        {
            f"temperature.threshold.{name}": partial(_threshold, number)
            for name, number in _THRESHOLDS.items()
        },
    ),
    Parts(
        "temperature.tlimit",
        Tier.STATIC,
        {
            f"temperature.tlimit.{name}": partial(_tlimit, number)
            for name, number in zip(
                TLIMITS,
                (
                    pynvml.NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT,
                    pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
                    pynvml.NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT,
                    pynvml.NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT,
                ),
                strict=True,
            )
        },
    ),
    *(_max_clock(name, number) for name, number in CLOCKS.items()),
    *BOARD,
    # Notebooks with Dynamic Boost and drivers of today answer NOT_SUPPORTED to the functions for
    # power limits, and have these. nvidia-smi calls them the GPU's ceiling power limit.
    FieldBatch(
        "fields.power_limit",
        Tier.SLOW,
        (
            Field(pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT, "power.limit", milli),
            Field(pynvml.NVML_FI_DEV_POWER_REQUESTED_LIMIT, "power.requested_limit", milli),
        ),
    ),
    FieldBatch(
        "fields.power_limits",
        Tier.STATIC,
        (
            Field(pynvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT, "power.default_limit", milli),
            Field(pynvml.NVML_FI_DEV_POWER_MIN_LIMIT, "power.min_limit", milli),
            Field(pynvml.NVML_FI_DEV_POWER_MAX_LIMIT, "power.max_limit", milli),
        ),
    ),
)
