"""How much of a GPU each process used: the driver's samples, of which it keeps the last ones."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Sequence
from ctypes import addressof, byref, c_ulonglong, c_void_p
from dataclasses import dataclass
from statistics import median

import pynvml

from gpu_sentinel.nvml.errors import UNSUPPORTED
from gpu_sentinel.nvml.raw import Handle, function
from gpu_sentinel.nvml.room import Room, is_pid
from gpu_sentinel.nvml.units import percent

#: nvmlProcessUtilizationSample_t and nvmlProcessUtilizationInfo_v1_t.
_OLD, _NEW = struct.Struct("<I4xQ4I"), struct.Struct("<Q7I4x")
#: The kernel module keeps 72 samples, and kept 100 before: so many entries have been seen.
_CAPACITY = 128
#: By how many seconds the driver's clock may be ahead of ours between two readings.
_SLACK = 5.0
#: A driver that tells nothing so often is asked for all it has: its clock may have been set back,
#: and then nothing would ever be newer than what was seen last.
_SILENT = 10
#: Samples are told in batches of a second (the timer of the GPU's system processor): what is
#: newer by this may still come.
_LAG = 2.0
#: 72 samples in sixths of a second: what is older, the driver may not have any more.
_SPAN = 12.0
_SHORTEST = 1 / 6
#: Times of samples that the driver keeps are not further apart, whatever its pace.
_LONGEST_SECONDS = 300.0
_FULL = 100

#: Number, time in microseconds, percent of the engines in the order of `UseSample`.
_Row = tuple[int, int, list[int]]
#: Gives what is newer than a time.
_Ask = Callable[[int], list[_Row]]


@dataclass(frozen=True, slots=True)
class UseSample:
    """What a process used, as a share of the time between `since` and the newest `at` of an answer.

    That mean is over all of the driver's samples of that time, also those in which the process
    did nothing: each sample is of one process an engine (ctrl2080perf.h of the kernel module).

    Attributes:
        since: seconds of the driver's clock, which is the host's where drivers were seen.
        at: when it used something last.
        sm, memory, encoder, decoder: ratios.
        jpeg, ofa: likewise; None where the driver is older than 550.
    """

    pid: int
    since: float
    at: float
    sm: float
    memory: float
    encoder: float
    decoder: float
    jpeg: float | None = None
    ofa: float | None = None


class UseReader:
    """The samples of one GPU that were not read yet.

    Attributes:
        supported: it may be asked.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.supported = True
        self._versions = list(_VERSIONS)
        self._ask_driver: _Ask | None = None
        #: Microseconds of the driver's clock up to which all is known; 0 while it had no samples.
        self._newest: int | None = None
        #: When that was so, on our clock.
        self._known = 0.0
        #: The newest sample that there was.
        self._last = 0
        self._silent = 0

    def read(self, clock: Callable[[], float]) -> tuple[tuple[UseSample, ...], int]:
        """New samples, and how many of the driver's could not be believed.

        Raises:
            pynvml.NVMLError: the call failed.
        """
        if not self.supported:
            return (), 0
        if self._newest is None:
            return self._find_end(clock)
        now = clock()
        rows = self._ask(self._newest)
        if not rows:
            return self._nothing(clock)
        self._silent = 0
        good = [row for row in rows if _possible(row)]
        elapsed = now - self._known
        low, high = self._bounds([row[1] for row in good], elapsed)
        fresh = [row for row in good if low < row[1] <= high]
        rejected = len(rows) - len(fresh)
        if not fresh:
            if any(row[1] > high for row in good):
                self._newest = None  # the driver's clock was set forward
            return (), rejected
        newest = max(row[1] for row in fresh)
        span = min((newest - self._newest) / 1e6, _SPAN)
        if not self._newest:
            # Means over all that the driver keeps, and nothing was used before the last look.
            span = min(max(elapsed, _SHORTEST), _SPAN)
            fresh = [_within(row, span) for row in fresh]
        since = newest / 1e6 - span
        self._reached(newest, now)
        # From a list: each tuple made by a generator adds one to the interpreter's free list.
        samples = [_sample(row, since) for row in fresh]
        return tuple(samples), rejected

    def _find_end(self, clock: Callable[[], float]) -> tuple[tuple[UseSample, ...], int]:
        """Means over all that the driver keeps say nothing: only their end is of use."""
        now = clock()
        rows = self._ask(0)
        good = [row for row in rows if _possible(row)]
        if self.supported and (good or not rows):
            self._reached(_end([row[1] for row in good]), now)
        return (), len(rows) - len(good)

    def _reached(self, newest: int, now: float) -> None:
        self._newest = self._last = newest
        self._known = now

    def _nothing(self, clock: Callable[[], float]) -> tuple[tuple[UseSample, ...], int]:
        self._silent += 1
        now = clock()
        if self._silent % _SILENT == 0 and self._newest:
            times = [row[1] for row in self._ask(0) if _possible(row)]
            if times and self._last != _end(times) < self._newest:
                self._reached(_end(times), now)
                return (), 0
        if self._newest:
            # Nobody did anything meanwhile: the next mean is not to be over that, too.
            idle = max(now - self._known - _LAG, 0.0)
            self._newest += int(idle * 1e6)
            self._known += idle
        else:
            self._known = max(now - _LAG, self._known)
        return (), 0

    def _bounds(self, times: Sequence[int], elapsed: float) -> tuple[float, float]:
        """Between which times samples can be that came in the last seconds."""
        span = (elapsed + _SLACK) * 1e6
        if self._newest:
            return self._newest, self._newest + span
        if not times:
            return 0, math.inf
        middle = median(times)
        return middle - span, middle + span

    def look_again(self) -> None:
        """Ask again where it was not supported."""
        if not self.supported:
            self.supported, self._ask_driver = True, None
            self._versions = list(_VERSIONS)

    def _ask(self, since: int) -> list[_Row]:
        """What is newer; none where it is not supported, either."""
        while self._versions:
            try:
                ask = self._ask_driver = self._ask_driver or self._versions[0](self._handle)
                return ask(since)
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                    return []
                if error.value not in UNSUPPORTED:
                    raise
                del self._versions[0]
                self._ask_driver = None
        self.supported, self._newest = False, None
        return []


