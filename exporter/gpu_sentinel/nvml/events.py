"""XIDs as events of NVML."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import pynvml

from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml.errors import UNSUPPORTED, DriverGoneError, NvmlError, typed
from gpu_sentinel.nvml.stats import Recorder

_XID = pynvml.nvmlEventTypeXidCriticalError
#: What stands for "no GPU instance" (nvml.h: nvmlEventData_t).
_NO_INSTANCE = 0xFFFFFFFF


class XidEvent(NamedTuple):
    """An XID, with the GPU instance of MIG that it is about; None for the whole GPU."""

    gpu: DeviceId
    xid: int
    gpu_instance: int | None


class EventSet:
    """Waits for the XIDs of the GPUs that were registered; one thread uses it.

    Its calls are not counted as costs: waiting is not the driver's work.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Make it.

        Raises:
            NvmlError: the driver is gone, or has no events.
        """
        self._recorder = recorder
        self._gpus: dict[int | None, DeviceId] = {}
        try:
            self._set = pynvml.nvmlEventSetCreate()
        except Exception as error:
            raise self._noted("events.create", error) from error

    def register(self, gpu: DeviceId) -> bool:
        """Take a GPU in; False where it never tells its XIDs.

        Raises:
            NvmlError: it does not answer now; the others are not concerned.
        """
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu.index)
            pynvml.nvmlDeviceRegisterEvents(handle, _XID, self._set)
        except Exception as error:
            failure = typed(error)
            if failure.code in UNSUPPORTED:
                return False
            raise self._noted("events.register", error) from error
        self._gpus[_address(handle)] = gpu
        return True

    def wait(self, seconds: float) -> XidEvent | None:
        """The next XID; None where there was none in time.

        Raises:
            NvmlError: the set is of no use any more.
        """
        try:
            event = pynvml.nvmlEventSetWait_v2(self._set, int(seconds * 1e3))
        except Exception as error:
            failure = typed(error)
            if failure.code == pynvml.NVML_ERROR_TIMEOUT:
                return None
            raise self._noted("events.wait", error) from error
        # Some drivers give clock events to who asked for XIDs, with 0 for the number.
        if event.eventType != _XID or not event.eventData:
            return None
        gpu = self._gpus.get(_address(event.device))
        if gpu is None:
            return None
        instance = int(event.gpuInstanceId)
        return XidEvent(gpu, int(event.eventData), None if instance == _NO_INSTANCE else instance)

    def free(self) -> None:
        """Give it back to the driver, before NVML is shut down."""
        try:
            pynvml.nvmlEventSetFree(self._set)
        except Exception as error:  # noqa: BLE001 - a driver that is gone has freed it itself
            if not isinstance(typed(error), DriverGoneError):
                self._noted("events.free", error)

    def _noted(self, query: str, error: Exception) -> NvmlError:
        failure = typed(error)
        self._recorder.errors[query, failure.name] += 1
        return failure


def _address(handle: ctypes._Pointer[ctypes.Structure]) -> int | None:
    """What tells one handle from another."""
    return ctypes.cast(handle, ctypes.c_void_p).value
