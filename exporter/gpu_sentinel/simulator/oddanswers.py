"""What a GPU, or the driver as a whole, answers instead of what it should.

Where nothing is odd there is no such object, so that a call to a healthy GPU does not pay for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any, Final

import pynvml

#: In place of a function: all that take the handle of a GPU, and all that look a GPU up.
ALL: Final = "all"
LOOKUP: Final = "lookup"

_LOOKUP_PREFIX = "nvmlDeviceGetHandleBy"
_DRIVER_PREFIXES = (
    *("nvmlInit", "nvmlShutdown", "nvmlSystem", "nvmlDeviceGetCount"),
    *("nvmlEventSet", "nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmMetricsGet"),
)


def of_driver(function: str | int) -> bool:
    """Whether a function is about the driver as a whole; a number is a field of a GPU."""
    return isinstance(function, str) and function.startswith(_DRIVER_PREFIXES)


class OddAnswers:
    """By function, or by number where it is about a field of nvmlDeviceGetFieldValues.

    Attributes:
        codes: error codes; `ALL` and `LOOKUP` stand for many functions, of which those that are
            here themselves are excepted.
        answers: the bytes that a function writes to its first pointer.
        fields: type, None for the field's own, and the 64 bits of a field's value.
    """

    def __init__(self) -> None:
        self.codes: dict[str | int, int] = {}
        self.answers: dict[str, bytes] = {}
        self.fields: dict[int, tuple[int | None, int]] = {}
        self._only: frozenset[str | int] | None = None

    def __bool__(self) -> bool:
        """Whether anything is odd."""
        return bool(self.codes or self.answers or self.fields or self._only is not None)

    def only(self, functions: Iterable[str | int] | None) -> None:
        """Nothing but these functions and fields is supported; None for whatever the board has.

        The function that answers fields is among them where fields are. Where it is named itself,
        it answers all of them.
        """
        self._only = None if functions is None else frozenset(functions)

    def code(self, function: str | int) -> int:
        """The error code that it gives, 0 where it answers."""
        found = self.codes.get(function)
        lookup = isinstance(function, str) and function.startswith(_LOOKUP_PREFIX)
        if found is None and isinstance(function, str):
            found = self.codes.get(LOOKUP if lookup else ALL)
        if found is not None:
            return found
        if self._only is None or lookup or self._supports(function, self._only):
            return 0
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def write(self, function: str, letters: str, arguments: tuple[Any, ...]) -> bool:
        """Write the odd answer to a call; False where there is none.

        Args:
            function: its name.
            letters: what its arguments are; see `library.Function`.
            arguments: those of the call.
        """
        data = self.answers.get(function)
        if data is None:
            return False
        position = letters.index("p")
        if letters[position + 1 :].startswith("u"):
            data = data[: arguments[position + 1]]  # the length of the caller's buffer
        if arguments[position]:
            ctypes.memmove(arguments[position], data, len(data))
        return True

    @staticmethod
    def _supports(function: str | int, only: frozenset[str | int]) -> bool:
        fields = "nvmlDeviceGetFieldValues"
        if function == fields:
            return fields in only or any(isinstance(item, int) for item in only)
        return function in only or (isinstance(function, int) and fields in only)
