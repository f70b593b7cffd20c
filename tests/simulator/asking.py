"""Asking a simulated driver through pynvml."""

from __future__ import annotations

import ctypes

import pynvml
import pytest

INVALID = pynvml.NVML_ERROR_INVALID_ARGUMENT
UNSUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
MISSING = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
DEPRECATED = pynvml.NVML_ERROR_DEPRECATED
ALL_LINKS = 0xFFFFFFFF


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def code(call, *arguments) -> int:
    """The return code of a call that fails."""
    with pytest.raises(pynvml.NVMLError) as caught:
        call(*arguments)
    return caught.value.value


def handle(index: int = 0):
    return pynvml.nvmlDeviceGetHandleByIndex(index)


MEMBERS = {
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
}


def raw_field(number: int, scope: int = 0, index: int = 0):
    (value,) = pynvml.nvmlDeviceGetFieldValues(handle(index), [(number, scope)])
    return value


def field(number: int, scope: int = 0, index: int = 0) -> int:
    """The value of a field that succeeds."""
    value = raw_field(number, scope, index)
    assert value.nvmlReturn == pynvml.NVML_SUCCESS, (number, scope, value.nvmlReturn)
    return getattr(value.value, MEMBERS[value.valueType])


def field_code(number: int, scope: int = 0, index: int = 0) -> int:
    """The return code of a field."""
    return raw_field(number, scope, index).nvmlReturn


def filled(get, structure):
    """What a wrapper that takes the caller's structure puts into it."""
    get(handle(), ctypes.byref(structure))
    return structure
