"""What can be sick: functions of the driver, codes, moments, and which of the GPUs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pynvml

from gpu_sentinel.simulator.oddanswers import of_driver

#: Every error of nvmlReturn_t (nvml.h), by its name in small letters, and one that it has not.
CODES = {
    name.removeprefix("NVML_ERROR_").lower(): int(getattr(pynvml, name))
    for name in dir(pynvml)
    if name.startswith("NVML_ERROR_")
} | {"code_4242": 4242}
LOST = CODES["gpu_is_lost"]
#: After these NVML has to be initialised anew (nvml.h: not initialised, no kernel module, no
#: library, versions that do not fit).
GONE = frozenset(
    CODES[name]
    for name in (
        "uninitialized",
        "driver_not_loaded",
        "library_not_found",
        "lib_rm_version_mismatch",
    )
)

#: When it is sick: from before the exporter starts, from later on, or for a while only.
BEFORE, AFTER, AWHILE = MOMENTS = ("before", "after", "awhile")
#: Which GPUs are: the only one of the host, one of two, all of two.
ONLY, ONE, BOTH = WHICH = ("only", "one", "both")

#: Seconds of the host: `AFTER` and `AWHILE` begin at the first, `AWHILE` ends at the second.
SICK_AT, WELL_AT = 20.0, 50.0

#: In place of a function: every one that takes the handle of a GPU; and those that look it up, too.
ALL, DEAD = "all", "dead"
#: As `ALL`, but for who the GPU is: a driver may know that without asking the GPU.
CACHED = "cached"
IDENTITY = ("nvmlDeviceGetUUID", "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetName")
#: In place of a code: the library does not have the function at all.
MISSING = 0

#: All that a GPU answers, or nearly.
WHOLE = (ALL, DEAD, CACHED)


@dataclass(frozen=True, order=True)
class Cell:
    """One way to be sick.

    Attributes:
        function: NVML's name, `ALL` or `DEAD`.
        code: what it returns; `MISSING`.
    """

    function: str
    code: int
    moment: str
    which: str

    @property
    def gpus(self) -> int:
        """How many the host has."""
        return 1 if self.which == ONLY else 2

    @property
    def sick(self) -> tuple[int, ...]:
        """Their indices; what the driver as a whole does not answer, no GPU gets."""
        of_all = self.code == MISSING or of_driver(self.function) or self.which == BOTH
        return tuple(range(self.gpus)) if of_all else (0,)

    @property
    def reason(self) -> str:
        """What it is called."""
        code = CODES["function_not_found"] if self.code == MISSING else self.code
        return next(name for name, number in CODES.items() if number == code)

    def __str__(self) -> str:
        what = "lacks it" if self.code == MISSING else self.reason
        return f"{self.function}, {what}, {self.moment}, {self.which}"


def every(function: str) -> Iterator[Cell]:
    """All codes of a function, at all moments, on all GPUs that may have it."""
    for code in CODES.values():
        for moment in MOMENTS:
            for which in WHICH:
                yield Cell(function, code, moment, which)
    if function not in WHOLE:
        for which in (ONLY, BOTH):
            yield Cell(function, MISSING, BEFORE, which)


def covering(function: str) -> Iterator[Cell]:
    """All codes of a function, each at one moment and on one choice of GPUs.

    Codes and functions take turns: each function meets each moment on each choice of GPUs with
    several codes, and so does each code with several functions.
    """
    turn = zlib.crc32(function.encode())
    for number, code in enumerate(sorted(CODES.values()), turn):
        which, moment = divmod(number % 9, 3)
        yield Cell(function, code, MOMENTS[moment], WHICH[which])
    if function not in WHOLE:
        yield Cell(function, MISSING, BEFORE, (ONLY, BOTH)[turn % 2])
