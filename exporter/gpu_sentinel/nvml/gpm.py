"""GPM: what the SMs did between two samples of the GPU's own counters (Hopper and newer).

No root, no DCGM, and nothing that profilers such as Nsight would miss.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from ctypes import addressof, byref, c_void_p, sizeof
from dataclasses import dataclass

import pynvml

from gpu_sentinel.catalogue import ALL_ACTIVITIES, GPM_BYTES, GPM_BYTES_VALID
from gpu_sentinel.catalogue.declare import RATIO
from gpu_sentinel.nvml.errors import UNSUPPORTED, NvmlError, typed
from gpu_sentinel.nvml.raw import Handle, function
from gpu_sentinel.nvml.stats import Recorder

#: Two samples that are closer say nothing (nvml.h; DCGM#310).
FLOOR_SECONDS = 0.1
#: A gap is never shorter: what is late by a moment at a short interval is no gap.
_LEAST_GAP_SECONDS = 0.5
#: Of nvmlGpmMetric_t: return code and value, between its number and the texts about it.
_METRIC = "4xId24x"
#: A share of 100 % is a quotient of two counters, and may be above it by what rounding adds.
_ROUNDING = 1e-4
#: A metric that was refused so often in a row is not asked for any more.
_REFUSALS = 3

_RATIOS = frozenset(activity.key for activity in ALL_ACTIVITIES)
#: Key -> NVML_GPM_METRIC_*.
GPM_KEYS: Mapping[str, int] = {
    **{activity.key: activity.number for activity in ALL_ACTIVITIES},
    **GPM_BYTES,
}


@dataclass(frozen=True, slots=True)
class Profile:
    """What happened between two samples.

    Attributes:
        seconds: between them.
        values: plausible means by key: shares, and bytes a second.
    """

    seconds: float
    values: Mapping[str, float]


class Profiler:
    """The two sample buffers of a GPU, or of one GPU instance; one thread at a time.

    The buffers are the library's: `close` gives them back, before NVML is shut down.
    """

    def __init__(
        self,
        handle: Handle,
        keys: Collection[str],
        recorder: Recorder,
        instance: int | None = None,
    ) -> None:
        """Prepare to ask for `keys`, which are some of `GPM_KEYS`.

        Raises:
            pynvml.NVMLError: this GPU has no GPM, the driver does not know it, or it failed.
        """
        if not pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.query = "gpm" if instance is None else "gpm.instance"
        self._recorder = recorder
        self._cost = recorder.cost(self.query)
        self._target = (handle,) if instance is None else (handle, instance)
        self._sample = function("nvmlGpmSampleGet" if instance is None else "nvmlGpmMigSampleGet")
        self._get, self._free = function("nvmlGpmMetricsGet"), function("nvmlGpmSampleFree")
        self._library = pynvml.nvmlLib
        self._refused: Counter[str] = Counter()
        self._keys: tuple[str, ...] = ()
        #: Monotonic seconds of the sample in `_newer`; None after a gap.
        self._taken: float | None = None
        #: Why the last call failed; None where it did not.
        self.failure: NvmlError | None = None
        self._make_request()
        self._ask_for(tuple(key for key in GPM_KEYS if key in keys))
        self._older, self._newer = c_void_p(), c_void_p()
        try:
            allocate = function("nvmlGpmSampleAlloc")
            _check(allocate(byref(self._older)))
            _check(allocate(byref(self._newer)))
            _check(self._sample(*self._target, self._newer))
        except pynvml.NVMLError:
            self.close()
            raise

    @property
    def keys(self) -> tuple[str, ...]:
        """What is asked for."""
        return self._keys

    def take(self, clock: Callable[[], float], max_gap: float) -> Profile | None:
        """Take a sample, and tell what happened since the one before.

        Args:
            clock: monotonic seconds.
            max_gap: seconds between two samples beyond which it is a gap.

        Returns:
            None where there is no sample before, a gap since then, or not enough time.

        Raises:
            NvmlError: the call failed: a gap.
        """
        if not self._keys or (self._taken is not None and clock() - self._taken < FLOOR_SECONDS):
            return None
        start = time.perf_counter()
        try:
            profile = self._take(clock, max(max_gap, _LEAST_GAP_SECONDS))
        except Exception as error:
            self._taken = None
            failure = self.failure = typed(error)
            self._recorder.errors[self.query, failure.name] += 1
            raise failure from error
        else:
            self.failure = None
            return profile
        finally:
            self._cost.add(time.perf_counter() - start)

    def close(self) -> None:
        """Free the buffers; where their library is gone, they went with it."""
        if pynvml.nvmlLib is self._library:
            for sample in (self._older, self._newer):
                if sample:
                    self._free(sample)
        self._older, self._newer = c_void_p(), c_void_p()
        self._keys = ()

    def _take(self, clock: Callable[[], float], max_gap: float) -> Profile | None:
        _check(self._sample(*self._target, self._older))
        now = clock()
        since, self._taken = self._taken, now
        self._older, self._newer = self._newer, self._older
        if since is None or now - since > max_gap:
            return None
        self._first.value, self._second.value = self._older.value, self._newer.value
        _check(self._get(self._pointer))
        return Profile(now - since, self._plausible())

    def _plausible(self) -> dict[str, float]:
        flat = self._layout.unpack_from(self._request, self._offset)
        found = {}
        given_up = False
        for key, code, value in zip(self._keys, flat[::2], flat[1::2], strict=True):
            if code:
                given_up |= self._refuse(key, code)
                continue
            self._refused[key] = 0
            low, high = _valid(key)
            converted = _convert(key, value)
            if low <= converted <= high:
                found[key] = converted
            else:
                self._recorder.rejected[key] += 1
        if given_up:
            self._ask_for(tuple(k for k in self._keys if self._refused[k] < _REFUSALS))
        return found

    def _refuse(self, key: str, code: int) -> bool:
        """A metric has no value; True where it is not worth while to ask again."""
        if code in UNSUPPORTED:
            self._refused[key] += 1
            return self._refused[key] >= _REFUSALS
        self._recorder.errors[key, typed(pynvml.NVMLError(code)).name] += 1
        return False

    def _make_request(self) -> None:
        """The structure has room for all metrics that there are: it is made once."""
        kind = pynvml.c_nvmlGpmMetricsGet_t
        if sizeof(pynvml.c_nvmlGpmMetric_t) != struct.calcsize("<" + _METRIC):
            raise RuntimeError("nvmlGpmMetric_t is not laid out as nvml.h says")
        self._request = kind()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._pointer = byref(self._request)
        self._offset = kind.metrics.offset
        at = addressof(self._request)
        self._first = c_void_p.from_address(at + kind.sample1.offset)
        self._second = c_void_p.from_address(at + kind.sample2.offset)

    def _ask_for(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        for metric, key in zip(self._request.metrics, keys, strict=False):
            metric.metricId = GPM_KEYS[key]
        self._request.numMetrics = len(keys)
        self._layout = struct.Struct("<" + _METRIC * len(keys))


def _check(code: int) -> None:
    if code:
        raise pynvml.NVMLError(code)


def _valid(key: str) -> tuple[float, float]:
    return RATIO if key in _RATIOS else GPM_BYTES_VALID


def _convert(key: str, value: float) -> float:
    """Percent -> ratio, MiB -> bytes."""
    if key not in _RATIOS:
        return value * 2**20
    ratio = value / 100
    return 1.0 if 1.0 < ratio <= 1.0 + _ROUNDING else ratio
