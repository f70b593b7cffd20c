"""One simulated GPU whose processes a test reads by itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pynvml

from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import CallStats, Driver, Mig
from gpu_sentinel.nvml.processes import Processes
from gpu_sentinel.nvml.processuse import UseSample
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import MODELS

V2, V1 = struct.Struct("<I4xQII"), struct.Struct("<I4xQ")
NO_INSTANCE = 2**32 - 1


class Bench:
    """One GPU with its processes, and a clock that the test moves."""

    def __init__(self, model: str = "h100-sxm", *, lacks: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        board = MODELS[model]
        scenario = replace(
            load_scenario("steady"), gpus=((board, Load()),), driver=board.driver, users=()
        )
        self.simulation = Simulation(scenario, lambda: self.now)
        self.simulation.lack(*lacks)
        self.stats = CallStats()
        self.driver = Driver(self.stats, self.simulation.library)
        self.driver.open()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        self.processes = Processes(handle, self.stats.recorder("processes"))
        self.mig = Mig(DeviceId(0, "x"), self.stats.recorder("mig"))

    def start(self, pid: int, sm: float = 0.0, memory: float = 0.1, **more: object) -> None:
        load = Load("steady" if sm else "idle", sm, memory)
        self.simulation.start_process(0, pid=pid, load=load, **more)

    def at(self, t: float) -> tuple[UseSample, ...]:
        self.now = t
        return self.processes.samples(lambda: self.now)

    def pids(self) -> list[int]:
        return sorted(p.pid for p in self.processes.list())

    @property
    def rejected(self) -> int:
        return sum(self.stats.total().rejected.values())


Make = Callable[..., Bench]
