"""Which GPUs there are."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier

IDENTITY = (
    Metric(
        name="gpu_info",
        kind=Kind.INFO,
        group="identity",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=(
            "gpu",
            "uuid",
            "name",
            "pci_bus_id",
            "serial",
            "vbios_version",
            "architecture",
            "compute_capability",
            "minor_number",
        ),
        help="What describes the GPU; join with on (instance, uuid). Always 1.",
        source="nvmlDeviceGetName, GetPciInfo, GetSerial, GetVbiosVersion, GetArchitecture, "
        "GetCudaComputeCapability, GetMinorNumber",
    ),
    Metric(
        name="gpu_board_info",
        kind=Kind.INFO,
        group="details",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=(
            "gpu",
            "uuid",
            "brand",
            "board_part_number",
            "board_id",
            "module_id",
            "inforom_image_version",
            "inforom_oem_version",
            "inforom_ecc_version",
            "inforom_power_version",
            "gsp_firmware_version",
        ),
        help="Part numbers and firmware of the board; empty where it does not tell. Always 1.",
        source="nvmlDeviceGetBrand, GetBoardPartNumber, GetBoardId, GetModuleId, "
        "GetInforomImageVersion, GetInforomVersion, GetGspFirmwareVersion",
    ),
    Metric(
        name="gpu_driver_info",
        kind=Kind.INFO,
        group="identity",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=("driver_version", "cuda_version", "nvml_version"),
        help="Versions of the driver, of the newest CUDA it runs, and of NVML. Always 1.",
        source="nvmlSystemGetDriverVersion, GetCudaDriverVersion, GetNVMLVersion",
    ),
    Metric(
        name="gpu_devices",
        kind=Kind.GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="GPUs that the driver lists.",
        source="nvmlDeviceGetCount",
    ),
    Metric(
        name="gpu_pci_devices",
        kind=Kind.GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="NVIDIA display devices on the PCI bus, whichever driver has them; virtual functions "
        "(SR-IOV) count with their card.",
        source="/sys/bus/pci/devices",
    ),
    Metric(
        name="gpu_expected_devices",
        kind=Kind.GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="GPUs that should be there: the setting, else the PCI display devices that no "
        "other driver (as for passthrough to a virtual machine) has taken.",
        source="inventory.expected-gpus, /sys/bus/pci/devices",
    ),
    Metric(
        name="gpu_lost",
        kind=Kind.GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=("gpu", "uuid"),
        help="1 while the driver says that the GPU has fallen off the bus, or lists it no more.",
        source="NVML_ERROR_GPU_IS_LOST, nvmlDeviceGetCount",
    ),
)
