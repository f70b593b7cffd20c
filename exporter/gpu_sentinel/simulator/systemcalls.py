"""What the functions about the driver as a whole do; signatures as in nvml.h."""

from __future__ import annotations

from ctypes import c_char_p, c_int, c_uint, c_void_p

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import Call, NvmlFailure, function, not_supported, put, put_text


@function("", "nvmlInit", "nvmlInit_v2", needs_init=False)
def _init(call: Call) -> None:
    call.library.initialize()


@function("u", "nvmlInitWithFlags", needs_init=False)
def _init_with_flags(call: Call, _flags: int) -> None:
    _init(call)


@function("", "nvmlShutdown")
def _shutdown(call: Call) -> None:
    call.library.initialized = 0
    call.library.event_sets.clear()


@function("pu", "nvmlSystemGetDriverVersion")
def _driver_version(call: Call, out: int, length: int) -> None:
    put_text(out, length, call.library.version.version)


@function("pu", "nvmlSystemGetNVMLVersion")
def _nvml_version(call: Call, out: int, length: int) -> None:
    put_text(out, length, call.library.version.nvml)


@function("p", "nvmlSystemGetCudaDriverVersion", "nvmlSystemGetCudaDriverVersion_v2")
def _cuda_version(call: Call, out: int) -> None:
    put(c_int, out, call.library.version.cuda)


@function("p", "nvmlDeviceGetCount", "nvmlDeviceGetCount_v2")
def _count(call: Call, out: int) -> None:
    put(c_uint, out, len(call.library.listed()))


@function("up", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByIndex_v2")
def _handle_by_index(call: Call, index: int, out: int) -> None:
    gpus = call.library.listed()
    if index >= len(gpus):
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    _give_handle(call, gpus[index], out)


@function("sp", "nvmlDeviceGetHandleByUUID")
def _handle_by_uuid(call: Call, uuid: bytes | None, out: int) -> None:
    for gpu in call.library.listed():
        if gpu.uuid.encode() == uuid:
            return _give_handle(call, gpu, out)
        for index, device in gpu.mig.devices.items():
            if device.uuid.encode() == uuid:
                put(c_void_p, out, call.library.mig_handle(gpu, index))
                return None
    raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)


@function("sp", "nvmlDeviceGetHandleByPciBusId", "nvmlDeviceGetHandleByPciBusId_v2")
def _handle_by_bus_id(call: Call, bus_id: bytes | None, out: int) -> None:
    wanted = (bus_id or b"").decode(errors="replace").upper()
    for gpu in call.library.listed():
        if wanted and gpu.bus_id.endswith(wanted):
            return _give_handle(call, gpu, out)
    raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)


def _give_handle(call: Call, gpu: SimulatedGpu, out: int) -> None:
    call.library.reach(gpu, call.name)
    put(c_void_p, out, call.library.handle(gpu))


@function("us", "nvmlErrorString", needs_init=False)
def _error_string(_call: Call, _code: int, _out: c_char_p) -> None:
    raise not_supported()  # pynvml keeps texts of its own
