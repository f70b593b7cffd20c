"""The driver's own sample buffers: everything that it measured since they were last emptied."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pynvml

from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.raw import Handle
from gpu_sentinel.nvml.units import milli, percent

#: Key of the signal -> number of its buffer (nvml.h, nvmlSamplingType_t), conversion.
RINGS: Mapping[str, tuple[int, Callable[[float], float]]] = {
    "power.draw.instant": (pynvml.NVML_TOTAL_POWER_SAMPLES, milli),
    "utilization.gpu": (pynvml.NVML_GPU_UTILIZATION_SAMPLES, percent),
    "utilization.memory": (pynvml.NVML_MEMORY_UTILIZATION_SAMPLES, percent),
    "utilization.encoder": (pynvml.NVML_ENC_UTILIZATION_SAMPLES, percent),
    "utilization.decoder": (pynvml.NVML_DEC_UTILIZATION_SAMPLES, percent),
}
#: By how many seconds a buffer's clock may be ahead of ours between two readings.
_SLACK = 5.0
#: A buffer that brought nothing so often is looked at from its start: its clock may have been
#: set back, and then nothing would ever be newer than what was seen last.
_SILENT = 3
#: The smallest span that is known: 120 samples, one every 20 ms. nvidia-smi -q tells of 119 power
#: samples in 2.38 s; other boards measure every 100 ms (arXiv 2312.02741).
_CAPACITY, _INTERVAL = 120, 0.02
#: A buffer is full where it brings this share of what it holds: drivers fall short by one.
_FULL = 0.9
#: Samples whose times differ by more than so many intervals are not neighbours.
_NEIGHBOURS = 1.5
#: An interval counts as another one where it differs by more than this share.
_STEADY = 0.05


@dataclass(frozen=True, slots=True)
class Batch:
    """New samples of one signal.

    Attributes:
        samples: (seconds on the buffer's own clock, value in base units), times rising; what
            was not plausible is left out.
        interval: seconds between two samples, as far as they tell.
        rejected: samples that were not plausible, or all where their times make no sense.
        lost: samples before these that the driver overwrote before they were read.
    """

    samples: tuple[tuple[float, float], ...] = ()
    interval: float = math.inf
    rejected: int = 0
    lost: int = 0


class Ring:
    """One buffer of one GPU; one thread at a time.

    The timestamps are numbers that rise and nothing more: nvml.h says microseconds of CPU time.
    """

    def __init__(self, handle: Handle, key: str, valid: tuple[float, float]) -> None:
        """Look for the buffer.

        Raises:
            pynvml.NVMLError: this GPU does not have it.
        """
        kind, self._convert = RINGS[key]
        self.key = key
        self._low, self._high = valid
        self._read, told = raw.samples(handle, kind)
        self._capacity = told or _CAPACITY
        self._newest: int | None = None
        self._drained = 0.0
        self._silent = 0
        self._interval = math.inf

    @property
    def longest(self) -> float:
        """Seconds between two readings beyond which the driver may overwrite what is unread.

        Half of the span, so that one reading may be late by as much as it.
        """
        interval = _INTERVAL if math.isinf(self._interval) else self._interval
        return self._capacity * interval / 2

    def drain(self, clock: Callable[[], float] = time.monotonic) -> Batch:
        """What the driver has measured since the last call; the first one only finds the end.

        Raises:
            pynvml.NVMLError: the call failed.
        """
        now = clock()
        found = self._read(self._newest or 0)
        elapsed, self._drained = now - self._drained, now
        if self._newest is None:
            self._newest = max((t for t, _ in found), default=None)
            return Batch()
        fresh = [(t, v) for t, v in found if t != self._newest]
        if not fresh:
            self._silent += 1
            if self._silent >= _SILENT:
                self._newest, self._silent = None, 0
            return Batch()
        self._silent = 0
        times = [self._newest, *(t for t, _ in fresh)]
        if any(b <= a for a, b in pairwise(times)) or times[-1] - times[0] > (
            (elapsed + _SLACK) * 1e6
        ):
            self._newest = None
            return Batch(rejected=len(fresh))
        self._newest = times[-1]
        if len(fresh) > 1:
            steps = sorted(b - a for a, b in pairwise(times[1:]))
            interval = steps[len(steps) // 2] / 1e6
            if not abs(interval - self._interval) <= _STEADY * interval:
                self._interval = interval
        converted = ((t / 1e6, self._convert(v)) for t, v in fresh)
        # A list first: each tuple made by a generator adds one to the interpreter's free list.
        kept = [(t, v) for t, v in converted if self._low <= v <= self._high]
        rejected = len(fresh) - len(kept)
        return Batch(tuple(kept), self._interval, rejected, self._lost(times, len(fresh)))

    def _lost(self, times: Sequence[int], fresh: int) -> int:
        """How many samples the driver has overwritten since the newest one that was known.

        Where the buffer is not full, a pause is the driver's: it measures no utilisation while a
        GPU is idle.
        """
        pause = (times[1] - times[0]) / 1e6
        if fresh < _FULL * self._capacity or pause <= _NEIGHBOURS * self._interval:
            return 0
        return round(pause / self._interval) - 1
