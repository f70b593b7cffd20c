"""What the functions about one GPU answer; signatures as in nvml.h.

A function that is not here, but in the library of the simulated driver, answers NOT_SUPPORTED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_int, c_uint, c_ulonglong

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    put_text,
    structure,
)
from gpu_sentinel.simulator.models import MIB

_SAMPLING_PERIOD_US = 167_000
_CLOCKS = (
    pynvml.NVML_CLOCK_GRAPHICS,
    pynvml.NVML_CLOCK_SM,
    pynvml.NVML_CLOCK_MEM,
    pynvml.NVML_CLOCK_VIDEO,
)


def _power_usage(gpu: SimulatedGpu, t: float) -> int | None:
    """An average over a second where the board has field 185, else what it is now."""
    if gpu.model.average_power and "power" not in gpu.overrides:
        return gpu.power_average(t)
    return gpu.reading("power", t)


#: Functions that answer one unsigned number about a device; None is NOT_SUPPORTED.
_NUMBERS: Mapping[str, Callable[[SimulatedGpu, float], int | None]] = {
    "nvmlDeviceGetMinorNumber": lambda g, _: g.index,
    "nvmlDeviceGetArchitecture": lambda g, _: g.model.architecture,
    "nvmlDeviceGetPowerUsage": _power_usage,
    "nvmlDeviceGetEnforcedPowerLimit": lambda g, _: round(g.board.limit * 1e3),
    "nvmlDeviceGetPowerManagementLimit": lambda g, _: round(g.board.limit * 1e3),
    "nvmlDeviceGetPowerManagementDefaultLimit": lambda g, _: round(g.model.limits[1] * 1e3),
    "nvmlDeviceGetPowerManagementMode": lambda _g, _t: 1,
    "nvmlDeviceGetComputeMode": lambda _g, _t: 0,
    "nvmlDeviceGetPerformanceState": lambda g, t: g.reading("pstate", t),
    "nvmlDeviceGetPowerState": lambda g, t: g.reading("pstate", t),
    "nvmlDeviceGetNumFans": lambda g, _: g.fans,
    "nvmlDeviceGetFanSpeed": lambda g, t: g.reading("fan", t) if g.fans else None,
    "nvmlDeviceGetCurrPcieLinkGeneration": lambda g, t: g.reading("pcie_generation", t),
    "nvmlDeviceGetCurrPcieLinkWidth": lambda g, t: g.reading("pcie_width", t),
    "nvmlDeviceGetMaxPcieLinkGeneration": lambda g, _: g.model.pcie_generation,
    "nvmlDeviceGetMaxPcieLinkWidth": lambda g, _: g.model.pcie_width,
    "nvmlDeviceGetPcieReplayCounter": lambda g, _: g.pcie_replays(),
}


def number(name: str, get: Callable[[SimulatedGpu, float], int | None]) -> None:
    """Register a function that answers one unsigned number; None is NOT_SUPPORTED."""

    @function("dp", name)
    def answer(call: Call, gpu: SimulatedGpu, out: int) -> None:
        value = get(gpu, call.t)
        if value is None:
            raise not_supported()
        put(c_uint, out, value)


for _name, _get in _NUMBERS.items():
    number(_name, _get)


@function("dp", "nvmlDeviceGetIndex")
def _index(call: Call, gpu: SimulatedGpu, out: int) -> None:
    """Where it is in the driver's list, which cards that are taken away make shorter."""
    put(c_uint, out, call.library.listed().index(gpu))


@function("dpu", "nvmlDeviceGetName")
def _device_name(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.model.name)


@function("dpu", "nvmlDeviceGetUUID")
def _uuid(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.uuid)


@function("dpu", "nvmlDeviceGetSerial")
def _serial(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.serial)


@function("dpu", "nvmlDeviceGetVbiosVersion")
def _vbios(_call: Call, gpu: SimulatedGpu, out: int, length: int) -> None:
    put_text(out, length, gpu.model.vbios)


