"""One simulated GPU: its physics, its counters, and what is wrong with it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.mig import GpuInstance, Mig
from gpu_sentinel.simulator.models import MIB, Model, Point
from gpu_sentinel.simulator.physics import Board, Done, Past, State

_NAMESPACE = uuid.UUID("3f0a1f6e-8d5c-4b52-9b6a-6770752d7369")


def _point(model: Model, state: State) -> Point:
    return model.busy if state.working else model.idle


def _memory_temperature(model: Model, state: State) -> int | None:
    return None if model.idle.memory_celsius is None else round(state.memory_celsius)


def _fan(_model: Model, state: State) -> int:
    # The fans of such boards stand still below some 50 degrees.
    return 0 if state.celsius < 50 else min(round(30 + (state.celsius - 50) * 2), 100)


#: What a board reads, in the driver's units; an event may set these to whatever it likes.
READINGS: Mapping[str, Callable[[Model, State], int | None]] = {
    "utilization": lambda _, s: round(s.utilization * 100),
    "memory_utilization": lambda _, s: round(s.memory_utilization * 100),
    "encoder": lambda _, s: round(s.encoder * 100),
    "decoder": lambda _, s: round(s.decoder * 100),
    "memory_used": lambda _, s: s.memory_bytes,
    "power": lambda _, s: round(s.watts * 1e3),
    "temperature": lambda _, s: round(s.celsius),
    "memory_temperature": _memory_temperature,
    "fan": _fan,
    "sm_clock": lambda _, s: round(s.sm_mhz / 15) * 15,
    "pstate": lambda m, s: _point(m, s).pstate,
    "reasons": lambda m, s: s.reasons & m.reasons,
    "pcie_generation": lambda m, s: _point(m, s).pcie_generation,
    "pcie_width": lambda m, _: m.pcie_width,
}


@dataclass(slots=True)
class Errors:
    """The counters of ECC, row remapper and page retirement."""

    corrected: int = 0
    uncorrected: int = 0
    corrected_before: int = 0  # in the board's life, before the driver was loaded
    uncorrected_before: int = 0
    remapped: dict[str, int] = field(default_factory=lambda: {"correctable": 0, "uncorrectable": 0})
    remap_pending: bool = False
    remap_failure: bool = False
    retired: dict[str, int] = field(default_factory=lambda: {"single_bit": 0, "double_bit": 0})
    retirement_pending: bool = False

    def driver_loaded(self) -> None:
        """What is counted since the driver was loaded begins anew, and what waited is done."""
        self.corrected_before += self.corrected
        self.uncorrected_before += self.uncorrected
        self.corrected = self.uncorrected = 0
        self.remap_pending = self.retirement_pending = False


class SimulatedGpu:
    """A board in a slot; every reading is in the driver's unit.

    Attributes:
        lost: it has fallen off the bus.
        hanging: calls about it do not come back.
        overrides: reading -> value that it gives instead of the true one.
        failing: function -> error code.
        metric_errors: metric of GPM -> error code.
        mig: its MIG instances.
        buffer_fault: what is wrong with the sample buffers; see `samplecalls`.
    """

    def __init__(self, index: int, model: Model, load: Load, seed: int) -> None:
        self.index = index
        self.model = model
        self.board = Board(model, load, f"{seed}/{index}")
        self.uuid = f"GPU-{uuid.uuid5(_NAMESPACE, f'{seed}/{index}/{model.name}')}"
        self.serial = f"16{seed % 1000:03d}{index:08d}" if model.serial else None
        self.bus = 0x08 + index
        self.errors = Errors()
        self.lost = False
        self.hanging = False
        self.overrides: dict[str, int] = {}
        self.failing: dict[str, int] = {}
        self.metric_errors: dict[int, int] = {}
        self.mig = Mig(model, uuid.UUID(self.uuid.removeprefix("GPU-")))
        self.buffer_fault: str | None = None
        self._lock = threading.Lock()

    @property
    def bus_id(self) -> str:
        """As nvmlDeviceGetPciInfo_v3 spells it."""
        return f"00000000:{self.bus:02X}:00.0"

    def state(self, t: float) -> State:
        """What the board is doing at `t`; several threads may ask."""
        with self._lock:
            return self.board.advance(t)

    def past(self) -> tuple[Past, ...]:
        """The last steps, oldest first."""
        with self._lock:
            return tuple(self.board.past)

    def done(self, t: float) -> Done:
        """The work of the board up to `t`."""
        with self._lock:
            self.board.advance(t)
            return self.board.done(t)

    def millijoules(self, t: float) -> int:
        """The energy counter."""
        with self._lock:
            self.board.advance(t)
            return int(self.board.joules(t) * 1e3)

    def reading(self, name: str, t: float) -> int | None:
        """A reading, unless an event has set it; None where the board has none."""
        if name in self.overrides:
            return self.overrides[name]
        if name == "memory_used" and self.mig.enabled:
            return sum(self.instance_memory_used(i, t) for i in self.mig.instances)
        return READINGS[name](self.model, self.state(t))

    def instance_memory_used(self, instance: GpuInstance, t: float) -> int:
        """Bytes in use in a GPU instance."""
        free = (self.model.memory_mib - self.model.reserved_mib) * MIB
        return self.mig.memory_used(instance, self.state(t).memory_bytes / free)

    def memory_total(self) -> int:
        """Bytes."""
        return self.model.memory_mib * MIB

    def margin(self, t: float) -> int:
        """Degrees down to T.Limit 0."""
        return round(self.model.hottest) - (self.reading("temperature", t) or 0)
