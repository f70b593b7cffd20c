"""What the host tells about its GPUs and about this process, beside NVML."""

from gpu_sentinel.host.driver import module_loaded
from gpu_sentinel.host.pci import count_gpus
from gpu_sentinel.host.process import process_facts

__all__ = ["count_gpus", "module_loaded", "process_facts"]