@function("dp", "nvmlDeviceGetPciInfo", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo_v3")
def _pci_info(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    info = structure(pynvml.nvmlPciInfo_t, out)
    info.busIdLegacy = gpu.bus_id[4:].encode()
    info.busId = gpu.bus_id.encode()
    info.domain, info.bus, info.device = 0, gpu.bus, 0
    info.pciDeviceId = gpu.model.pci_device_id
    info.pciSubSystemId = gpu.model.pci_subsystem_id


@function("dpp", "nvmlDeviceGetCudaComputeCapability")
def _compute_capability(_call: Call, gpu: SimulatedGpu, major: int, minor: int) -> None:
    put(c_int, major, gpu.model.compute_capability[0])
    put(c_int, minor, gpu.model.compute_capability[1])


@function("dp", "nvmlDeviceGetUtilizationRates")
def _utilization(call: Call, gpu: SimulatedGpu, out: int) -> None:
    rates = structure(pynvml.c_nvmlUtilization_t, out)
    rates.gpu = gpu.reading("utilization", call.t)
    rates.memory = gpu.reading("memory_utilization", call.t)


@function("dpp", "nvmlDeviceGetEncoderUtilization")
def _encoder(call: Call, gpu: SimulatedGpu, out: int, period: int) -> None:
    put(c_uint, out, gpu.reading("encoder", call.t))
    put(c_uint, period, _SAMPLING_PERIOD_US)


@function("dpp", "nvmlDeviceGetDecoderUtilization")
def _decoder(call: Call, gpu: SimulatedGpu, out: int, period: int) -> None:
    put(c_uint, out, gpu.reading("decoder", call.t))
    put(c_uint, period, _SAMPLING_PERIOD_US)


@function("dp", "nvmlDeviceGetMemoryInfo")
def _memory(call: Call, gpu: SimulatedGpu, out: int) -> None:
    """The old structure counts what the driver keeps for itself as used."""
    info = structure(pynvml.c_nvmlMemory_t, out)
    info.total = gpu.memory_total()
    info.used = (gpu.reading("memory_used", call.t) or 0) + gpu.model.reserved_mib * MIB
    info.free = max(info.total - info.used, 0)


@function("dp", "nvmlDeviceGetMemoryInfo_v2")
def _memory_v2(call: Call, gpu: SimulatedGpu, out: int) -> None:
    info = structure(pynvml.c_nvmlMemory_v2_t, out, pynvml.nvmlMemory_v2)
    info.total = gpu.memory_total()
    info.reserved = gpu.model.reserved_mib * MIB
    info.used = gpu.reading("memory_used", call.t)
    info.free = max(info.total - info.reserved - info.used, 0)


@function("dp", "nvmlDeviceGetBAR1MemoryInfo")
def _bar1(call: Call, gpu: SimulatedGpu, out: int) -> None:
    info = structure(pynvml.c_nvmlBAR1Memory_t, out)
    info.bar1Total = gpu.model.bar1_mib * MIB
    info.bar1Used = (5 if gpu.state(call.t).working else 1) * MIB
    info.bar1Free = info.bar1Total - info.bar1Used


@function("dpp", "nvmlDeviceGetPowerManagementLimitConstraints")
def _power_limits(_call: Call, gpu: SimulatedGpu, low: int, high: int) -> None:
    put(c_uint, low, round(gpu.model.limits[0] * 1e3))
    put(c_uint, high, round(gpu.model.limits[2] * 1e3))


@function("dp", "nvmlDeviceGetTotalEnergyConsumption")
def _energy(call: Call, gpu: SimulatedGpu, out: int) -> None:
    put(c_ulonglong, out, gpu.millijoules(call.t))


@function("dup", "nvmlDeviceGetTemperature")
def _temperature(call: Call, gpu: SimulatedGpu, sensor: int, out: int) -> None:
    if sensor != pynvml.NVML_TEMPERATURE_GPU:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    put(c_uint, out, gpu.reading("temperature", call.t))


@function("dp", "nvmlDeviceGetTemperatureV")
def _temperature_v(call: Call, gpu: SimulatedGpu, out: int) -> None:
    asked = structure(pynvml.c_nvmlTemperature_v1_t, out, pynvml.nvmlTemperature_v1)
    if asked.sensorType != pynvml.NVML_TEMPERATURE_GPU:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    asked.temperature = gpu.reading("temperature", call.t)


@function("dup", "nvmlDeviceGetTemperatureThreshold")
def _threshold(_call: Call, gpu: SimulatedGpu, which: int, out: int) -> None:
    if which not in gpu.model.thresholds:
        raise not_supported()
    put(c_uint, out, gpu.model.thresholds[which])


@function("dp", "nvmlDeviceGetMarginTemperature")
def _margin(call: Call, gpu: SimulatedGpu, out: int) -> None:
    if gpu.model.t_limits is None:
        raise not_supported()
    margin = structure(pynvml.c_nvmlMarginTemperature_v1_t, out, pynvml.nvmlMarginTemperature_v1)
    margin.marginTemperature = gpu.margin(call.t)


@function("dup", "nvmlDeviceGetClockInfo")
def _clock(call: Call, gpu: SimulatedGpu, which: int, out: int) -> None:
    if which not in _CLOCKS:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    point = gpu.model.busy if gpu.state(call.t).working else gpu.model.idle
    if which == pynvml.NVML_CLOCK_MEM:
        put(c_uint, out, point.memory_mhz)
    elif which == pynvml.NVML_CLOCK_VIDEO:
        put(c_uint, out, point.video_mhz)
    else:
        put(c_uint, out, gpu.reading("sm_clock", call.t))


@function("dup", "nvmlDeviceGetMaxClockInfo")
def _max_clock(_call: Call, gpu: SimulatedGpu, which: int, out: int) -> None:
    if which not in _CLOCKS:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    sm, memory, video = gpu.model.max_mhz
    known = {pynvml.NVML_CLOCK_MEM: memory, pynvml.NVML_CLOCK_VIDEO: video}
    put(c_uint, out, known.get(which, sm))


@function(
    "dp", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
)
def _reasons(call: Call, gpu: SimulatedGpu, out: int) -> None:
    put(c_ulonglong, out, gpu.reading("reasons", call.t))


@function(
    "dp", "nvmlDeviceGetSupportedClocksEventReasons", "nvmlDeviceGetSupportedClocksThrottleReasons"
)
def _supported_reasons(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    put(c_ulonglong, out, gpu.model.reasons)


@function("dpp", "nvmlDeviceGetEccMode")
def _ecc_mode(_call: Call, gpu: SimulatedGpu, current: int, pending: int) -> None:
    if not gpu.model.ecc:
        raise not_supported()
    put(c_uint, current, 1)
    put(c_uint, pending, 1)


@function("dpppp", "nvmlDeviceGetRemappedRows")
def _remapped(
    _call: Call, gpu: SimulatedGpu, correctable: int, uncorrectable: int, pending: int, failed: int
) -> None:
    if gpu.model.remapping is None:
        raise not_supported()
    errors = gpu.errors
    put(c_uint, correctable, errors.remapped["correctable"])
    put(c_uint, uncorrectable, errors.remapped["uncorrectable"])
    put(c_uint, pending, int(errors.remap_pending))
    put(c_uint, failed, int(errors.remap_failure))


@function("dp", "nvmlDeviceGetRowRemapperHistogram")
def _histogram(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    if gpu.model.remapping is None:
        raise not_supported()
    histogram = structure(pynvml.c_nvmlRowRemapperHistogramValues, out)
    # A row cannot be remapped where its bank has no spare one left.
    empty = int(gpu.errors.remap_failure)
    used = min(max(sum(gpu.errors.remapped.values()) - empty, 0), gpu.model.remapping - empty)
    histogram.max = gpu.model.remapping - used - empty
    histogram.high, histogram.partial, histogram.low, histogram.none = used, 0, 0, empty


def _no_processes(*names: str) -> None:
    @function("dpp", *names)
    def answer(_call: Call, _gpu: SimulatedGpu, count: int, _infos: int) -> None:
        put(c_uint, count, 0)


_no_processes(
    *(
        f"nvmlDeviceGet{kind}RunningProcesses{version}"
        for kind in ("Compute", "Graphics", "MPSCompute")
        for version in ("", "_v2", "_v3")
    )
)
