"""What is soldered onto each model: part numbers, links, cores, and what its firmware says.

H100, L40S and RTX 4080 SUPER are as captured from such boards. GB200 and T4 are as in the outputs
of `nvidia-smi -q -x` that NVIDIA/k8s-test-infra keeps with its tests, A100 as its sibling of 40 GB
there. Data sheets have the cores and V100. That a GB200 has half of the C2C links of a GH200 is
an assumption, and so is the order of the modules on an HGX board after the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pynvml

from gpu_sentinel.catalogue.nvlink import NVLINK_ERRORS, NVLINK_LINK_ERRORS

#: What fields 161 to 163 tell; `crc` is the sum of what the older counters tell apart.
_DL_ERRORS = ("replay", "recovery", "crc")
#: What is counted from NVLink 5 on, under the catalogue's names; only there.
_LINK5_ERRORS = frozenset(NVLINK_LINK_ERRORS) - frozenset(_DL_ERRORS)


@dataclass(frozen=True, slots=True)
class NvLink:
    """NVLinks.

    Attributes:
        version: NVML_NVLINK_VERSION_*.
        mb_per_second: of one link in one direction.
        switch_id: PCI device of the NVSwitch on the board; None where it is elsewhere in the rack.
    """

    links: int
    version: int
    mb_per_second: int
    switch_id: int | None = None

    @property
    def fifth(self) -> bool:
        """NVLink 5 and newer: other counters of errors (nvml.h, NVLINK_COUNT_*)."""
        return self.version >= int(pynvml.NVML_NVLINK_VERSION_5_0)

    @property
    def errors(self) -> frozenset[str]:
        """The errors that are counted."""
        return _LINK5_ERRORS if self.fifth else frozenset(NVLINK_ERRORS)


@dataclass(frozen=True, slots=True)
class Fabric:
    """Membership of an NVLink fabric; `health` is 0 where the driver does not tell it."""

    cluster: str = "00000000-0000-0000-0000-000000000000"
    clique: int = 0
    health: int = 0


@dataclass(frozen=True, slots=True)
class Module:
    """A module of a processor and several GPUs; watts: its limits, and the processor's share."""

    gpus: int
    limits: tuple[float, float, float]  # smallest, default, largest
    processor_watts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What does not change.

    Attributes:
        modules: module number by index of the GPU, again from the start where there are more.
        inforom: versions of image, OEM, ECC and power management object.
        customer_boost, edpp: MHz and percent, where it has them.
        application_clocks: graphics and memory in MHz, as delivered.
        c2c: how many chip-to-chip links, and MB/s of each.
        c2c_mode: whether they are in use; None where the driver does not tell.
        locations: where memory errors are told apart, NVML_MEMORY_LOCATION_* without the prefix.
        sram_status: nvmlDeviceGetSramEccErrorStatus answers.
        unrepairable, repair: the driver tells whether memory is, and whether repairs wait.
        memory_watts: of device memory, idle and busy.
        dram_encryption: whether it is on; None where the driver does not tell, as on all of these.
        vgpu: a virtual GPU in a guest, with its licence.
        slot: chassis serial number, slot, tray, and whether peers are reached through a switch.
    """

    brand: int = pynvml.NVML_BRAND_NVIDIA
    part_number: str | None = None
    modules: tuple[int, ...] = (1,)
    inforom: tuple[str, str, str | None, str | None]
    cores: int
    bus_width: int
    virtualization: int = pynvml.NVML_GPU_VIRTUALIZATION_MODE_NONE
    persistence: bool = True
    accounting: bool = False
    display_active: bool = False
    customer_boost: int | None = None
    application_clocks: tuple[int, int]
    edpp: int | None = None
    nvlink: NvLink | None = None
    c2c: tuple[int, int] | None = None
    c2c_mode: bool | None = None
    fabric: Fabric | None = None
    module: Module | None = None
    memory_watts: tuple[float, float] | None = None
    locations: Mapping[str, tuple[str, ...]]
    sram_status: bool = True
    repair: bool = True
    unrepairable: bool = False
    pcie_peers: bool = True
    wide_pcie_counters: bool = False
    fan_rpm: int = 0
    dram_encryption: bool | None = None
    vgpu: bool = False
    slot: tuple[str, int, int, bool] = ("", 0, 0, False)


_BOTH = ("DRAM", "SRAM")
#: From Turing on; nvml.h, nvmlMemoryLocation_t.
_DRAM_SRAM = {"corrected": _BOTH, "uncorrected": _BOTH}
_VOLTA = ("L1_CACHE", "L2_CACHE", "DRAM", "REGISTER_FILE")
#: Order of the modules on an HGX board; the first is as captured.
_HGX = (7, 8, 5, 6, 3, 4, 1, 2)
_PASSTHROUGH = pynvml.NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH

H100_SXM = Facts(
    part_number="692-2G520-0200-000",
    modules=_HGX,
    inforom=("G520.0200.00.05", "2.1", "7.16", None),
    cores=16896,
    bus_width=5120,
    virtualization=_PASSTHROUGH,
    customer_boost=1980,
    application_clocks=(1980, 2619),
    edpp=100,
    nvlink=NvLink(18, pynvml.NVML_NVLINK_VERSION_4_0, 26562, 0x22A310DE),
    c2c_mode=False,
    fabric=Fabric(),
    memory_watts=(43.19, 85.83),
    locations=_DRAM_SRAM,
    unrepairable=True,
)
L40S = Facts(
    part_number="900-2G133-0080-000",
    inforom=("G133.0242.00.03", "2.1", "6.16", None),
    cores=18176,
    bus_width=384,
    virtualization=_PASSTHROUGH,
    persistence=False,
    accounting=True,
    customer_boost=2520,
    application_clocks=(2520, 9001),
    locations=_DRAM_SRAM,
)
RTX_4080_SUPER = Facts(
    brand=pynvml.NVML_BRAND_GEFORCE,
    inforom=("G002.0000.00.03", "2.0", None, None),
    cores=10240,
    bus_width=256,
    persistence=False,
    display_active=True,
    application_clocks=(2550, 11501),
    locations={},
    sram_status=False,
    pcie_peers=False,
    fan_rpm=3300,
)
A100_SXM = Facts(
    part_number="692-2G506-0210-003",
    modules=_HGX,
    inforom=("G506.0210.00.03", "2.0", "6.16", None),
    cores=6912,
    bus_width=5120,
    virtualization=_PASSTHROUGH,
    customer_boost=1410,
    application_clocks=(1275, 1593),
    nvlink=NvLink(12, pynvml.NVML_NVLINK_VERSION_3_0, 25000, 0x1AF110DE),
    locations=_DRAM_SRAM,
)
T4 = Facts(
    brand=pynvml.NVML_BRAND_TESLA,
    part_number="900-2G183-A800-001",
    inforom=("G183.0200.00.02", "1.1", "5.0", None),
    cores=2560,
    bus_width=256,
    customer_boost=1590,
    application_clocks=(585, 5001),
    locations=_DRAM_SRAM,
    sram_status=False,
    repair=False,
)
V100_SXM = Facts(
    brand=pynvml.NVML_BRAND_TESLA,
    part_number="900-2G503-0010-000",
    inforom=("G503.0204.00.02", "1.1", "5.0", None),
    cores=5120,
    bus_width=4096,
    customer_boost=1530,
    application_clocks=(1290, 877),
    nvlink=NvLink(6, pynvml.NVML_NVLINK_VERSION_2_0, 25781),
    # The CBU has parity only: it finds errors, and corrects none.
    locations={"corrected": _VOLTA, "uncorrected": (*_VOLTA, "CBU")},
    sram_status=False,
    repair=False,
)
GB200 = Facts(
    part_number="900-2G548-A801-000",
    modules=(2, 1, 4, 3),
    inforom=("G548.0201.00.06", "2.1", "7.16", None),
    cores=19456,
    bus_width=8192,
    virtualization=_PASSTHROUGH,
    customer_boost=2062,
    application_clocks=(2062, 3996),
    edpp=100,
    nvlink=NvLink(18, pynvml.NVML_NVLINK_VERSION_5_0, 53125),
    c2c=(5, 44712),
    c2c_mode=True,
    # Each check of the health mask has two bits, and 2 is well; the configuration is not told.
    fabric=Fabric("9c6f5af3-53bf-49b5-a436-b66766c413c3", 2, 0b10101010),
    module=Module(2, (500, 2500, 2500), 135.0),
    memory_watts=(30.26, 118.0),
    locations=_DRAM_SRAM,
    unrepairable=True,
    wide_pcie_counters=True,
    slot=("1820725100044", 14, 4, True),
)
