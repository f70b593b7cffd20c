"""Who a GPU is: what describes it, and does not change while it is there."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable, Mapping

import pynvml

from gpu_sentinel.nvml.raw import Handle


def _names(prefix: str) -> Mapping[int, str]:
    """The names of nvml.h's constants that begin so, by number."""
    return {
        getattr(pynvml, name): name.removeprefix(prefix)
        for name in dir(pynvml)
        if name.startswith(prefix) and not name.endswith(("UNKNOWN", "COUNT"))
    }


# A number that is not here is shown as it is.
_ARCHITECTURES = _names("NVML_DEVICE_ARCH_")
_BRANDS = _names("NVML_BRAND_")


def _architecture(handle: Handle) -> str:
    number = pynvml.nvmlDeviceGetArchitecture(handle)
    return _ARCHITECTURES.get(number, str(number)).capitalize()


def _brand(handle: Handle) -> str:
    number = pynvml.nvmlDeviceGetBrand(handle)
    return _BRANDS.get(number, str(number)).replace("_", " ")


def _compute_capability(handle: Handle) -> str:
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return f"{major}.{minor}"


def text(get: Callable[..., object], *arguments: object) -> Callable[[Handle], str]:
    """A function of pynvml that answers a text, whatever bytes the driver puts into it."""
    # pynvml decodes strictly; what it wraps gives the bytes.
    as_bytes = getattr(get, "__wrapped__", get)

    def read(handle: Handle) -> str:
        answer = as_bytes(handle, *arguments)
        if not isinstance(answer, bytes):
            return str(answer)
        decoded = answer.decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in decoded)

    return read


def _inforom(which: int) -> Callable[[Handle], str]:
    return text(pynvml.nvmlDeviceGetInforomVersion, which)


def uuid_of(handle: Handle) -> str:
    """The UUID as the driver tells it.

    Raises:
        pynvml.NVMLError: it does not.
    """
    return text(pynvml.nvmlDeviceGetUUID)(handle).strip()


def address_of(handle: Handle) -> str:
    """The address on the PCI bus, as NVML writes it (`00000000:99:00.0`).

    Raises:
        pynvml.NVMLError: it is not told, as in some virtual machines.
    """
    return str(pynvml.nvmlDeviceGetPciInfo(handle).busId)


def fabric(handle: Handle) -> pynvml.c_nvmlGpuFabricInfoV_t:
    """What the GPU knows of its NVLink fabric.

    Raises:
        pynvml.NVMLError: it has none, or the driver does not tell.
    """
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    info.version = pynvml.nvmlGpuFabricInfo_v2
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    if info.state == pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return info


#: Label -> what reads it.
IDENTITY: Mapping[str, Callable[[Handle], str]] = {
    "name": text(pynvml.nvmlDeviceGetName),
    "pci_bus_id": address_of,
    "serial": text(pynvml.nvmlDeviceGetSerial),
    "vbios_version": text(pynvml.nvmlDeviceGetVbiosVersion),
    "architecture": _architecture,
    "compute_capability": _compute_capability,
    "minor_number": lambda h: str(pynvml.nvmlDeviceGetMinorNumber(h)),
    "brand": _brand,
    "board_part_number": text(pynvml.nvmlDeviceGetBoardPartNumber),
    "board_id": lambda h: f"{pynvml.nvmlDeviceGetBoardId(h):#x}",
    "module_id": lambda h: str(pynvml.nvmlDeviceGetModuleId(h)),
    "inforom_image_version": text(pynvml.nvmlDeviceGetInforomImageVersion),
    "inforom_oem_version": _inforom(pynvml.NVML_INFOROM_OEM),
    "inforom_ecc_version": _inforom(pynvml.NVML_INFOROM_ECC),
    "inforom_power_version": _inforom(pynvml.NVML_INFOROM_POWER),
    "gsp_firmware_version": text(pynvml.nvmlDeviceGetGspFirmwareVersion),
    "fabric_cluster_uuid": lambda h: str(uuid.UUID(bytes=bytes(fabric(h).clusterUuid))),
    "fabric_clique": lambda h: str(fabric(h).cliqueId),
}
