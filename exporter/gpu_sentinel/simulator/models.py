"""GPU models and drivers: what the real ones answer, as read from them with nvidia-smi -q.

H100 SXM with driver 590.48.01, L40S with 595.80 and RTX 4080 SUPER with 595.71.05 are as
captured from such boards, GB200 as such ones said with 580.173.02; A100, T4 and V100 follow
captures of siblings, data sheets and NVIDIA's forum posts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import pynvml

from gpu_sentinel.simulator import boards
from gpu_sentinel.simulator.littlemodels import LITTLE_MODELS
from gpu_sentinel.simulator.modelspec import MIB, Model, Point

__all__ = ["DRIVERS", "MIB", "MODELS", "DriverVersion", "Model", "Point", "symbols"]

_SHUTDOWN = pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN
_SLOWDOWN = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
_MEM_MAX = pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX
_GPU_MAX = pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX
#: nvidia-smi's target temperature.
_TARGET = pynvml.NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR

MODELS: Mapping[str, Model] = {
    "h100-sxm": Model(
        name="NVIDIA H100 80GB HBM3",
        facts=boards.H100_SXM,
        architecture=pynvml.NVML_DEVICE_ARCH_HOPPER,
        compute_capability=(9, 0),
        pci_device_id=0x233010DE,
        pci_subsystem_id=0x16C110DE,
        vbios="96.00.A5.00.01",
        driver="590.48.01",
        memory_mib=81559,
        reserved_mib=479,
        bar1_mib=131072,
        idle=Point(69.6, 41, 48, 345, 2619, 765, 0, 5),
        busy=Point(629.0, 59, 55, 1980, 2619, 1545, 0, 5),
        max_mhz=(1980, 2619, 1545),
        limits=(200, 700, 700),
        hottest=87,
        t_limits=(-8, -2, 0, 0),
        pcie_generation=5,
        pcie_replays=9,
        remapping=2560,
        mig=True,
        gpm=True,
    ),
    "l40s": Model(
        name="NVIDIA L40S",
        facts=boards.L40S,
        architecture=pynvml.NVML_DEVICE_ARCH_ADA,
        compute_capability=(8, 9),
        pci_device_id=0x26B910DE,
        pci_subsystem_id=0x185110DE,
        vbios="95.02.66.00.02",
        driver="595.80",
        memory_mib=46068,
        reserved_mib=609,
        bar1_mib=65536,
        idle=Point(37.0, 34, None, 210, 405, 1185, 8, 4),
        busy=Point(330.0, 70, None, 2520, 9001, 1965, 0, 4),
        max_mhz=(2520, 9001, 1965),
        limits=(100, 350, 350),
        hottest=88,
        t_limits=(-5, -2, None, 0),
        remapping=192,
    ),
    "rtx-4080-super": Model(
        name="NVIDIA GeForce RTX 4080 SUPER",
        facts=boards.RTX_4080_SUPER,
        architecture=pynvml.NVML_DEVICE_ARCH_ADA,
        compute_capability=(8, 9),
        pci_device_id=0x270210DE,
        pci_subsystem_id=0x51101462,
        vbios="95.03.44.00.B2",
        driver="595.71.05",
        memory_mib=16376,
        reserved_mib=434,
        bar1_mib=16384,
        idle=Point(26.0, 43, None, 210, 405, 1185, 8, 1),
        busy=Point(300.0, 68, None, 2805, 11251, 2145, 2, 4),
        max_mhz=(3165, 11501, 2415),
        limits=(150, 320, 400),
        hottest=90,
        thresholds={_SHUTDOWN: 101, _SLOWDOWN: 96, _GPU_MAX: 90, _TARGET: 84},
        idle_memory_mib=596,
        serial=False,
        fans=2,
        ecc=False,
    ),
    "a100-sxm": Model(
        name="NVIDIA A100-SXM4-80GB",
        facts=boards.A100_SXM,
        architecture=pynvml.NVML_DEVICE_ARCH_AMPERE,
        compute_capability=(8, 0),
        pci_device_id=0x20B210DE,
        pci_subsystem_id=0x147F10DE,
        vbios="92.00.45.00.05",
        driver="590.48.01",
        memory_mib=81920,
        reserved_mib=617,
        bar1_mib=131072,
        idle=Point(62.0, 33, 42, 210, 1593, 585, 0, 4),
        busy=Point(370.0, 62, 71, 1410, 1593, 1275, 0, 4),
        max_mhz=(1410, 1593, 1290),
        limits=(100, 400, 400),
        hottest=85,
        thresholds={_SHUTDOWN: 92, _SLOWDOWN: 89, _GPU_MAX: 85, _MEM_MAX: 95},
        average_power=False,  # as on all GA100 (nvml.h, NVML_FI_DEV_POWER_AVERAGE)
        remapping=640,
        mig=True,
    ),
    "t4": Model(
        name="Tesla T4",
        facts=boards.T4,
        architecture=pynvml.NVML_DEVICE_ARCH_TURING,
        compute_capability=(7, 5),
        pci_device_id=0x1EB810DE,
        pci_subsystem_id=0x12A210DE,
        vbios="90.04.38.00.03",
        driver="450.248.02",
        memory_mib=15109,
        reserved_mib=0,
        bar1_mib=256,
        idle=Point(9.8, 36, None, 300, 405, 540, 8, 1),
        busy=Point(67.0, 71, None, 1350, 5000, 1245, 0, 3),
        max_mhz=(1590, 5001, 1470),
        limits=(60, 70, 70),
        hottest=85,
        thresholds={_SHUTDOWN: 96, _SLOWDOWN: 93, _GPU_MAX: 85},
        reasons=0x1FF,
        pcie_generation=3,
        instant_power=False,
        average_power=False,
        retirement=True,
    ),
    "v100-sxm": Model(
        name="Tesla V100-SXM2-32GB",
        facts=boards.V100_SXM,
        architecture=pynvml.NVML_DEVICE_ARCH_VOLTA,
        compute_capability=(7, 0),
        pci_device_id=0x1DB510DE,
        pci_subsystem_id=0x124910DE,
        vbios="88.00.48.00.02",
        driver="450.248.02",
        memory_mib=32510,
        reserved_mib=0,
        bar1_mib=32768,
        idle=Point(42.0, 35, 33, 135, 877, 555, 0, 3),
        busy=Point(285.0, 62, 60, 1530, 877, 1372, 0, 3),
        max_mhz=(1530, 877, 1372),
        limits=(150, 300, 300),
        hottest=83,
        thresholds={_SHUTDOWN: 90, _SLOWDOWN: 87, _GPU_MAX: 83, _MEM_MAX: 85},
        pcie_generation=3,
        instant_power=False,
        average_power=False,
        retirement=True,
    ),
    "gb200": Model(
        name="NVIDIA GB200",
        facts=boards.GB200,
        gpm=True,
        architecture=pynvml.NVML_DEVICE_ARCH_BLACKWELL,
        compute_capability=(10, 0),
        pci_device_id=0x294110DE,
        pci_subsystem_id=0x204610DE,
        vbios="97.00.B9.00.69",
        driver="595.80",
        memory_mib=189471,
        reserved_mib=742,
        bar1_mib=262144,
        idle=Point(165.9, 27, 27, 120, 3996, 600, 0, 5),
        busy=Point(1080.0, 56, 58, 1965, 3996, 1890, 0, 5),
        max_mhz=(2062, 3996, 1890),
        limits=(200, 1200, 1200),
        hottest=87,
        t_limits=(-5, -2, 0, 0),
        pcie_generation=5,
        pcie_device_generation=6,
        remapping=3968,
        mig=True,
    ),
    **LITTLE_MODELS,
}


@dataclass(frozen=True, slots=True)
class DriverVersion:
    """A driver that can be installed.

    Attributes:
        cuda: as nvmlSystemGetCudaDriverVersion spells it.
        symbols: whose list of the library's functions holds.
        last_field: highest field of nvmlDeviceGetFieldValues that it knows.
        deprecated: functions that it has still, but answers with NVML_ERROR_DEPRECATED.
    """

    version: str
    cuda: int
    nvml: str
    symbols: str
    last_field: int
    deprecated: frozenset[str] = frozenset()


_DEPRECATED = frozenset(
    (
        "nvmlDeviceGetApplicationsClock",
        "nvmlDeviceGetDefaultApplicationsClock",
        "nvmlDeviceGetDisplayMode",
        "nvmlDeviceGetPowerManagementMode",
    )
)

DRIVERS: Mapping[str, DriverVersion] = {
    driver.version: driver
    for driver in (
        DriverVersion("590.48.01", 13010, "13.590.48.01", "r590", 300, _DEPRECATED),
        DriverVersion("595.71.05", 13020, "13.595.71.05", "r590", 302, _DEPRECATED),
        DriverVersion("595.80", 13020, "13.595.80", "r590", 302, _DEPRECATED),
        DriverVersion("450.248.02", 11000, "11.450.248.02", "r450", 160),
    )
}


@lru_cache
def symbols(name: str) -> frozenset[str]:
    """The functions of a driver's library.

    `r590` is as the library's dynamic symbols say, `r450` as the bindings of its time call them.
    """
    text = (resources.files(__package__) / "symbols" / f"{name}.txt").read_text(encoding="ascii")
    return frozenset(text.split())
