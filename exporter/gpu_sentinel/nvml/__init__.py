"""The door to NVML: the only floor that imports pynvml (the simulator stands below it)."""

from gpu_sentinel.nvml.device import Device
from gpu_sentinel.nvml.driver import Driver
from gpu_sentinel.nvml.errors import DriverGoneError, GpuLostError, NvmlError, UnexpectedError
from gpu_sentinel.nvml.library import Loader
from gpu_sentinel.nvml.stats import CallStats, Recorder

__all__ = [
    "CallStats",
    "Device",
    "Driver",
    "DriverGoneError",
    "GpuLostError",
    "Loader",
    "NvmlError",
    "Recorder",
    "UnexpectedError",
]
