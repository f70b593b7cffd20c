"""What is asked of MIG, and what MIG devices answer; signatures as in nvml.h.

A function that is not registered for MIG devices does not take their handles.
"""

from __future__ import annotations

from ctypes import c_uint, c_ulonglong, c_void_p, cast

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    mig_function,
    not_supported,
    put,
    put_text,
    structure,
)
from gpu_sentinel.simulator.mig import MOST, MigDevice
from gpu_sentinel.simulator.models import MIB


@function("dpp", "nvmlDeviceGetMigMode")
def _mode(_call: Call, gpu: SimulatedGpu, current: int, pending: int) -> None:
    if not gpu.model.mig:
        raise not_supported()
    put(c_uint, current, int(gpu.mig.enabled))
    put(c_uint, pending, int(gpu.mig.enabled))


@function("dp", "nvmlDeviceGetMaxMigDeviceCount")
def _count(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    put(c_uint, out, MOST if gpu.mig.enabled else 0)


@function("dup", "nvmlDeviceGetMigDeviceHandleByIndex")
def _by_index(call: Call, gpu: SimulatedGpu, index: int, out: int) -> None:
    if not gpu.mig.enabled:
        raise not_supported()
    if index >= MOST:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    if index not in gpu.mig.devices:
        raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)
    put(c_void_p, out, call.library.mig_handle(gpu, index))


@function("dup", "nvmlDeviceGetGpuInstanceById")
def _instance_by_id(call: Call, gpu: SimulatedGpu, number: int, out: int) -> None:
    if not gpu.mig.enabled:
        raise not_supported()
    if not call.library.simulation.privileged:
        raise NvmlFailure(pynvml.NVML_ERROR_NO_PERMISSION)
    instance = gpu.mig.instance(number)
    if instance is None:
        raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)
    call.library.reach_instance(instance, call.name)
    put(c_void_p, out, call.library.instance_handle(gpu, instance))


@function("pp", "nvmlGpuInstanceGetInfo")
def _instance_info(call: Call, handle: int, out: int) -> None:
    library = call.library
    gpu, instance = library.gpu_instance(handle)
    library.reach(gpu, call.name)
    library.reach_instance(instance, call.name)
    if not library.simulation.privileged:
        raise NvmlFailure(pynvml.NVML_ERROR_NO_PERMISSION)
    info = structure(pynvml.c_nvmlGpuInstanceInfo_t, out)
    info.device = cast(library.handle(gpu), pynvml.c_nvmlDevice_t)
    info.id, info.profileId = instance.id, instance.profile.id
    info.placement.start = instance.start
    info.placement.size = instance.profile.memory_slices


@function("dp", "nvmlDeviceIsMigDeviceHandle")
def _is_no_mig(_call: Call, _gpu: SimulatedGpu, out: int) -> None:
    put(c_uint, out, 0)


@mig_function("dp", "nvmlDeviceIsMigDeviceHandle")
def _is_mig(_call: Call, _gpu: SimulatedGpu, _device: MigDevice, out: int) -> None:
    put(c_uint, out, 1)


@mig_function("dp", "nvmlDeviceGetDeviceHandleFromMigDeviceHandle")
def _parent(call: Call, gpu: SimulatedGpu, _device: MigDevice, out: int) -> None:
    put(c_void_p, out, call.library.handle(gpu))


@mig_function("dpu", "nvmlDeviceGetName")
def _name(_call: Call, gpu: SimulatedGpu, device: MigDevice, out: int, length: int) -> None:
    put_text(out, length, f"{gpu.model.name} MIG {device.profile}")


@mig_function("dpu", "nvmlDeviceGetUUID")
def _uuid(_call: Call, _gpu: SimulatedGpu, device: MigDevice, out: int, length: int) -> None:
    put_text(out, length, device.uuid)


@mig_function("dp", "nvmlDeviceGetGpuInstanceId")
def _gpu_instance(_call: Call, _gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    put(c_uint, out, device.instance.id)


@mig_function("dp", "nvmlDeviceGetComputeInstanceId")
def _compute_instance(_call: Call, _gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    put(c_uint, out, device.compute_instance)


@mig_function("dp", "nvmlDeviceGetAttributes", "nvmlDeviceGetAttributes_v2")
def _attributes(_call: Call, _gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    found = structure(pynvml.c_nvmlDeviceAttributes, out)
    profile = device.instance.profile
    found.multiprocessorCount = device.multiprocessors
    found.sharedCopyEngineCount = profile.copy_engines
    found.sharedDecoderCount = profile.decoders
    found.sharedJpegCount = profile.jpegs
    found.sharedEncoderCount = found.sharedOfaCount = 0
    found.gpuInstanceSliceCount = profile.slices
    found.computeInstanceSliceCount = device.slices
    found.memorySizeMB = profile.memory_mib


@mig_function("dp", "nvmlDeviceGetMemoryInfo")
def _memory(call: Call, gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    info = structure(pynvml.c_nvmlMemory_t, out)
    info.total = device.instance.profile.memory_mib * MIB
    info.used = gpu.instance_memory_used(device.instance, call.t)
    info.free = info.total - info.used


@mig_function("dp", "nvmlDeviceGetMemoryInfo_v2")
def _memory_v2(call: Call, gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    info = structure(pynvml.c_nvmlMemory_v2_t, out, pynvml.nvmlMemory_v2)
    info.total = device.instance.profile.memory_mib * MIB
    info.reserved = 0
    info.used = gpu.instance_memory_used(device.instance, call.t)
    info.free = info.total - info.used


@mig_function("dp", "nvmlDeviceGetBAR1MemoryInfo")
def _bar1(_call: Call, _gpu: SimulatedGpu, device: MigDevice, out: int) -> None:
    info = structure(pynvml.c_nvmlBAR1Memory_t, out)
    info.bar1Total = info.bar1Free = device.instance.profile.bar1_mib * MIB
    info.bar1Used = 0


@mig_function("duuup", "nvmlDeviceGetMemoryErrorCounter")
def _errors(
    _call: Call,
    _gpu: SimulatedGpu,
    device: MigDevice,
    kind: int,
    counter: int,
    location: int,
    out: int,
) -> None:
    """Of a MIG device, nvml.h knows volatile uncorrected errors outside of DRAM only."""
    if (kind, counter) != (
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_VOLATILE_ECC,
    ) or location in (pynvml.NVML_MEMORY_LOCATION_DEVICE_MEMORY, pynvml.NVML_MEMORY_LOCATION_DRAM):
        raise not_supported()
    put(c_ulonglong, out, device.instance.uncorrected)
