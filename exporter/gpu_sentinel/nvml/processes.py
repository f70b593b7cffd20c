"""Who uses a GPU: the processes that the driver lists, and what it knows of each.

The numbers are those of the host's processes. Newer kernel modules translate those that the
caller's own PID namespace has (open-gpu-kernel-modules, osFindNsPid); others stay the host's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from gpu_sentinel.nvml.errors import NvmlError, typed
from gpu_sentinel.nvml.mig import MigDevice
from gpu_sentinel.nvml.processlist import GpuProcess, ProcessLists
from gpu_sentinel.nvml.processuse import UseReader, UseSample
from gpu_sentinel.nvml.raw import Handle
from gpu_sentinel.nvml.stats import Recorder

T = TypeVar("T")


class Processes:
    """The processes of one GPU, for as long as NVML stays initialised.

    Every method calls the driver and may block for as long as the driver does. One thread at a
    time uses it. What the GPU does not support is found out once, and asked for again after
    `look_again`.

    Attributes:
        asked: the query that was asked last; where a call hangs, the one that hangs.
    """

    def __init__(self, handle: Handle, recorder: Recorder) -> None:
        """Prepare; nothing is asked yet."""
        self._recorder = recorder
        self._lists = ProcessLists(handle, recorder)
        self._use = UseReader(handle)
        self.asked = "processes.list"

    def look_again(self) -> None:
        """Ask again for what was not supported: after a reset, or when MIG was switched."""
        self._lists.look_again()
        self._use.look_again()

    @property
    def listed(self) -> frozenset[str]:
        """The types of processes that the driver lists, as far as it was asked."""
        return self._lists.supported

    @property
    def sampled(self) -> bool:
        """Whether the driver tells what each process has used, as far as it was asked."""
        return self._use.supported

    @property
    def failures(self) -> Mapping[str, NvmlError]:
        """Why types of processes are missing in the last answer of `list`."""
        return self._lists.failures

    def list(self, devices: Sequence[MigDevice] = ()) -> tuple[GpuProcess, ...]:
        """The processes that there are now, each once for every MIG device that it uses.

        Args:
            devices: the MIG devices of the GPU. Of the GPU itself, the driver lists their
                processes only to who is privileged (nvml.h); else they are asked one by one.

        Raises:
            NvmlError: nothing could be listed.
        """
        return self._timed("processes.list", lambda: self._lists.read(devices))

    def samples(self, clock: Callable[[], float] = time.monotonic) -> tuple[UseSample, ...]:
        """What each process has used since the last call; the first one only finds the end.

        Empty where MIG is on, which the driver does not support.

        Raises:
            NvmlError: the call failed.
        """
        samples, rejected = self._timed("processes.samples", lambda: self._use.read(clock))
        if rejected:
            self._recorder.rejected["processes.samples"] += rejected
        return samples

    def _timed(self, query: str, ask: Callable[[], T]) -> T:
        self.asked = query
        start = time.perf_counter()
        try:
            return ask()
        except Exception as error:
            failure = typed(error) if not isinstance(error, NvmlError) else error
            if failure is not error:  # else it is counted already
                self._recorder.errors[query, failure.name] += 1
            raise failure from error
        finally:
            self._recorder.cost(query).add(time.perf_counter() - start)