def _all_engines(handle: Handle) -> _Ask:
    """Drivers from 550 on."""
    call = function("nvmlDeviceGetProcessesUtilizationInfo")
    room = Room(_NEW.size, _CAPACITY)
    kind = pynvml.c_nvmlProcessesUtilizationInfo_v1_t
    request = kind()
    request.version = pynvml.ProcessesUtilizationInfo_v1
    array = c_void_p.from_address(addressof(request) + kind.procUtilArray.offset)

    def ask(since: int) -> list[_Row]:
        def once(_count: object, entries: ctypes.Array[ctypes.c_ubyte]) -> int:
            request.processSamplesCount = room.count.value
            request.lastSeenTimeStamp = since
            array.value = addressof(entries)
            code = call(handle, byref(request))
            room.count.value = request.processSamplesCount
            return code

        view = room.ask(once)
        entries = _NEW.iter_unpack(view[: room.filled * _NEW.size])
        return [(pid, at, used) for at, pid, *used in entries]

    return ask


def _four_engines(handle: Handle) -> _Ask:
    """All drivers."""
    call = function("nvmlDeviceGetProcessUtilization")
    room = Room(_OLD.size, _CAPACITY)

    def ask(since: int) -> list[_Row]:
        newer = c_ulonglong(since)
        view = room.ask(lambda count, entries: call(handle, entries, count, newer))
        entries = _OLD.iter_unpack(view[: room.filled * _OLD.size])
        return [(pid, at, used) for pid, at, *used in entries]

    return ask


_VERSIONS = (_all_engines, _four_engines)


def _possible(row: _Row) -> bool:
    """Whether a process and a share are told: garbage was seen (Syllo/nvtop#110)."""
    return is_pid(row[0]) and row[1] > 0 and all(share <= _FULL for share in row[2])


def _within(row: _Row, seconds: float) -> _Row:
    """A mean over all that the driver keeps, as one over these seconds, in which all of it fell."""
    pid, at, used = row
    return pid, at, [min(round(share * _SPAN / seconds), _FULL) for share in used]


def _end(times: Sequence[int]) -> int:
    """The newest time, unless it is far from most; 0 of none."""
    latest = median(times) + _LONGEST_SECONDS * 1e6 if times else 0
    return max((at for at in times if at <= latest), default=0)


def _sample(row: _Row, since: float) -> UseSample:
    pid, at, used = row
    return UseSample(pid, since, at / 1e6, *[percent(share) for share in used])
