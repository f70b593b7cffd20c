"""What is said about a simulated GPU model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache

from gpu_sentinel.simulator.boards import Facts

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Point:
    """A working point: power in watts, temperatures in degrees Celsius, clocks in MHz."""

    watts: float
    celsius: float
    memory_celsius: float | None
    sm_mhz: int
    memory_mhz: int
    video_mhz: int
    pstate: int
    pcie_generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One board.

    Attributes:
        idle, busy: without work, and with as much as it can do for long.
        limits: smallest, default and largest power limit in watts.
        hottest: degrees at which the driver's T.Limit is 0.
        t_limits: shutdown, slowdown, memory and GPU maximum, relative to T.Limit 0 (fields 193
            to 196), where the board counts so; None where it has absolute thresholds.
        thresholds: NVML_TEMPERATURE_THRESHOLD_* -> degrees, where it gives these.
        reasons: bits of the clock event reasons that it can give.
        facts: what does not change.
        pcie_device_generation: what the GPU could do in a faster slot.
        instant_power: field 186 answers.
        average_power: field 185 answers, and nvmlDeviceGetPowerUsage is an average over a second.
        remapping: banks of the row remapper's histogram; None without a remapper.
        retirement: retires pages (before Ampere).
        buffers: the driver keeps samples of power and utilisation.
        gpm: has the counters of GPM (Hopper and newer).
        process_memory: how much memory a process holds is told.
        lacks: functions, and fields (NVML_FI_DEV_* without the prefix), that are NOT_SUPPORTED
            although the driver has them; `*` stands for anything.
        fails: function -> the code that it answers on this platform, whatever goes on.
    """

    name: str
    facts: Facts
    architecture: int
    compute_capability: tuple[int, int]
    pci_device_id: int
    pci_subsystem_id: int
    vbios: str
    driver: str
    memory_mib: int
    reserved_mib: int
    bar1_mib: int
    idle: Point
    busy: Point
    max_mhz: tuple[int, int, int]  # SM and graphics, memory, video
    limits: tuple[float, float, float]
    hottest: float
    thresholds: Mapping[int, int] = field(default_factory=dict)
    t_limits: tuple[int, int, int | None, int] | None = None
    reasons: int = 0x1FF
    idle_memory_mib: int = 0
    pcie_generation: int = 4
    pcie_device_generation: int | None = None
    pcie_width: int = 16
    pcie_replays: int = 0
    serial: bool = True
    fans: int = 0
    instant_power: bool = True
    average_power: bool = True
    ecc: bool = True
    remapping: int | None = None
    retirement: bool = False
    mig: bool = False
    buffers: bool = True
    gpm: bool = False
    process_memory: bool = True
    lacks: frozenset[str] = frozenset()
    fails: Mapping[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a function or a field is none of those that it `lacks`."""
        return not self.lacks or not _among(self.lacks, name)


@cache
def _among(patterns: frozenset[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
