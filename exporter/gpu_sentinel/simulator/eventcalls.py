"""XIDs as events of NVML; signatures as in nvml.h."""

from __future__ import annotations

from ctypes import c_ulonglong, c_void_p, cast
from typing import TYPE_CHECKING

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    structure,
)

if TYPE_CHECKING:
    from gpu_sentinel.simulator.simulation import ReportedXid

_EVENTS = pynvml.nvmlEventTypeXidCriticalError
_NO_INSTANCE = 0xFFFFFFFF


@function("dp", "nvmlDeviceGetSupportedEventTypes")
def _event_types(_call: Call, _gpu: SimulatedGpu, out: int) -> None:
    put(c_ulonglong, out, _EVENTS)


@function("p", "nvmlEventSetCreate")
def _event_set_create(call: Call, out: int) -> None:
    sets = call.library.event_sets
    handle = max(sets, default=0x5E7000) + 0x10
    sets[handle] = ({}, [len(call.library.simulation.xids)])
    put(c_void_p, out, handle)


@function("dqp", "nvmlDeviceRegisterEvents")
def _register(call: Call, gpu: SimulatedGpu, types: int, event_set: int) -> None:
    if types & ~_EVENTS:
        raise not_supported()
    _event_set(call, event_set)[0][gpu.index] = types


@function("ppu", "nvmlEventSetWait", "nvmlEventSetWait_v2")
def _event_wait(call: Call, event_set: int, out: int, timeout_ms: int) -> None:
    registered, cursor = _event_set(call, event_set)
    simulation = call.library.simulation
    found: list[ReportedXid] = []

    def nothing() -> bool:
        for position, reported in simulation.xids_after(cursor[0]):
            cursor[0] = position
            if reported.gpu.index in registered:
                found.append(reported)
                return False
        return True

    if not simulation.wait_while(nothing, timeout_ms / 1e3):
        raise NvmlFailure(pynvml.NVML_ERROR_TIMEOUT)
    _, gpu, xid, instance = found[0]
    data = structure(pynvml.c_nvmlEventData_t, out)
    data.device = cast(call.library.handle(gpu), pynvml.c_nvmlDevice_t)
    data.eventType, data.eventData = pynvml.nvmlEventTypeXidCriticalError, xid
    data.gpuInstanceId = _NO_INSTANCE if instance is None else instance
    data.computeInstanceId = _NO_INSTANCE


@function("p", "nvmlEventSetFree")
def _event_set_free(call: Call, event_set: int) -> None:
    _event_set(call, event_set)
    del call.library.event_sets[event_set]


def _event_set(call: Call, handle: int | None) -> tuple[dict[int, int], list[int]]:
    try:
        return call.library.event_sets[handle or 0]
    except KeyError:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT) from None
