"""What the functions about memory errors and repairs answer; signatures as in nvml.h."""

from __future__ import annotations

from ctypes import c_uint, c_ulonglong

import pynvml

from gpu_sentinel.catalogue.errors import ECC_LOCATIONS
from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    structure,
)

_LOCATIONS = {
    int(getattr(pynvml, f"NVML_MEMORY_LOCATION_{name}")): name for name in ECC_LOCATIONS.values()
}
_TYPES = {
    pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED: "corrected",
    pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED: "uncorrected",
}
_COUNTERS = (pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC)
#: Member of nvmlEccSramErrorStatus_t -> part of the chip.
_SOURCES = {
    "aggregateUncBucketL2": "l2",
    "aggregateUncBucketSm": "sm",
    "aggregateUncBucketPcie": "pcie",
    "aggregateUncBucketMcu": "microcontroller",
    "aggregateUncBucketOther": "other",
}


def _count(gpu: SimulatedGpu, kind: int, counter: int, location: str | None = None) -> int:
    if not gpu.model.ecc:
        raise not_supported()
    if kind not in _TYPES or counter not in _COUNTERS:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    aggregate = counter == pynvml.NVML_AGGREGATE_ECC
    return gpu.errors.count(_TYPES[kind], aggregate=aggregate, location=location)


@function("duup", "nvmlDeviceGetTotalEccErrors")
def _ecc(_call: Call, gpu: SimulatedGpu, kind: int, counter: int, out: int) -> None:
    put(c_ulonglong, out, _count(gpu, kind, counter))


@function("duuup", "nvmlDeviceGetMemoryErrorCounter")
def _located(
    _call: Call, gpu: SimulatedGpu, kind: int, counter: int, location: int, out: int
) -> None:
    name = _LOCATIONS.get(location)
    if name is None:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    if name not in gpu.model.facts.locations.get(_TYPES.get(kind, ""), ()):
        raise not_supported()
    put(c_ulonglong, out, _count(gpu, kind, counter, name))


@function("dp", "nvmlDeviceGetSramEccErrorStatus")
def _sram(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    layout, version = pynvml.c_nvmlEccSramErrorStatus_v1_t, pynvml.nvmlEccSramErrorStatus_v1
    status = structure(layout, out, version)
    if not gpu.model.facts.sram_status:
        raise not_supported()
    errors = gpu.errors
    status.volatileUncParity = errors.sram_count("parity", aggregate=False)
    status.volatileUncSecDed = errors.sram_count("sec_ded", aggregate=False)
    status.aggregateUncParity = errors.sram_count("parity", aggregate=True)
    status.aggregateUncSecDed = errors.sram_count("sec_ded", aggregate=True)
    status.volatileCor = errors.count("corrected", aggregate=False, location="SRAM")
    status.aggregateCor = errors.count("corrected", aggregate=True, location="SRAM")
    for member, source in _SOURCES.items():
        setattr(status, member, errors.sram_sources[source])
    status.bThresholdExceeded = int(errors.sram_exceeded)


@function("dp", "nvmlDeviceGetRepairStatus")
def _repair(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    status = structure(pynvml.c_nvmlRepairStatus_t, out, pynvml.nvmlRepairStatus_v1)
    if not gpu.model.facts.repair:
        raise not_supported()
    status.bChannelRepairPending = int("channel" in gpu.errors.repairs)
    status.bTpcRepairPending = int("tpc" in gpu.errors.repairs)


@function("dp", "nvmlDeviceGetUnrepairableMemoryFlag_v1")
def _unrepairable(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    layout, version = pynvml.c_nvmlUnrepairableMemory_v1_t, pynvml.nvmlUnrepairableMemory_v1
    status = structure(layout, out, version)
    if not gpu.model.facts.unrepairable:
        raise not_supported()
    status.unrepairableMemory = int(gpu.errors.unrepairable)


@function("dp", "nvmlDeviceGetRetiredPagesPendingStatus")
def _retirement(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    if not gpu.model.retirement:
        raise not_supported()
    put(c_uint, out, int(bool(gpu.errors.waiting)))
