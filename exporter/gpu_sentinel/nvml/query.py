"""How a reading is asked for: one call for one or several keys, bound to a device by a probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import pynvml

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.errors import UNSUPPORTED
from gpu_sentinel.nvml.raw import Answer, FieldBuffer, Handle, Read


@dataclass(frozen=True, slots=True)
class Reader:
    """A call that this device supports: `read()` answers for `keys`, in their order.

    Attributes:
        fields: what it fills where it asks for fields, which may share a call with others.
    """

    query: str
    tier: Tier
    keys: tuple[str, ...]
    read: Read
    fields: FieldBuffer | None = None


class Query(Protocol):
    """A call to the driver, not yet bound to a device."""

    @property
    def name(self) -> str:
        """The label `query` of the self-metrics."""

    @property
    def tier(self) -> Tier:
        """How often it is asked."""

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
        if not keys or all(map(nothing, read())):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return Reader(self.name, self.tier, keys, read)


def call(name: str, tier: Tier, keys: Sequence[str], read: Callable[[Handle], Any]) -> Call:
    """A call through pynvml; `read(handle)` gives one value a key."""
    keys = tuple(keys)
    return Call(name, tier, keys, lambda handle: (keys, lambda: read(handle)))


def raw_call(name: str, tier: Tier, keys: Sequence[str], prepare: Callable[[Handle], Read]) -> Call:
    """A call of `raw`; what `prepare(handle)` returns gives one value a key."""
    keys = tuple(keys)
    return Call(name, tier, keys, lambda handle: (keys, prepare(handle)))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of nvmlDeviceGetFieldValues.

    Attributes:
        convert: the C value in the driver's unit -> base unit.
        value_type: the type of the value; None goes by the type that is given.
        scope: of what the field is, where it has scopes (nvml.h, nvmlFieldValue_t).
    """

    id: int
    key: str
    convert: Callable[[float], float] = float
    value_type: int | None = None
    scope: int = 0


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
        values = pynvml.nvmlDeviceGetFieldValues(handle, [(f.id, f.scope) for f in asked])
        kept = [f for f, v in zip(asked, values, strict=True) if v.nvmlReturn not in UNSUPPORTED]
        if not kept:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        buffer = FieldBuffer(handle, [(f.id, f.scope) for f in kept])
        read = raw.fields(buffer, [(f.convert, f.value_type) for f in kept])
        return Reader(self.name, self.tier, tuple(f.key for f in kept), read, buffer)


@dataclass(frozen=True, slots=True)
class Parts:
    """Several calls that belong together, each of which a device may have or not.

    Attributes:
        parts: key -> what reads it; NVMLError where the device does not have it.
    """

    name: str
    tier: Tier
    parts: Mapping[str, Callable[[Handle], Answer]]

    @property
    def keys(self) -> tuple[str, ...]:
        """One a part."""
        return tuple(self.parts)

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """See `Query.bind`: keeps the parts that this device has."""
        kept = {
            key: get
            for key, get in self.parts.items()
            if key in wanted and not unsupported(attempt(partial(get, handle)))
        }
        if not kept:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        reads = [partial(get, handle) for get in kept.values()]
        return Reader(self.name, self.tier, tuple(kept), lambda: [attempt(r) for r in reads])


def attempt(read: Callable[[], Answer]) -> Answer:
    """What a call answers, or its error as the answer."""
    try:
        return read()
    except pynvml.NVMLError as error:
        return cast("Exception", error)


def attempt_number(read: Callable[[], float]) -> float | Exception:
    """As `attempt`, for one of several values."""
    try:
        return float(read())
    except pynvml.NVMLError as error:
        return cast("Exception", error)


def unsupported(answer: Answer) -> bool:
    """Whether an answer is the error of something that a device does not have."""
    return isinstance(answer, pynvml.NVMLError) and answer.value in UNSUPPORTED


def nothing(answer: Answer) -> bool:
    """Whether an answer tells nothing, and is not going to: of several values, all of them."""
    if isinstance(answer, tuple):
        return all(unsupported(a) or (isinstance(a, float) and math.isnan(a)) for a in answer)
    return answer is None or unsupported(answer)


def signed_field(handle: Handle, field_id: int) -> float:
    """One field whose value is a 32-bit signed number, whatever type the driver says.

    Raises:
        pynvml.NVMLError: not supported, or failed.
    """
    buffer = FieldBuffer(handle, [(field_id, 0)])
    (answer,) = raw.fields(buffer, [(float, pynvml.NVML_VALUE_TYPE_SIGNED_INT)])()
    if not isinstance(answer, float):
        raise (
            answer
            if isinstance(answer, pynvml.NVMLError)
            else pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        )
    return answer
