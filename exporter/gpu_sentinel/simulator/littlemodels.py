"""GPU models that tell little, each with the reason why: a part, a guest, another system.

`vgpu-guest` is as `nvidia-smi -q` of an RTXA6000-24Q said in a virtual machine, with driver
535.183.06. `wsl2` is an RTX 2080 SUPER as `nvidia-smi -q` said below Windows with driver 610.62;
that memory cannot be read by the newer function, which answers "unknown error", is what users of
WSL 2 report (XuehaiPan/nvitop#30, gpuopenanalytics/pynvml#42), and that persistence is on and there
is no minor number, too (NVIDIA/nvidia-container-toolkit#289). `gb10` is a DGX Spark as `nvidia-smi`
and DCGM say with drivers 580.126 to 580.173: memory is the processor's, limits of power are not
told, the link is Gen 1 x1 (Syllo/nvtop#426, lablup/all-smi#80). `jetson-thor` is as `nvidia-smi` of
a developer kit says with driver 580.00; NVIDIA's manual of nvidia-smi names clocks, power and
temperatures as what it does not support there. What none of these outputs shows is left out.
How hot and how fast they get when they work, and the clocks of the GB10's memory and video engines,
are assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping

import pynvml

from gpu_sentinel.simulator.boards import Facts
from gpu_sentinel.simulator.modelspec import Model, Point

#: Where there is no link of PCIe, or none that is told.
_NO_PCIE = ("*PcieLink*", "nvmlDeviceGetPcie*", "PCIE_*")
_NO_INFOROM = ("nvmlDeviceGetInforom*", "nvmlDeviceGetModuleId", "nvmlDeviceGetGspFirmware*")
_NO_LIMITS = (
    "nvmlDeviceGetPowerManagement*",
    "nvmlDeviceGetEnforcedPowerLimit",
    "POWER_*_LIMIT",
)
_NO_POWER = (
    *_NO_LIMITS,
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTotalEnergyConsumption",
    "POWER_*",
    "*ENERGY*",
)
_NO_HEAT = ("nvmlDeviceGetTemperature*", "nvmlDeviceGetMarginTemperature", "MEMORY_TEMP")
#: Nothing is told of what slows it down, now or so far.
_NO_EVENTS = ("*ClocksEventReasons", "*ClocksThrottleReasons", "PERF_POLICY_*", "CLOCKS_EVENT_*")
_NO_MEMORY = ("nvmlDeviceGetMemoryInfo*", "nvmlDeviceGetBAR1MemoryInfo", "*ProtectedMemory*")
_NO_REPAIR = ("nvmlDeviceGetRepairStatus", "GET_GPU_RECOVERY_ACTION", "EDPP_MULTIPLIER")

_VGPU_GUEST = Model(
    name="NVIDIA RTXA6000-24Q",
    facts=Facts(
        brand=pynvml.NVML_BRAND_NVIDIA_VWS,
        inforom=("", "", None, None),
        cores=10752,
        bus_width=384,
        persistence=False,
        application_clocks=(0, 0),
        locations={"corrected": ("DRAM",), "uncorrected": ("DRAM",)},
        sram_status=False,
        repair=False,
        pcie_peers=False,
        vgpu=True,
    ),
    architecture=pynvml.NVML_DEVICE_ARCH_AMPERE,
    compute_capability=(8, 6),
    pci_device_id=0x223010DE,
    pci_subsystem_id=0x150410DE,
    vbios="00.00.00.00.00",
    driver="590.48.01",
    memory_mib=24576,
    reserved_mib=2134,
    bar1_mib=256,
    idle=Point(25.0, 30, None, 210, 405, 555, 8, 4),
    busy=Point(200.0, 65, None, 1800, 8001, 1590, 2, 4),
    max_mhz=(2100, 8001, 1950),
    limits=(100, 300, 300),
    hottest=90,
    idle_memory_mib=47,
    serial=False,
    instant_power=False,
    average_power=False,
    mig=True,
    buffers=False,
    lacks=frozenset(
        (
            *(*_NO_PCIE, *_NO_INFOROM, *_NO_POWER, *_NO_HEAT, *_NO_EVENTS, *_NO_REPAIR),
            *("nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetBoardPartNumber"),
            *("nvmlDeviceGetJpgUtilization", "nvmlDeviceGetOfaUtilization"),
        )
    ),
)
_WSL2 = Model(
    name="NVIDIA GeForce RTX 2080 SUPER",
    facts=Facts(
        brand=pynvml.NVML_BRAND_GEFORCE,
        inforom=("G001.0000.02.04", "1.1", None, None),
        cores=3072,
        bus_width=256,
        display_active=True,
        application_clocks=(0, 0),
        locations={},
        sram_status=False,
        repair=False,
        pcie_peers=False,
        fan_rpm=2200,
    ),
    architecture=pynvml.NVML_DEVICE_ARCH_TURING,
    compute_capability=(7, 5),
    pci_device_id=0x1E8110DE,
    pci_subsystem_id=0x40051458,
    vbios="90.04.7a.40.73",
    driver="595.71.05",
    memory_mib=8192,
    reserved_mib=205,
    bar1_mib=256,
    idle=Point(38.9, 33, None, 300, 405, 540, 8, 3),
    busy=Point(235.0, 70, None, 1860, 7751, 1725, 2, 3),
    max_mhz=(2145, 7751, 1995),
    limits=(105, 250, 350),
    hottest=89,
    thresholds={
        pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN: 100,
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: 97,
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX: 89,
        pynvml.NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR: 84,
    },
    idle_memory_mib=797,
    pcie_generation=3,
    serial=False,
    fans=1,
    average_power=False,
    ecc=False,
    process_memory=False,  # as under WDDM (nvml.h, nvmlProcessInfo_v2_t)
    lacks=frozenset(
        (
            *("nvmlDeviceGetMinorNumber", "nvmlDeviceGetGspFirmware*", "*ProtectedMemory*"),
            *("GET_GPU_RECOVERY_ACTION", "EDPP_MULTIPLIER"),
        )
    ),
    fails={
        "nvmlDeviceGetMemoryInfo_v2": pynvml.NVML_ERROR_UNKNOWN,
    },
)
_GB10 = Model(
    name="NVIDIA GB10",
    facts=Facts(
        inforom=("", "", None, None),
        cores=6144,
        bus_width=256,
        application_clocks=(0, 0),
        locations={},
        sram_status=False,
        repair=False,
        pcie_peers=False,
    ),
    architecture=pynvml.NVML_DEVICE_ARCH_BLACKWELL,
    compute_capability=(12, 1),
    pci_device_id=0x2E1210DE,
    pci_subsystem_id=0x000010DE,
    vbios="",
    driver="590.48.01",
    memory_mib=122570,
    reserved_mib=0,
    bar1_mib=0,
    idle=Point(4.0, 36, None, 208, 405, 600, 8, 1),
    busy=Point(80.0, 75, None, 2411, 8533, 2000, 0, 1),
    max_mhz=(3003, 8533, 2000),
    limits=(5, 100, 100),
    hottest=90,
    pcie_generation=1,
    pcie_width=1,
    serial=False,
    average_power=False,
    ecc=False,
    buffers=False,
    lacks=frozenset(
        (
            *(*_NO_MEMORY, *_NO_LIMITS, *_NO_INFOROM, *_NO_REPAIR, "PCIE_*", "nvmlDeviceGetPcie*"),
            *("nvmlDeviceGetVbiosVersion", "nvmlDeviceGetMemoryBusWidth"),
        )
    ),
)
_JETSON_THOR = Model(
    name="NVIDIA Thor",
    facts=Facts(
        inforom=("", "", None, None),
        cores=2560,
        bus_width=256,
        persistence=False,
        application_clocks=(0, 0),
        locations={},
        sram_status=False,
        repair=False,
        pcie_peers=False,
    ),
    architecture=pynvml.NVML_DEVICE_ARCH_BLACKWELL,
    compute_capability=(11, 0),
    pci_device_id=0x2B0010DE,
    pci_subsystem_id=0x000010DE,
    vbios="",
    driver="590.48.01",
    memory_mib=125772,
    reserved_mib=0,
    bar1_mib=0,
    idle=Point(5.0, 34, None, 315, 4266, 600, 0, 1),
    busy=Point(60.0, 65, None, 1575, 4266, 1000, 0, 1),
    max_mhz=(1575, 4266, 1000),
    limits=(5, 130, 130),
    hottest=90,
    serial=False,
    instant_power=False,
    average_power=False,
    ecc=False,
    mig=True,
    buffers=False,
    lacks=frozenset(
        (
            *(*_NO_MEMORY, *_NO_POWER, *_NO_INFOROM, *_NO_REPAIR, *_NO_PCIE, *_NO_HEAT),
            *(*_NO_EVENTS, "nvmlDeviceGetPerformanceState", "nvmlDeviceGetPowerState"),
            *("nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetDisplay*"),
            *("nvmlDeviceGet*coderUtilization", "nvmlDeviceGetJpgUtilization"),
            *("nvmlDeviceGetOfaUtilization", "nvmlDeviceGetEncoderStats", "nvmlDeviceGetFBCStats"),
            *("nvmlDeviceGetVbiosVersion", "nvmlDeviceGetMemoryBusWidth"),
            *("nvmlDeviceGetAccounting*", "nvmlDeviceGetVirtualizationMode"),
        )
    ),
)

LITTLE_MODELS: Mapping[str, Model] = {
    "vgpu-guest": _VGPU_GUEST,
    "wsl2": _WSL2,
    "gb10": _GB10,
    "jetson-thor": _JETSON_THOR,
}
