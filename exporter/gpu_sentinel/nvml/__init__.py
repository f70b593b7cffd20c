"""NVML: nothing else imports pynvml, but the simulator, which stands below it."""

from gpu_sentinel.nvml.device import Device
from gpu_sentinel.nvml.driver import Driver
from gpu_sentinel.nvml.errors import (
    DriverGoneError,
    GpuLostError,
    NvmlError,
    UnexpectedError,
    worst,
)
from gpu_sentinel.nvml.events import EventSet
from gpu_sentinel.nvml.gpm import Profile, Profiler
from gpu_sentinel.nvml.library import Loader
from gpu_sentinel.nvml.mig import MIG_DEVICE_KEYS, MIG_INSTANCE_KEYS, Mig, MigDevice, MigReader
from gpu_sentinel.nvml.probing import Bound
from gpu_sentinel.nvml.processes import Processes
from gpu_sentinel.nvml.processlist import GpuProcess
from gpu_sentinel.nvml.processuse import UseSample
from gpu_sentinel.nvml.raw import FieldBuffer, SharedFields
from gpu_sentinel.nvml.rings import RINGS, Batch, Ring
from gpu_sentinel.nvml.stats import CallStats, Cost, Recorder

__all__ = [
    "MIG_DEVICE_KEYS",
    "MIG_INSTANCE_KEYS",
    "RINGS",
    "Batch",
    "Bound",
    "CallStats",
    "Cost",
    "Device",
    "Driver",
    "DriverGoneError",
    "EventSet",
    "FieldBuffer",
    "GpuLostError",
    "GpuProcess",
    "Loader",
    "Mig",
    "MigDevice",
    "MigReader",
    "NvmlError",
    "Processes",
    "Profile",
    "Profiler",
    "Recorder",
    "Ring",
    "SharedFields",
    "UnexpectedError",
    "UseSample",
    "worst",
]
