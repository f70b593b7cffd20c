"""The hand that lets GPUs, and the driver, answer what they should not."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import pynvml

from gpu_sentinel.simulator.library import FUNCTIONS
from gpu_sentinel.simulator.oddanswers import OddAnswers, of_driver
from gpu_sentinel.simulator.scenario import ERRORS, Event

if TYPE_CHECKING:
    from gpu_sentinel.simulator.gpu import SimulatedGpu

_PCI_INFO = ("nvmlDeviceGetPciInfo", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo_v3")
_BITS = 2**64


class _Sick(Protocol):
    odd: OddAnswers | None


class Misbehaviour(ABC):
    """A part of `Simulation`. A GPU is an index; None stands for all of them.

    A function is a name of NVML, `all` (what takes the handle of a GPU), `lookup` (what looks it
    up), or the number of a field of nvmlDeviceGetFieldValues. What is about the driver as a whole
    (nvmlInit and so on) concerns no GPU, whichever is given, and means all versions of a function.

    Attributes:
        odd: what the driver answers instead of what it should; None while it is well.
        lacking: functions that the library, when it is loaded next, does not have.
    """

    gpus: tuple[SimulatedGpu, ...]
    odd: OddAnswers | None = None
    lacking: frozenset[str] = frozenset()

    @abstractmethod
    def at(self, event: Event) -> None:
        """Let an event happen later."""

    def fail(
        self, gpu: int | None, function: str | int, error: str | int, *, until: float | None = None
    ) -> None:
        """Let a function fail.

        Args:
            gpu: whose.
            function: which.
            error: NVML's name without NVML_ERROR_, or any number; 0 excepts it from `all`.
            until: when it answers again, in seconds since the start.
        """
        code = ERRORS[error] if isinstance(error, str) else error
        for odd in self._odd(gpu, function):
            odd.codes.update(dict.fromkeys(_versions(function), code))
        if until is not None:
            self.at(Event(until, "mend", gpu, {"function": function}))

    def mend(self, gpu: int | None, function: str | int) -> None:
        """Let a function answer as it should again."""
        for odd in self._odd(gpu, function):
            for name in _versions(function):
                odd.codes.pop(name, None)
                if isinstance(name, str):
                    odd.answers.pop(name, None)
                else:
                    odd.fields.pop(name, None)
        self._forget()

    def heal(self, gpu: int | None = None) -> None:
        """Let all functions of a GPU answer as they should, without one those of the driver too."""
        for sick in self._sick() if gpu is None else (self.gpus[gpu],):
            sick.odd = None

    def only(self, gpu: int | None, functions: Iterable[str | int] | None) -> None:
        """Let a GPU support these functions and fields at most; None for all that it has."""
        wanted = None if functions is None else frozenset(functions)
        for odd in self._odd(gpu):
            odd.only(wanted)
        self._forget()

    def answer(self, gpu: int | None, function: str, value: bytes | int) -> None:
        """Let a function succeed with this in its first pointer.

        Args:
            gpu: whose.
            function: which; it must be simulated.
            value: the bytes as they are, without an end for a text that has none; a number is
                one of 32 bits.
        """
        data = value if isinstance(value, bytes) else value.to_bytes(4, "little")
        for odd in self._odd(gpu, function):
            odd.answers.update((str(name), data) for name in _versions(function))

    def answer_field(
        self, gpu: int | None, field: int, value: float, value_type: int | None = None
    ) -> None:
        """Let a field have this value.

        Args:
            gpu: whose.
            field: its number.
            value: NaN and infinity are possible; a number with a point is a double.
            value_type: as a number (nvml.h, nvmlValueType_t); None for the field's own.
        """
        bits = value % _BITS if isinstance(value, int) else _double(value)
        if isinstance(value, float) and value_type is None:
            value_type = pynvml.NVML_VALUE_TYPE_DOUBLE
        for odd in self._odd(gpu, field):
            odd.fields[field] = value_type, bits

    def identify(
        self,
        gpu: int,
        *,
        uuid: str | bytes | None = None,
        name: str | bytes | None = None,
        bus_id: bytes | None = None,
        like: int | None = None,
    ) -> None:
        """Let a GPU say that it is another one.

        Args:
            gpu: which.
            uuid: as a text, or as bytes that need no end and be no text.
            name: likewise.
            bus_id: likewise.
            like: the index of a GPU whose UUID it has.
        """
        if like is not None:
            uuid = self.gpus[like].uuid
        if isinstance(uuid, str):
            self.gpus[gpu].uuid = uuid
        elif uuid is not None:
            self.answer(gpu, "nvmlDeviceGetUUID", uuid)
        if name is not None:
            text = name if isinstance(name, bytes) else name.encode() + b"\0"
            self.answer(gpu, "nvmlDeviceGetName", text)
        if bus_id is not None:
            info = pynvml.nvmlPciInfo_t()
            info.busId, info.busIdLegacy = bus_id, bus_id[:16]
            for function in _PCI_INFO:
                self.answer(gpu, function, bytes(info))

    def lack(self, *functions: str) -> None:
        """Let the library that is loaded next not have these functions."""
        self.lacking = frozenset(functions)

    def _odd(self, gpu: int | None, function: str | int = "") -> Iterator[OddAnswers]:
        """Where the answers of a function are kept."""
        gpus = self.gpus if gpu is None else (self.gpus[gpu],)
        sick: tuple[_Sick, ...] = (self,) if of_driver(function) else gpus
        for one in sick:
            if one.odd is None:
                one.odd = OddAnswers()
            yield one.odd

    def _sick(self) -> tuple[_Sick, ...]:
        """All that can be odd."""
        return (self, *self.gpus)

    def _forget(self) -> None:
        for one in self._sick():
            if one.odd is not None and not one.odd:
                one.odd = None


def _double(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def _versions(function: str | int) -> tuple[str | int, ...]:
    """All versions of a function of the driver, else the function alone."""
    if not isinstance(function, str) or not of_driver(function):
        return (function,)
    stem = _stem(function)
    return (function, *(name for name in FUNCTIONS if name != function and _stem(name) == stem))


def _stem(function: str) -> str:
    return function.partition("_v")[0].removesuffix("WithFlags")
