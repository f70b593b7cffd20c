"""How a reading is asked for: one call for one or several keys, bound to a device by a probe."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import pynvml

from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml.errors import UNSUPPORTED

#: A pynvml device handle.
Handle: TypeAlias = Any
#: A value in base units; None where there is nothing to tell; an error for this key alone.
Answer: TypeAlias = Value | Exception | None
Read: TypeAlias = Callable[[], Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A call that this device supports: `read()` answers for `keys`, in their order."""

    query: str
    tier: Tier
    keys: tuple[str, ...]
    read: Read


class Query(Protocol):
    """A call to the driver, not yet bound to a device."""

    @property
    def name(self) -> str:
        """The label `query` of the self-metrics."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it can answer, at most."""

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """Ask once, and return a reader for what this device answers out of `wanted`.

        Raises:
            pynvml.NVMLError: not supported, or failed.
        """


@dataclass(frozen=True, slots=True)
class Call:
    """One function of NVML.

    Attributes:
        prepare: (handle) -> keys and a function that reads them; asks the driver once for what
            stays the same (how many fans, where slowdown begins).
    """

    name: str
    tier: Tier
    keys: tuple[str, ...]
    prepare: Callable[[Handle], tuple[tuple[str, ...], Read]]

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:  # noqa: ARG002 - one call
        """See `Query.bind`: a call that answers one of its keys answers them all."""
        keys, read = self.prepare(handle)
        read()
        return Reader(self.name, self.tier, keys, read)


def call(name: str, tier: Tier, keys: Sequence[str], read: Callable[[Handle], Any]) -> Call:
    """A call that needs no preparation; `read(handle)` gives one value a key."""
    keys = tuple(keys)
    return Call(name, tier, keys, lambda handle: (keys, lambda: read(handle)))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of nvmlDeviceGetFieldValues.

    Attributes:
        convert: the C value in the driver's unit -> base unit.
        member: the member of the value union; None goes by the value type that is given.
    """

    id: int
    key: str
    convert: Callable[[float], float] = float
    member: str | None = None


_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


def _field_reader(handle: Handle, fields: Sequence[Field]) -> Read:
    """Reads fields into a buffer of its own; one thread at a time.

    pynvml's wrapper builds array and structures anew in every call, which costs several times
    what the driver needs to answer.
    """
    buffer = (pynvml.c_nvmlFieldValue_t * len(fields))()
    for item, field in zip(buffer, fields, strict=True):
        item.fieldId = field.id
    # What the fields are, and where their answers will stand.
    slots = [(f, item, item.value) for f, item in zip(fields, buffer, strict=True)]
    function = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")  # noqa: SLF001 - its cache

    def read() -> Sequence[Answer]:
        code = function(handle, len(slots), buffer)
        if code != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(code)
        return [_answer(*slot) for slot in slots]

    return read


def _answer(field: Field, item: Any, union: Any) -> Answer:
    if item.nvmlReturn != pynvml.NVML_SUCCESS:
        return cast("Exception", pynvml.NVMLError(item.nvmlReturn))
    member = field.member or _MEMBERS.get(item.valueType)
    if member is None:
        return cast("Exception", pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN))
    return field.convert(getattr(union, member))


@dataclass(frozen=True, slots=True)
class FieldBatch:
    """Several fields in one call; each has a return code of its own."""

    name: str
    tier: Tier
    fields: tuple[Field, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """One key a field."""
        return tuple(f.key for f in self.fields)

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """See `Query.bind`: keeps the fields that this device has."""
        asked = [f for f in self.fields if f.key in wanted]
        values = pynvml.nvmlDeviceGetFieldValues(handle, [f.id for f in asked])
        kept = [f for f, v in zip(asked, values, strict=True) if v.nvmlReturn not in UNSUPPORTED]
        if not kept:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return Reader(self.name, self.tier, tuple(f.key for f in kept), _field_reader(handle, kept))


def signed_field(handle: Handle, field_id: int) -> float:
    """One field whose value is a 32-bit signed number, whatever type the driver says.

    Raises:
        pynvml.NVMLError: not supported, or failed.
    """
    (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [field_id])
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    return float(ctypes.c_int32(value.value.uiVal).value)
