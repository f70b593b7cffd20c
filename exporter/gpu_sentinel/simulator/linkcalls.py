"""What the functions about links and peers answer; signatures as in nvml.h."""

from __future__ import annotations

import uuid
from ctypes import c_int, c_uint, c_ulonglong

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    structure,
    versioned,
)
from gpu_sentinel.simulator.linkfields import link_of

#: nvmlNvLinkErrorCounter_t, in its order; only before NVLink 5.
_COUNTERS = ("replay", "recovery", "crc_flit", "crc_data", "ecc_data")
_SWITCH = 2  # nvml.h, NVML_NVLINK_DEVICE_TYPE_SWITCH
_SHIFT_BANDWIDTH, _BANDWIDTH_FULL, _BANDWIDTH_DEGRADED = 0, 2, 1
_FABRIC_HEALTHY, _FABRIC_LIMITED = 1, 3  # nvml.h, NVML_GPU_FABRIC_HEALTH_SUMMARY_*


@function("dup", "nvmlDeviceGetNvLinkState")
def _link_state(_call: Call, gpu: SimulatedGpu, link: int, out: int) -> None:
    put(c_uint, out, int(gpu.nvlinks.links[link_of(gpu, link)].up))


@function("dup", "nvmlDeviceGetNvLinkVersion")
def _link_version(_call: Call, gpu: SimulatedGpu, link: int, out: int) -> None:
    link_of(gpu, link)
    put(c_uint, out, gpu.nvlinks.spec.version if gpu.nvlinks.spec else 0)


@function("duup", "nvmlDeviceGetNvLinkCapability")
def _link_capability(_call: Call, gpu: SimulatedGpu, link: int, capability: int, out: int) -> None:
    link_of(gpu, link)
    if capability >= pynvml.NVML_NVLINK_CAP_COUNT:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    put(c_uint, out, int(capability != pynvml.NVML_NVLINK_CAP_SLI_BRIDGE))


@function("duup", "nvmlDeviceGetNvLinkErrorCounter")
def _link_errors(_call: Call, gpu: SimulatedGpu, link: int, counter: int, out: int) -> None:
    link_of(gpu, link)
    if counter >= len(_COUNTERS):
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    if gpu.nvlinks.spec and gpu.nvlinks.spec.fifth:
        raise not_supported()
    put(c_ulonglong, out, gpu.nvlinks.links[link].errors[_COUNTERS[counter]])


@function("dup", "nvmlDeviceGetNvLinkRemotePciInfo", "nvmlDeviceGetNvLinkRemotePciInfo_v2")
def _link_remote(_call: Call, gpu: SimulatedGpu, link: int, out: int) -> None:
    link_of(gpu, link)
    spec = gpu.nvlinks.spec
    if spec is None or spec.switch_id is None:
        raise not_supported()
    info = structure(pynvml.nvmlPciInfo_t, out)
    info.domain, info.bus, info.device = 0, 0x80 + link % 4, 0
    info.busId = f"00000000:{info.bus:02X}:00.0".encode()
    info.busIdLegacy = f"0000:{info.bus:02X}:00.0".encode()
    info.pciDeviceId = spec.switch_id


@function("dup", "nvmlDeviceGetNvLinkRemoteDeviceType")
def _link_remote_type(_call: Call, gpu: SimulatedGpu, link: int, out: int) -> None:
    link_of(gpu, link)
    put(c_int, out, _SWITCH)


@function("dup", "nvmlDeviceGetPcieThroughput")
def _pcie_throughput(call: Call, gpu: SimulatedGpu, counter: int, out: int) -> None:
    directions = {
        pynvml.NVML_PCIE_UTIL_TX_BYTES: "sent",
        pynvml.NVML_PCIE_UTIL_RX_BYTES: "received",
    }
    if counter not in directions:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    _, rate = gpu.pcie(directions[counter], call.t)
    put(c_uint, out, round(rate / 1e3))


@function("ddup", "nvmlDeviceGetP2PStatus")
def _p2p(call: Call, gpu: SimulatedGpu, other: int, capability: int, out: int) -> None:
    peer = call.library.gpu(other)
    call.library.reach(peer, "nvmlDeviceGetP2PStatus")
    if capability >= pynvml.NVML_P2P_CAPS_INDEX_UNKNOWN:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    put(c_int, out, _p2p_status(gpu, peer, capability))


def _p2p_status(gpu: SimulatedGpu, peer: SimulatedGpu, capability: int) -> int:
    """Equal GPUs reach one another over NVLink, else over PCIe where their maker lets them."""
    if gpu.model != peer.model:
        return int(pynvml.NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED)
    if all(any(link.up for link in each.nvlinks.links) for each in (gpu, peer)):
        lacks = {pynvml.NVML_P2P_CAPS_INDEX_PCI}
    elif gpu.model.facts.pcie_peers:
        lacks = {pynvml.NVML_P2P_CAPS_INDEX_NVLINK, pynvml.NVML_P2P_CAPS_INDEX_ATOMICS}
    else:
        return int(pynvml.NVML_P2P_STATUS_GPU_NOT_SUPPORTED)
    if capability in lacks:
        return int(pynvml.NVML_P2P_STATUS_NOT_SUPPORTED)
    return int(pynvml.NVML_P2P_STATUS_OK)


@function("dp", "nvmlDeviceGetGpuFabricInfo")
def _fabric(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    _fill_fabric(gpu, structure(pynvml.c_nvmlGpuFabricInfo_t, out))


@function("dp", "nvmlDeviceGetGpuFabricInfoV")
def _fabric_v(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    info = versioned(
        out,
        {
            pynvml.nvmlGpuFabricInfo_v2: pynvml.c_nvmlGpuFabricInfo_v2_t,
            pynvml.nvmlGpuFabricInfo_v3: pynvml.c_nvmlGpuFabricInfo_v3_t,
        },
    )
    _fill_fabric(gpu, info)
    fabric = gpu.model.facts.fabric
    mask = fabric.health if fabric else 0
    degraded = bool(mask) and not all(link.up for link in gpu.nvlinks.links)
    if degraded:
        mask ^= (_BANDWIDTH_FULL ^ _BANDWIDTH_DEGRADED) << _SHIFT_BANDWIDTH
    info.healthMask = mask
    if info.version == pynvml.nvmlGpuFabricInfo_v3:
        info.healthSummary = (_FABRIC_LIMITED if degraded else _FABRIC_HEALTHY) if mask else 0


def _fill_fabric(gpu: SimulatedGpu, info: pynvml.c_nvmlGpuFabricInfo_t) -> None:
    fabric = gpu.model.facts.fabric
    if fabric is None:
        raise not_supported()
    info.clusterUuid[:] = list(uuid.UUID(fabric.cluster).bytes)
    info.status = pynvml.NVML_SUCCESS
    info.cliqueId = fabric.clique
    info.state = pynvml.NVML_GPU_FABRIC_STATE_COMPLETED


@function("dp", "nvmlDeviceGetC2cModeInfoV")
def _c2c_mode(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    if gpu.model.facts.c2c_mode is None:
        raise not_supported()
    structure(pynvml.c_nvmlC2cModeInfo_v1_t, out).isC2cEnabled = int(gpu.model.facts.c2c_mode)
