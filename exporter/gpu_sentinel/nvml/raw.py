"""Calls into buffers that are made once: what a fast sampler needs.

pynvml's wrappers make new buffers, check types and cache names in every call; here that is done
when a GPU is probed. One thread at a time may use what `prepare` returned, for its buffers.
Where the driver answers what it answered before, a reader returns the very same object.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_int, c_uint, c_ulonglong, sizeof
from typing import Any, TypeAlias, cast

import pynvml

from gpu_sentinel.model import Value

#: A pynvml device handle.
Handle: TypeAlias = Any
#: A value in base units; None where there is nothing to tell; an error for this key alone. Of
#: several values (fans, links) each can be an error, and NaN where there is nothing to tell.
Answer: TypeAlias = Value | Exception | tuple[float | Exception, ...] | None
Read: TypeAlias = Callable[[], Sequence[Answer]]

#: What the bits of a value mean, by its type (nvml.h, nvmlValueType_t); little-endian machines
#: are all that the driver runs on.
_DECODE: Mapping[int, Callable[[int], float]] = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: lambda raw: _as("<d", raw),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: lambda raw: raw & 0xFFFFFFFF,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: lambda raw: raw,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: lambda raw: raw,
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: lambda raw: _as("<q", raw),
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: lambda raw: _as("<i4x", raw),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: lambda raw: raw & 0xFFFF,
}
#: Of nvmlFieldValue_t: value type, return code, value.
_FIELD = "24xIIQ"
_SAMPLE = struct.Struct("<QQ")
_CAPACITY = 128
#: A larger buffer is no answer.
_MOST_SAMPLES = 4096
_CODES: Mapping[object, str] = {c_uint: "I", c_int: "i", c_ulonglong: "Q"}


def _as(layout: str, raw: int) -> float:
    return cast("float", struct.unpack(layout, raw.to_bytes(8, "little"))[0])


def decoder(value_type: int) -> Callable[[int], float]:
    """From the 64 bits of nvmlValue_t to the number in it.

    Raises:
        pynvml.NVMLError: UNKNOWN, for a type that nvml.h does not name.
    """
    try:
        return _DECODE[value_type]
    except KeyError:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN) from None


def function(name: str) -> Callable[..., int]:
    """A function of the library.

    Raises:
        pynvml.NVMLError: this driver does not have it.
    """
    return cast("Callable[..., int]", pynvml._nvmlGetFunctionPointer(name))  # noqa: SLF001


def integer(name: str) -> Callable[[Handle], Callable[[], int]]:
    """A function that answers one unsigned number of 64 bits."""

    def prepare(handle: Handle) -> Callable[[], int]:
        call, out = function(name), c_ulonglong()
        pointer = byref(out)

        def read() -> int:
            if code := call(handle, pointer):
                raise pynvml.NVMLError(code)
            return out.value

        return read

    return prepare


def number(
    name: str, convert: Callable[[float], float], *arguments: int, wide: bool = False
) -> Callable[[Handle], Read]:
    """A function that answers one unsigned number, of 64 bits where it is `wide`."""

    def prepare(handle: Handle) -> Read:
        call, out = function(name), (c_ulonglong if wide else c_uint)()
        pointer = byref(out)
        last, answers = -1, (math.nan,)

        def read() -> Sequence[Answer]:
            nonlocal last, answers
            if code := call(handle, *arguments, pointer):
                raise pynvml.NVMLError(code)
            if out.value != last:
                last = out.value
                answers = (convert(last),)
            return answers

        return read

    return prepare


def engine(name: str, convert: Callable[[float], float]) -> Callable[[Handle], Read]:
    """Utilisation of the encoder, the decoder and their like; the sampling period is dropped."""

    def prepare(handle: Handle) -> Read:
        call, out, period = function(name), c_uint(), c_uint()
        first, second = byref(out), byref(period)

        def read() -> Sequence[Answer]:
            if code := call(handle, first, second):
                raise pynvml.NVMLError(code)
            return (convert(out.value),)

        return read

    return prepare


def members(
    name: str,
    kind: Callable[[], ctypes.Structure],
    convert: Callable[[float], float],
    *names: str,
) -> Callable[[Handle], Read]:
    """A function that fills a structure; `kind()` makes one, its version set.

    The members are unpacked at once, because pynvml's structures are slow to look into.
    """

    def prepare(handle: Handle) -> Read:
        call, out = function(name), kind()
        pointer, unpack = byref(out), _layout(type(out), names).unpack_from
        last: tuple[int, ...] = ()
        answers: list[Answer] = []

        def read() -> Sequence[Answer]:
            nonlocal last, answers
            if code := call(handle, pointer):
                raise pynvml.NVMLError(code)
            found = unpack(out)
            if found != last:
                last = found
                answers = [convert(value) for value in found]
            return answers

        return read

    return prepare


def _layout(kind: type[ctypes.Structure], names: Sequence[str]) -> struct.Struct:
    """What unpacks these members, which stand in this order in the structure."""
    types = dict(field[:2] for field in kind._fields_)
    layout, end = "<", 0
    for name in names:
        member = getattr(kind, name)
        layout += f"{member.offset - end}x{_CODES[types[name]]}"
        end = member.offset + member.size
    return struct.Struct(layout)


class FieldBuffer:
    """The fields of one query, which come with one call; see `share`.

    Attributes:
        items: what the driver fills.
        shared: with whom it shares calls, None while it does not.
    """

    __slots__ = ("_call", "_handle", "items", "shared")

    def __init__(self, handle: Handle, wanted: Sequence[tuple[int, int]]) -> None:
        """`wanted` has number and scope of each field."""
        self._call = function("nvmlDeviceGetFieldValues")
        self._handle = handle
        self.items: Any = (pynvml.c_nvmlFieldValue_t * len(wanted))()
        for item, (field_id, scope) in zip(self.items, wanted, strict=True):
            item.fieldId, item.scopeId = field_id, scope
        self.shared: SharedFields | None = None

    def fill(self) -> None:
        """Ask the driver, unless another query has just done that for this one, too.

        Raises:
            pynvml.NVMLError: the whole call failed.
        """
        shared = self.shared
        if shared is not None and shared.answers(self):
            return
        if code := self._call(self._handle, len(self.items), self.items):
            raise pynvml.NVMLError(code)


class SharedFields:
    """Queries for fields of one GPU that may be answered by one call: their buffers in a row."""

    def __init__(self, handle: Handle, buffers: Sequence[FieldBuffer]) -> None:
        size = sizeof(pynvml.c_nvmlFieldValue_t)
        count = sum(len(buffer.items) for buffer in buffers)
        self._call = function("nvmlDeviceGetFieldValues")
        self._handle = handle
        self._items: Any = (pynvml.c_nvmlFieldValue_t * count)()
        self._starts: dict[FieldBuffer, int] = {}
        self._due: Sequence[FieldBuffer] = ()
        self._ahead: set[FieldBuffer] = set()
        start = 0
        for buffer in buffers:
            kind = type(buffer.items)
            place = kind.from_buffer(self._items, start * size)
            ctypes.memmove(place, buffer.items, sizeof(kind))
            buffer.items, buffer.shared = place, self
            self._starts[buffer] = start
            start += len(place)

    def expect(self, due: Sequence[FieldBuffer]) -> None:
        """These are read next, each once: the first one is to ask for all of them."""
        self._due = due
        self._ahead.clear()

    def answers(self, buffer: FieldBuffer) -> bool:
        """Whether a buffer is filled with what was just answered, which counts once.

        Raises:
            pynvml.NVMLError: the whole call failed.
        """
        if buffer in self._ahead:
            self._ahead.remove(buffer)
            return True
        due, self._due = self._due, ()
        if buffer not in due:
            return False
        starts = [self._starts[b] for b in due]
        first = min(starts)
        last = max(start + len(b.items) for b, start in zip(due, starts, strict=True))
        place = byref(self._items, first * sizeof(pynvml.c_nvmlFieldValue_t))
        if code := self._call(self._handle, last - first, place):
            raise pynvml.NVMLError(code)
        self._ahead.update(b for b in due if b is not buffer)
        return True


def fields(
    buffer: FieldBuffer, wanted: Sequence[tuple[Callable[[float], float], int | None]]
) -> Read:
    """Several fields in one call, each with a return code of its own.

    Args:
        buffer: of these fields.
        wanted: conversion and value type of each; None for the type that the driver gives.
    """
    count = len(wanted)
    layout = struct.Struct("<" + _FIELD * count)
    if layout.size != sizeof(buffer.items):
        raise RuntimeError("nvmlFieldValue_t is not laid out as nvml.h says")
    slots = [
        (3 * i, convert, None if kind is None else decoder(kind))
        for i, (convert, kind) in enumerate(wanted)
    ]

    last: tuple[int, ...] = ()
    answers: list[Answer] = []

    def read() -> Sequence[Answer]:
        nonlocal last, answers
        buffer.fill()
        flat = layout.unpack(buffer.items)
        if flat == last:
            return answers
        last = flat
        answers = decoded(flat)
        return answers

    def decoded(flat: tuple[int, ...]) -> list[Answer]:
        found: list[Answer] = []
        for i, convert, decode in slots:
            if flat[i + 1]:
                found.append(cast("Exception", pynvml.NVMLError(flat[i + 1])))
            elif decode is None and flat[i] not in _DECODE:
                found.append(cast("Exception", pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)))
            else:
                found.append(convert((decode or _DECODE[flat[i]])(flat[i + 2])))
        return found

    return read


def timed_fields(buffer: FieldBuffer) -> Callable[[], list[tuple[float, float] | Exception]]:
    """Several fields in one call, each with the driver's time of its value.

    Returns:
        A function that gives, for each, the seconds of the driver's clock (0 where it does not
        tell) and the value in the driver's unit, or an error.
    """

    def one(item: Any) -> tuple[float, float] | Exception:
        if item.nvmlReturn or item.valueType not in _DECODE:
            code = item.nvmlReturn or pynvml.NVML_ERROR_UNKNOWN
            return cast("Exception", pynvml.NVMLError(code))
        return item.timestamp / 1e6, float(_DECODE[item.valueType](item.value.ullVal))

    def read() -> list[tuple[float, float] | Exception]:
        buffer.fill()
        return [one(item) for item in buffer.items]

    return read


def samples(handle: Handle, kind: int) -> tuple[Callable[[int], list[tuple[int, float]]], int]:
    """One of the driver's sample buffers.

    Returns:
        A function that takes the timestamp of the newest sample that is known already, and
        gives newer ones as (timestamp in microseconds, value in the driver's unit), in the
        driver's order; none where there are none. And how many samples the buffer holds, 0 where
        the driver does not say.

    Raises:
        pynvml.NVMLError: this GPU has no such buffer.
    """
    call = function("nvmlDeviceGetSamples")
    value_type, count = c_uint(), c_uint()
    type_pointer, count_pointer = byref(value_type), byref(count)
    code = call(handle, kind, c_ulonglong(0), type_pointer, count_pointer, None)
    if code not in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):
        raise pynvml.NVMLError(code)
    # NOT_FOUND is an empty buffer, as on an idle GPU; none is larger than 120 today.
    told = 0 if code else count.value
    capacity = min(max(told, _CAPACITY), _MOST_SAMPLES)
    buffer = (pynvml.c_nvmlSample_t * capacity)()
    view = memoryview(buffer).cast("B")

    def read(newest: int) -> list[tuple[int, float]]:
        count.value = capacity
        code = call(handle, kind, c_ulonglong(newest), type_pointer, count_pointer, buffer)
        if code == pynvml.NVML_ERROR_NOT_FOUND:
            return []
        if code:
            raise pynvml.NVMLError(code)
        decode = decoder(value_type.value)
        filled = view[: min(count.value, capacity) * _SAMPLE.size]
        return [(t, decode(raw)) for t, raw in _SAMPLE.iter_unpack(filled)]

    return read, told
