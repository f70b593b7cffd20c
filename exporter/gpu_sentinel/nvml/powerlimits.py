"""What a board can draw at most, after what it says about its own limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pynvml

from gpu_sentinel.nvml.query import attempt_number
from gpu_sentinel.nvml.raw import Handle

#: A limit holds on average: shorter peaks go beyond it. Nothing that was measured on a board came
#: near to so many times its largest limit.
_BEYOND = 2.5
#: Keys of what the limits of the board hold for; its memory is a part of it.
_BOARD = ("power.draw.instant", "power.draw.average", "memory.power.average")
_MODULE = ("module.power.instant",)
_FIELDS = (
    pynvml.NVML_FI_DEV_POWER_MAX_LIMIT,
    pynvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT,
    pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT,
)


def most_watts(handle: Handle) -> Mapping[str, float]:
    """Key of a power reading -> watts beyond which it is not believed.

    A key is missing where the board tells no limit; then the range of the catalogue holds alone.
    """
    # Older drivers have the functions, notebooks with Dynamic Boost the fields only.
    fields = _fields(handle)
    functions = (
        lambda: pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1],
        lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle),
        lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle),
    )
    board = [*map(attempt_number, functions), *_of_scope(fields, pynvml.NVML_POWER_SCOPE_GPU)]
    module = _of_scope(fields, pynvml.NVML_POWER_SCOPE_MODULE)
    found = {}
    for keys, limits in ((_BOARD, board), (_MODULE, module)):
        if known := list(_plausible(limits)):
            found.update(dict.fromkeys(keys, _BEYOND * max(known) / 1e3))
    return found


def _fields(handle: Handle) -> Iterable[Any]:
    asked = [
        (number, scope)
        for scope in (pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE)
        for number in _FIELDS
    ]
    try:
        return list(pynvml.nvmlDeviceGetFieldValues(handle, asked))
    except pynvml.NVMLError:
        return []


def _of_scope(fields: Iterable[Any], scope: int) -> Iterator[float]:
    for value in fields:
        if value.scopeId == scope and not value.nvmlReturn:
            yield float(value.value.uiVal)


def _plausible(limits: Iterable[float | Exception]) -> Iterator[float]:
    """Limits in milliwatts; one of nothing is none."""
    for limit in limits:
        if isinstance(limit, float) and limit > 0.0 and math.isfinite(limit):
            yield limit
