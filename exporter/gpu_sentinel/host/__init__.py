"""What the host tells about its GPUs, beside NVML."""

from gpu_sentinel.host.pci import count_gpus

__all__ = ["count_gpus"]
