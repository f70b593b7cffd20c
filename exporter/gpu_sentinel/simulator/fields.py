"""nvmlDeviceGetFieldValues on simulated GPUs: each field with a type and a return code."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import Call, NvmlFailure, function
from gpu_sentinel.simulator.mig import FIELDS_WITHOUT_MIG


class Asked(NamedTuple):
    """One value that is asked for; `scope` says of what, where a field has scopes."""

    call: Call
    gpu: SimulatedGpu
    t: float
    scope: int


class Kind(NamedTuple):
    """The type of a value: its number (nvml.h, nvmlValueType_t), and the member that holds it."""

    number: int
    member: str


UINT = Kind(pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, "uiVal")
U64 = Kind(pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, "ullVal")
INT = Kind(pynvml.NVML_VALUE_TYPE_SIGNED_INT, "siVal")

#: What answers a field in the driver's unit; None is NOT_SUPPORTED, other failures are raised.
Get = Callable[[Asked], int | None]

_Field: TypeAlias = tuple[Kind | Callable[[SimulatedGpu], Kind], Get]
#: By number (nvml.h, NVML_FI_DEV_*); filled by the modules `*fields`.
FIELDS: dict[int, _Field] = {}
#: Number -> name without the prefix.
_NAMES: dict[int, str] = {}


def number_of(name: str) -> int:
    """The number of NVML_FI_DEV_<name>."""
    return int(getattr(pynvml, f"NVML_FI_DEV_{name}"))


def add(name: str, kind: Kind | Callable[[SimulatedGpu], Kind], get: Get) -> None:
    """Register what answers NVML_FI_DEV_<name>."""
    FIELDS[number_of(name)] = kind, get
    _NAMES[number_of(name)] = name


@function("dip", "nvmlDeviceGetFieldValues")
def _field_values(call: Call, gpu: SimulatedGpu, count: int, out: int) -> None:
    if count < 0 or not out:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    for item in (pynvml.c_nvmlFieldValue_t * count).from_address(out):
        item.timestamp = int(call.t * 1e6)
        item.latencyUsec = 0
        item.nvmlReturn = _answer(item, Asked(call, gpu, call.t, item.scopeId))


def _answer(item: pynvml.c_nvmlFieldValue_t, asked: Asked) -> int:
    """Fill in one value; returns its return code."""
    if item.fieldId > asked.call.library.version.last_field:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    known = FIELDS.get(item.fieldId)
    odd = asked.gpu.odd
    if odd is not None and (code := odd.code(item.fieldId)):
        return code
    if odd is not None and (told := odd.fields.get(item.fieldId)) is not None:
        value_type, item.value.ullVal = told
        if value_type is None:
            value_type = _kind(known, asked.gpu).number if known else U64.number
        item.valueType = value_type
        return int(pynvml.NVML_SUCCESS)
    if asked.gpu.mig.enabled and item.fieldId in FIELDS_WITHOUT_MIG:
        known = None
    if known and not asked.gpu.model.has(_NAMES[item.fieldId]):
        known = None
    try:
        value = known[1](asked) if known else None
    except NvmlFailure as failure:
        return failure.code
    if known is None or value is None:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    kind = _kind(known, asked.gpu)
    item.valueType = kind.number
    setattr(item.value, kind.member, value)
    return int(pynvml.NVML_SUCCESS)


def _kind(known: _Field, gpu: SimulatedGpu) -> Kind:
    return known[0] if isinstance(known[0], Kind) else known[0](gpu)
