"""What the driver counts over the life of a process, where an administrator has switched that on.

It keeps the processes of the last time, also those that have ended. Nothing here switches it on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable
from ctypes import byref, c_uint
from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml

from gpu_sentinel.nvml.errors import UNSUPPORTED, DriverGoneError, NvmlError, typed
from gpu_sentinel.nvml.raw import Handle, function
from gpu_sentinel.nvml.room import Room, is_pid
from gpu_sentinel.nvml.units import milli, percent

_MOST_MEMORY = 2**50
_MICRO = 1e6
#: Sums are of hundredths of a percent.
_HUNDREDTHS = 1e4
_CAPACITY = 1024
_PID = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Accounting:
    """The life of a process on a GPU; None for what the driver does not tell.

    Attributes:
        started: seconds of the driver's clock, which is the host's.
        running: it has not ended yet.
        seconds: for which it had a context; None while it runs.
        memory: the most that it ever held, in bytes.
        sm, memory_use: mean ratios over its life.
        samples: how many of the driver's samples there are of its life.
        sm_sum, memory_use_sum: the sums over these of the ratios.
    """

    pid: int
    started: float
    running: bool
    seconds: float | None
    memory: float | None
    sm: float | None
    memory_use: float | None
    samples: int | None = None
    sm_sum: float | None = None
    memory_use_sum: float | None = None


class AccountingReader:
    """The accounts of one GPU."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._room = Room(_PID.size, _CAPACITY)
        self._supported = True
        self._ask: Callable[[int], Any] | None = None

    def look_again(self) -> None:
        """Ask again where it was not supported."""
        self._supported, self._ask = True, None

    def read(self, pids: Collection[int] | None) -> tuple[dict[int, Accounting], list[NvmlError]]:
        """The accounts by process, and why some could not be read.

        Raises:
            pynvml.NVMLError: there is no answer at all.
            DriverGoneError: as the name says.
        """
        found: dict[int, Accounting] = {}
        failures: list[NvmlError] = []
        for pid in self._known(pids):
            try:
                account = self._account(pid)
            except pynvml.NVMLError as error:
                failure = typed(error)
                if isinstance(failure, DriverGoneError):
                    raise
                # NOT_FOUND: a newer process has taken its place meanwhile.
                if failure.code not in UNSUPPORTED:
                    failures.append(failure)
            else:
                if account is not None:
                    found[pid] = account
        return found, failures

    def _known(self, wanted: Collection[int] | None) -> Iterable[int]:
        if not self._supported:
            return ()
        try:
            mode = pynvml.nvmlDeviceGetAccountingMode(self._handle)
            if mode != pynvml.NVML_FEATURE_ENABLED:
                return ()
            ask = partial(function("nvmlDeviceGetAccountingPids"), self._handle)
            view = self._room.ask(ask)
        except pynvml.NVMLError as error:
            if error.value not in UNSUPPORTED:
                raise
            self._supported = False
            return ()
        told = _PID.iter_unpack(view[: self._room.filled * _PID.size])
        pids = dict.fromkeys(pid for (pid,) in told if is_pid(pid))
        return pids if wanted is None else [pid for pid in pids if pid in wanted]

    def _account(self, pid: int) -> Accounting | None:
        if self._ask is None:
            try:
                self._ask = _with_sums(self._handle)
            except pynvml.NVMLError:
                self._ask = _without_sums(self._handle)
        return _plausible(pid, self._ask(pid))


def _with_sums(handle: Handle) -> Callable[[int], Any]:
    """Drivers of 2026 and newer."""
    call = function("nvmlDeviceGetAccountingStats_v2")
    stats = pynvml.c_nvmlAccountingStats_v2_t()

    def ask(pid: int) -> Any:
        stats.pid = pid
        if code := call(handle, byref(stats)):
            raise pynvml.NVMLError(code)
        return stats

    return ask


def _without_sums(handle: Handle) -> Callable[[int], Any]:
    call = function("nvmlDeviceGetAccountingStats")
    stats = pynvml.c_nvmlAccountingStats_t()

    def ask(pid: int) -> Any:
        if code := call(handle, c_uint(pid), byref(stats)):
            raise pynvml.NVMLError(code)
        return stats

    return ask


def _plausible(pid: int, stats: Any) -> Accounting | None:
    """The account, None where it is of another process or begins nowhere."""
    if getattr(stats, "pid", pid) != pid or not stats.startTime:
        return None
    sums = stats if hasattr(stats, "sampleCount") else None
    return Accounting(
        pid,
        stats.startTime / _MICRO,
        running=bool(stats.isRunning),
        seconds=None if stats.isRunning else milli(stats.time),
        memory=float(stats.maxMemoryUsage) if 0 < stats.maxMemoryUsage <= _MOST_MEMORY else None,
        sm=_ratio(stats.gpuUtilization),
        memory_use=_ratio(stats.memoryUtilization),
        samples=sums.sampleCount if sums else None,
        sm_sum=_sum(sums.sumGpuUtil, sums.sampleCount) if sums else None,
        memory_use_sum=_sum(sums.sumFbUtil, sums.sampleCount) if sums else None,
    )


def _ratio(value: int) -> float | None:
    return percent(value) if value <= 100 else None  # also where it is not available


def _sum(value: int, samples: int) -> float | None:
    return value / _HUNDREDTHS if value <= samples * _HUNDREDTHS else None
