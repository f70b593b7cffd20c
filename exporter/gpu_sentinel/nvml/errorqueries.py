"""Memory errors, repairs, and the driver's verdicts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pynvml

from gpu_sentinel.catalogue.errors import ECC_LOCATIONS, REMAP_AVAILABILITY
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml.query import Field, FieldBatch, Parts, Query, call
from gpu_sentinel.nvml.raw import Answer, Handle

_ECC_TYPES = {
    "corrected": pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    "uncorrected": pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
}
_ECC_COUNTERS = {
    "volatile": pynvml.NVML_VOLATILE_ECC,
    "aggregate": pynvml.NVML_AGGREGATE_ECC,
}
#: Key -> member of nvmlEccSramErrorStatus_t.
_SRAM = {
    "ecc.sram.threshold": "bThresholdExceeded",
    "ecc.sram.volatile.parity": "volatileUncParity",
    "ecc.sram.volatile.sec_ded": "volatileUncSecDed",
    "ecc.sram.aggregate.parity": "aggregateUncParity",
    "ecc.sram.aggregate.sec_ded": "aggregateUncSecDed",
    "ecc.sram.source.l2": "aggregateUncBucketL2",
    "ecc.sram.source.sm": "aggregateUncBucketSm",
    "ecc.sram.source.pcie": "aggregateUncBucketPcie",
    "ecc.sram.source.microcontroller": "aggregateUncBucketMcu",
    "ecc.sram.source.other": "aggregateUncBucketOther",
}


def _total(type_: int, counter: int, handle: Handle) -> Answer:
    return float(pynvml.nvmlDeviceGetTotalEccErrors(handle, type_, counter))


def _located(type_: int, counter: int, location: int, handle: Handle) -> Answer:
    return float(pynvml.nvmlDeviceGetMemoryErrorCounter(handle, type_, counter, location))


_LOCATED: Mapping[str, Callable[[Handle], Answer]] = {
    f"ecc.errors.{type_}.{counter}.{location}": partial(
        _located,
        type_number,
        counter_number,
        getattr(pynvml, f"NVML_MEMORY_LOCATION_{name}"),
    )
    for type_, type_number in _ECC_TYPES.items()
    for counter, counter_number in _ECC_COUNTERS.items()
    for location, name in ECC_LOCATIONS.items()
}


def _sram(handle: Handle) -> Sequence[Answer]:
    status = pynvml.c_nvmlEccSramErrorStatus_v1_t()
    status.version = pynvml.nvmlEccSramErrorStatus_v1
    pynvml.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
    return [float(getattr(status, member)) for member in _SRAM.values()]


def _remapped_rows(handle: Handle) -> Sequence[Answer]:
    return [float(v) for v in pynvml.nvmlDeviceGetRemappedRows(handle)]


def _banks(handle: Handle) -> Sequence[Answer]:
    histogram = pynvml.nvmlDeviceGetRowRemapperHistogram(handle)
    return [float(getattr(histogram, name)) for name in REMAP_AVAILABILITY]


ERROR_FIELDS = (
    Field(pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL, "ecc.errors.corrected.volatile"),
    Field(pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL, "ecc.errors.uncorrected.volatile"),
    Field(pynvml.NVML_FI_DEV_ECC_SBE_AGG_TOTAL, "ecc.errors.corrected.aggregate"),
    Field(pynvml.NVML_FI_DEV_ECC_DBE_AGG_TOTAL, "ecc.errors.uncorrected.aggregate"),
    Field(pynvml.NVML_FI_DEV_RETIRED_SBE, "retired_pages.single_bit_ecc"),
    Field(pynvml.NVML_FI_DEV_RETIRED_DBE, "retired_pages.double_bit_ecc"),
    Field(pynvml.NVML_FI_DEV_RETIRED_PENDING, "retired_pages.pending"),
    Field(pynvml.NVML_FI_DEV_REMAPPED_COR, "remapped_rows.correctable"),
    Field(pynvml.NVML_FI_DEV_REMAPPED_UNC, "remapped_rows.uncorrectable"),
    Field(pynvml.NVML_FI_DEV_REMAPPED_PENDING, "remapped_rows.pending"),
    Field(pynvml.NVML_FI_DEV_REMAPPED_FAILURE, "remapped_rows.failure"),
    Field(pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, "recovery_action"),
)

ERRORS: tuple[Query, ...] = (
    Parts(
        "ecc",
        Tier.SLOW,
        {
            f"ecc.errors.{type_}.{counter}": partial(_total, type_number, counter_number)
            for counter, counter_number in _ECC_COUNTERS.items()
            for type_, type_number in _ECC_TYPES.items()
        },
    ),
    Parts("ecc.locations", Tier.SLOW, _LOCATED),
    call("ecc.sram", Tier.SLOW, list(_SRAM), _sram),
    call(
        "remapped_rows",
        Tier.SLOW,
        [
            f"remapped_rows.{what}"
            for what in ("correctable", "uncorrectable", "pending", "failure")
        ],
        _remapped_rows,
    ),
    FieldBatch(
        "fields.inactive",
        Tier.SLOW,
        (
            Field(
                pynvml.NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE, "remapped_rows.inactive.correctable"
            ),
            Field(
                pynvml.NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE,
                "remapped_rows.inactive.uncorrectable",
            ),
        ),
    ),
    call(
        "remapped_rows.banks",
        Tier.SLOW,
        [f"remapped_rows.banks.{name}" for name in REMAP_AVAILABILITY],
        _banks,
    ),
    call(
        "repair",
        Tier.SLOW,
        ["repair.channel", "repair.tpc"],
        lambda h: [float(v) for v in pynvml.nvmlDeviceGetRepairStatus(h)],
    ),
    call(
        "unrepairable_memory",
        Tier.SLOW,
        ["unrepairable_memory"],
        lambda h: (float(pynvml.nvmlDeviceGetUnrepairableMemoryFlag_v1(h)),),
    ),
)
