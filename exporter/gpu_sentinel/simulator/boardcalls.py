"""What the functions about a board and its modes answer; signatures as in nvml.h."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_int, c_uint

import pynvml

from gpu_sentinel.simulator.devicecalls import number
from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    put_text,
    structure,
    versioned,
)

#: Of nvmlDeviceGetGspFirmwareVersion, which is not told how much room there is.
_GSP_LENGTH = int(pynvml.NVML_GSP_FIRMWARE_VERSION_BUF_SIZE)


def _module_number(gpu: SimulatedGpu) -> int:
    modules = gpu.model.facts.modules
    return modules[gpu.index % len(modules)]


def _virtualization(gpu: SimulatedGpu, _t: float) -> int:
    facts = gpu.model.facts
    return int(pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU) if facts.vgpu else facts.virtualization


#: Functions that answer one enumeration or number; None is NOT_SUPPORTED.
_NUMBERS: Mapping[str, Callable[[SimulatedGpu, float], int | None]] = {
    "nvmlDeviceGetBrand": lambda g, _: g.model.facts.brand,
    "nvmlDeviceGetBoardId": lambda g, _: g.bus << 8,
    "nvmlDeviceGetMultiGpuBoard": lambda _g, _t: 0,
    "nvmlDeviceGetModuleId": lambda g, _: _module_number(g),
    "nvmlDeviceGetNumGpuCores": lambda g, _: g.model.facts.cores,
    "nvmlDeviceGetMemoryBusWidth": lambda g, _: g.model.facts.bus_width,
    "nvmlDeviceGetPersistenceMode": lambda g, _: int(g.model.facts.persistence),
    "nvmlDeviceGetAccountingMode": lambda g, _: int(g.accounting),
    "nvmlDeviceGetAccountingBufferSize": lambda _g, _t: 4000,
    "nvmlDeviceGetDisplayMode": lambda _g, _t: 1,
    "nvmlDeviceGetDisplayActive": lambda g, _: int(g.model.facts.display_active),
    "nvmlDeviceGetVirtualizationMode": _virtualization,
    "nvmlDeviceGetGpuMaxPcieLinkGeneration": lambda g, _: (
        g.model.pcie_device_generation or g.model.pcie_generation
    ),
}


for _name, _get in _NUMBERS.items():
    number(_name, _get)


@function("dpu", "nvmlDeviceGetBoardPartNumber")
def _part_number(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.model.facts.part_number)


@function("dpu", "nvmlDeviceGetInforomImageVersion")
def _inforom_image(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.model.facts.inforom[0])


@function("dupu", "nvmlDeviceGetInforomVersion")
def _inforom(_call: Call, gpu: SimulatedGpu, which: int, out: int, length: int) -> None:
    objects = gpu.model.facts.inforom[1:]
    if which >= len(objects):
        raise not_supported()
    put_text(out, length, objects[which])


@function("dp", "nvmlDeviceGetGspFirmwareVersion")
def _gsp_version(call: Call, _gpu: SimulatedGpu, out: int) -> None:
    put_text(out, _GSP_LENGTH, call.library.version.version)


@function("dpp", "nvmlDeviceGetGspFirmwareMode")
def _gsp_mode(_call: Call, _gpu: SimulatedGpu, enabled: int, default: int) -> None:
    put(c_uint, enabled, 1)
    put(c_uint, default, 1)


@function("dp", "nvmlDeviceGetPlatformInfo")
def _platform(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    versions = {
        pynvml.nvmlPlatformInfo_v1: pynvml.c_nvmlPlatformInfo_v1_t,
        pynvml.nvmlPlatformInfo_v2: pynvml.c_nvmlPlatformInfo_v2_t,
    }
    info = versioned(out, versions)
    serial, slot, tray, switched = gpu.model.facts.slot
    peers = bytes([int(switched)])
    if info.version == pynvml.nvmlPlatformInfo_v2:
        info.chassisSerialNumber = serial
        info.slotNumber, info.trayIndex, info.hostId = bytes([slot]), bytes([tray]), b"\x01"
    else:
        info.rackGuid = serial
        info.chassisPhysicalSlotNumber, info.computeSlotIndex = bytes([slot]), bytes([tray])
        info.nodeIndex = b"\x01"
    info.peerType, info.moduleId = peers, bytes([_module_number(gpu)])


@function("dpp", "nvmlDeviceGetDramEncryptionMode")
def _dram_encryption(_call: Call, gpu: SimulatedGpu, *pointers: int) -> None:
    on = gpu.model.facts.dram_encryption
    for pointer in pointers:
        layout, version = pynvml.c_nvmlDramEncryptionInfo_t, pynvml.nvmlDramEncryptionInfo_v1
        info = structure(layout, pointer, version)
        if on is None:
            raise not_supported()
        info.encryptionState = int(on)


@function("dp", "nvmlDeviceGetConfComputeProtectedMemoryUsage")
def _protected_memory(_call: Call, _gpu: SimulatedGpu, out: int) -> None:
    memory = structure(pynvml.c_nvmlMemory_t, out)
    memory.total = memory.used = memory.free = 0


@function("p", "nvmlSystemGetConfComputeState")
def _confidential(call: Call, out: int) -> None:
    state = structure(pynvml.c_nvmlConfComputeSystemState_t, out)
    on = call.library.simulation.confidential
    state.environment = pynvml.NVML_CC_SYSTEM_ENVIRONMENT_PROD if on else 0
    state.ccFeature = int(on)
    state.devToolsMode = 0


def _license(*names: str, layout: type) -> None:
    @function("dp", *names)
    def answer(_call: Call, gpu: SimulatedGpu, out: int) -> None:
        features = structure(layout, out)
        features.isGridLicenseSupported = int(gpu.model.facts.vgpu)
        features.licensableFeaturesCount = int(gpu.model.facts.vgpu)
        if not gpu.model.facts.vgpu:
            return
        feature = features.gridLicensableFeatures[0]
        feature.featureCode = pynvml.NVML_GRID_LICENSE_FEATURE_CODE_VGPU
        feature.featureState = feature.featureEnabled = int(gpu.licensed)
        feature.productName = b"NVIDIA Virtual Compute Server"


_license("nvmlDeviceGetGridLicensableFeatures_v4", layout=pynvml.c_nvmlGridLicensableFeatures_v4_t)
_license("nvmlDeviceGetGridLicensableFeatures_v3", layout=pynvml.c_nvmlGridLicensableFeatures_v3_t)


def _engine(name: str, reading: str) -> None:
    @function("dpp", name)
    def answer(call: Call, gpu: SimulatedGpu, out: int, period: int) -> None:
        put(c_uint, out, gpu.reading(reading, call.t))
        put(c_uint, period, 167_000)


_engine("nvmlDeviceGetJpgUtilization", "jpeg")
_engine("nvmlDeviceGetOfaUtilization", "ofa")


def _encoder_sessions(call: Call, gpu: SimulatedGpu) -> tuple[int, int, int]:
    """Sessions, and frames per second and microseconds of each, as the RTX 4080 SUPER had them."""
    sessions = gpu.reading("encoder_sessions", call.t) or 0
    return (sessions, 184, 62_844) if sessions else (0, 0, 0)


@function("dppp", "nvmlDeviceGetEncoderStats")
def _encoder_stats(call: Call, gpu: SimulatedGpu, count: int, fps: int, latency: int) -> None:
    for pointer, value in zip((count, fps, latency), _encoder_sessions(call, gpu), strict=True):
        put(c_uint, pointer, value)


@function("dp", "nvmlDeviceGetFBCStats")
def _capture_stats(_call: Call, _gpu: SimulatedGpu, out: int) -> None:
    stats = structure(pynvml.c_nvmlFBCStats_t, out)
    stats.sessionsCount = stats.averageFPS = stats.averageLatency = 0


def _clock_of(clocks: tuple[int, int], which: int) -> int:
    """One of two clocks, graphics and memory."""
    if which in (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_SM):
        return clocks[0]
    if which == pynvml.NVML_CLOCK_MEM:
        return clocks[1]
    raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)


@function("dup", "nvmlDeviceGetApplicationsClock", "nvmlDeviceGetDefaultApplicationsClock")
def _application_clock(_call: Call, gpu: SimulatedGpu, which: int, out: int) -> None:
    put(c_uint, out, _clock_of(gpu.model.facts.application_clocks, which))


@function("dup", "nvmlDeviceGetMaxCustomerBoostClock")
def _customer_boost(_call: Call, gpu: SimulatedGpu, which: int, out: int) -> None:
    boost = gpu.model.facts.customer_boost
    if boost is None:
        raise not_supported()
    put(c_uint, out, _clock_of((boost, gpu.model.max_mhz[1]), which))


@function("dup", "nvmlDeviceGetTargetFanSpeed")
def _fan_target(call: Call, gpu: SimulatedGpu, fan: int, out: int) -> None:
    _find_fan(gpu, fan)
    put(c_uint, out, gpu.reading("fan_target", call.t))


@function("dp", "nvmlDeviceGetFanSpeedRPM")
def _fan_rpm(call: Call, gpu: SimulatedGpu, out: int) -> None:
    info = structure(pynvml.c_nvmlFanSpeedInfo_t, out, pynvml.nvmlFanSpeedInfo_v1)
    _find_fan(gpu, info.fan)
    info.speed = gpu.reading("fan_rpm", call.t)


@function("dup", "nvmlDeviceGetFanSpeed_v2")
def _fan(call: Call, gpu: SimulatedGpu, fan: int, out: int) -> None:
    _find_fan(gpu, fan)
    put(c_uint, out, gpu.reading("fan", call.t))


@function("dpp", "nvmlDeviceGetMinMaxFanSpeed")
def _fan_range(_call: Call, gpu: SimulatedGpu, low: int, high: int) -> None:
    _find_fan(gpu, 0)
    put(c_int, low, 30)
    put(c_int, high, 100)


def _find_fan(gpu: SimulatedGpu, fan: int) -> None:
    """Fail where the board has no fans, or not this one."""
    if not gpu.model.fans:
        raise not_supported()
    if fan >= gpu.fans:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
