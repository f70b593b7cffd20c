"""What the host tells about its GPUs and about this process, beside NVML."""

from gpu_sentinel.host.driver import module_loaded
from gpu_sentinel.host.kernelevents import KernelEvent
from gpu_sentinel.host.kernellog import KernelLog, is_plain_file
from gpu_sentinel.host.kmsg import bus_address, pci_address
from gpu_sentinel.host.pci import PciGpu, list_gpus
from gpu_sentinel.host.process import process_facts
from gpu_sentinel.host.records import Records, Report

__all__ = [
    "KernelEvent",
    "KernelLog",
    "PciGpu",
    "Records",
    "Report",
    "bus_address",
    "is_plain_file",
    "list_gpus",
    "module_loaded",
    "pci_address",
    "process_facts",
]
