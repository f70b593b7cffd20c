"""Lines of `nvidia-smi -q` that no metric shows."""

from __future__ import annotations

from gpu_sentinel.nvml.omitted.omission import Omission


def _omit(reason: str, *lines: str) -> Omission:
    return Omission(reason, lines)


OMITTED_LINES = (
    _omit(
        "About processes; see above.",
        "Accounting Mode Buffer Size",
        "Processes",
        "Processes / *",
    ),
    _omit("When nvidia-smi was run. Prometheus has a time for every sample.", "Timestamp"),
    _omit(
        "In gpu_info and gpu_board_info in other words, or a part of what is there.",
        "GPU PDI",
        "MultiGPU Board",
        "PCI / Bus",
        "PCI / Device",
        "PCI / Domain",
        "PCI / Device Id",
        "PCI / Sub System Id",
        "PCI / Base Classcode",
        "PCI / Sub Classcode",
    ),
    _omit(
        "Where the board is in its rack, and how the machine is put together.",
        "Platform Info / Chassis Serial Number",
        "Platform Info / Slot Number",
        "Platform Info / Tray Index",
        "Platform Info / Host ID",
        "Platform Info / Peer Type",
        "Platform Info / GPU Fabric GUID",
        "PCI / Bridge Chip / Type",
        "PCI / Bridge Chip / Firmware",
        "PCI / Atomic Caps Outbound",
        "PCI / Atomic Caps Inbound",
        "GPU C2C Mode",
        "Capabilities / EGM",
    ),
    _omit(
        "NVML has no function for it.",
        "GPU Part Number",
        "FRU Part Number",
        "IBMNPU / Relaxed Ordering Mode",
        "Sparse Operation Mode",
        "Deferred Clocks / Memory",
    ),
    _omit(
        "The black box in the board's InfoROM, for NVIDIA's support.",
        "Inforom BBX Object Flush / Latest Timestamp",
        "Inforom BBX Object Flush / Latest Duration",
        "Inforom Time Data / Time Run",
    ),
    _omit(
        "A setting that changes only when somebody changes it, and that has hardly ever been the "
        "cause of anything.",
        "Addressing Mode",
        "Display Attached",
        "Workload Power Profiles / Requested Profiles",
        "Workload Power Profiles / Enforced Profiles",
    ),
    _omit("Deprecated: drivers of today say so in its place.", "Display Mode"),
    _omit("For Windows only.", "Driver Model / Current", "Driver Model / Pending"),
    _omit(
        "For boards of before Pascal, which the drivers of today do not support.",
        "GPU Operation Mode / Current",
        "GPU Operation Mode / Pending",
        "Clock Policy / Auto Boost",
        "Clock Policy / Auto Boost Default",
    ),
    _omit(
        "For the host of virtual GPUs, of which there has been none to check it on.",
        "GPU Virtualization Mode / Host VGPU Mode",
        "GPU Virtualization Mode / vGPU Heterogeneous Mode",
    ),
    _omit(
        "The slot's; gpu_pcie_link_generation_max is what GPU and slot can do together.",
        "PCI / GPU Link Info / PCIe Generation / Host Max",
    ),
    _omit(
        "The link has one generation: gpu_pcie_link_generation.",
        "PCI / GPU Link Info / PCIe Generation / Device Current",
    ),
    _omit(
        "One of two readings of the same power; the other one is exported.",
        "GPU Memory Power Readings / Instantaneous Power Draw",
        "Module Power Readings / Average Power Draw",
    ),
    _omit(
        "Limits of the limit of a module, which is exported: gpu_module_power_limit_watts.",
        "Module Power Readings / Requested Power Limit",
        "Module Power Readings / Default Power Limit",
        "Module Power Readings / Min Power Limit",
        "Module Power Readings / Max Power Limit",
    ),
    _omit(
        "What a GPU may draw before it takes power from the processor beside it; "
        "no GPU has been seen yet that tells it.",
        "GPU Power Readings / GPU Base Power / Current Base Power",
        "GPU Power Readings / GPU Base Power / Requested Base Power",
        "GPU Power Readings / GPU Base Power / Default Base Power",
    ),
    _omit(
        "Stands there where the GPU has nothing of the section; then there are no series either.",
        "Remapped Rows",
    ),
    _omit(
        "The settings of power smoothing, of Blackwell and newer in racks that were set up for it.",
        "Power Smoothing",
    ),
    _omit(
        "What the checks say together; gpu_fabric_healthy has each of them.",
        "Fabric / Health / Summary",
    ),
    _omit(
        "Of drivers from 595 on; no GPU has been seen yet that tells it.",
        "Fabric / Health / Partition Assigned",
    ),
    _omit(
        "A place in a list, which changes with it; `mig_uuid` names an instance.",
        "MIG Device / Index",
    ),
    _omit(
        "Follows from the label `profile` of gpu_mig_info.",
        "MIG Device / Device Attributes / Shared / Copy Engine count",
        "MIG Device / Device Attributes / Shared / Decoder count",
        "MIG Device / Device Attributes / Shared / Encoder count",
        "MIG Device / Device Attributes / Shared / JPG count",
        "MIG Device / Device Attributes / Shared / OFA count",
    ),
    _omit(
        "What is left of a total of which the used part is exported.",
        "MIG Device / Shared BAR1 Memory / Free",
    ),
)
