"""One simulated GPU: its physics, its counters, and what is wrong with it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping

from gpu_sentinel.simulator.bus import Slot
from gpu_sentinel.simulator.faults import Errors
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.mig import GpuInstance, Mig
from gpu_sentinel.simulator.models import MIB, Model, Point
from gpu_sentinel.simulator.nvlinks import NvLinks
from gpu_sentinel.simulator.oddanswers import OddAnswers
from gpu_sentinel.simulator.physics import Board, Done, Past, State
from gpu_sentinel.simulator.processspec import Holding
from gpu_sentinel.simulator.traffic import Flow, pcie_rate
from gpu_sentinel.simulator.workers import Process, UseSample, Worker

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
    "jpeg": lambda _, s: round(s.jpeg * 100),
    "ofa": lambda _m, _s: 0,
    "encoder_sessions": lambda _, s: 2 if s.encoder > 0.005 else 0,
    "fan": _fan,
    "fan_target": _fan,
    "fan_rpm": lambda m, s: round(m.facts.fan_rpm * _fan(m, s) / 100),
    "sm_clock": lambda _, s: round(s.sm_mhz / 15) * 15,
    "pstate": lambda m, s: _point(m, s).pstate,
    "reasons": lambda m, s: s.reasons & m.reasons,
    "pcie_generation": lambda m, s: _point(m, s).pcie_generation,
    "pcie_width": lambda m, _: m.pcie_width,
}


class SimulatedGpu:
    """A board in a slot; every reading is in the driver's unit.

    Attributes:
        lost: it has fallen off the bus.
        hanging: calls about it do not come back.
        overrides: reading -> value that it gives instead of the true one.
        odd: what it answers instead of what it should; None while it is well.
        slot: what became of it on the PCI bus.
        metric_errors: metric of GPM -> error code.
        mig: its MIG instances.
        buffer_fault: what is wrong with the sample buffers; see `samplecalls`.
        process_fault: what is wrong with what is told of processes; see `processcalls`.
        holdings: who has it, or a part of it, for himself.
        fans: how many answer; fewer than the board has where a test lets some vanish.
        licensed: a virtual GPU has its licence.
    """

    def __init__(self, index: int, model: Model, load: Load, seed: int) -> None:
        self.index = index
        self.model = model
        self.board = Board(model, load, f"{seed}/{index}")
        self.uuid = f"GPU-{uuid.uuid5(_NAMESPACE, f'{seed}/{index}/{model.name}')}"
        self.serial = f"16{seed % 1000:03d}{index:08d}" if model.serial else None
        self.bus = 0x08 + index
        self.errors = Errors()
        self.nvlinks = NvLinks(model.facts.nvlink, self.board.traffic)
        self.fans = model.fans
        self.licensed = model.facts.vgpu
        self.lost = False
        self.hanging = False
        self.overrides: dict[str, int] = {}
        self.odd: OddAnswers | None = None
        self.slot = Slot()
        self.metric_errors: dict[int, int] = {}
        self.mig = Mig(model, uuid.UUID(self.uuid.removeprefix("GPU-")))
        self.buffer_fault: str | None = None
        self.process_fault: str | None = None
        self.holdings: list[Holding] = []
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

    def reset_energy(self, t: float) -> None:
        """Let the energy counter begin again."""
        with self._lock:
            self.board.advance(t)
            self.board.reset()

    def power_average(self, t: float) -> int:
        """Milliwatts, averaged over a second."""
        return round(self.state(t).average_watts * 1e3)

    def memory_power(self, t: float) -> int | None:
        """Milliwatts of the device memory, averaged over a second; None where they are not told."""
        if self.model.facts.memory_watts is None:
            return None
        low, high = self.model.facts.memory_watts
        idle, busy = self.model.idle.watts, self.model.busy.watts
        activity = (self.state(t).average_watts - idle) / (busy - idle)
        return round(max(low + (high - low) * activity, 0.0) * 1e3)

    def pcie(self, direction: str, t: float) -> tuple[int, float]:
        """Bytes `sent` or `received` so far, and bytes per second now."""
        with self._lock:
            self.board.advance(t)
            flow: Flow = getattr(self.board.traffic, direction)
            return int(flow.at(self.board.ahead(t))), flow.rate

    def pcie_replays(self) -> int:
        """PCIe packets that were sent again."""
        return self.model.pcie_replays + self.errors.pcie["replay"]

    def link_bytes(self, links: Iterable[int], t: float) -> list[tuple[int, int]]:
        """What each of these NVLinks has sent and received so far."""
        with self._lock:
            self.board.advance(t)
            ahead = self.board.ahead(t)
            carried = [self.nvlinks.bytes(link, ahead) for link in links]
        return [(int(sent), int(received)) for sent, received in carried]

    def switch_link(self, link: int, t: float, *, up: bool) -> None:
        """Let an NVLink go up or down."""
        with self._lock:
            self.board.advance(t)
            self.nvlinks.switch(link, self.board.ahead(t), up=up)

    def override(self, reading: str, value: int | None) -> None:
        """Give a reading this value instead of the true one; None for the true one again."""
        if value is None:
            self.overrides.pop(reading, None)
        else:
            self.overrides[reading] = value
        best = self.model.pcie_generation, self.model.pcie_width
        now = (
            self.overrides.get("pcie_generation", best[0]),
            self.overrides.get("pcie_width", best[1]),
        )
        self.board.traffic.slowed = min(pcie_rate(*now) / pcie_rate(*best), 1.0)

    def reading(self, name: str, t: float) -> int | None:
        """A reading, unless an event has set it; None where the board has none."""
        if name in self.overrides:
            return self.overrides[name]
        if name == "memory_used" and self.mig.enabled:
            return sum(self.instance_memory_used(i, t) for i in self.mig.instances)
        return READINGS[name](self.model, self.state(t))

    def instance_memory_used(self, instance: GpuInstance, t: float) -> int:
        """Bytes in use in a GPU instance."""
        used = self.mig.memory_used(instance, self.state(t).memory_bytes / self.bytes_of(1.0))
        there = [w for w in self.workers() if w.process.gpu_instance == instance.id]
        held = instance.profile.idle_mib * MIB + sum(self.memory_of(w) for w in there)
        return max(used, min(held, instance.profile.memory_mib * MIB)) if there else used

    @property
    def accounting(self) -> bool:
        """Whether accounting mode is on."""
        return self.model.facts.accounting

    def start_process(self, process: Process, t: float) -> None:
        """Let a process use it."""
        with self._lock:
            self.board.advance(t)
            self.board.workers.start(process, t)

    def end_process(self, pid: int, t: float, *, zombie: bool = False) -> None:
        """Let a process end; a zombie keeps its memory."""
        with self._lock:
            self.board.advance(t)
            self.board.workers.end(pid, zombie=zombie)

    def workers(self) -> tuple[Worker, ...]:
        """The processes that use it."""
        with self._lock:
            return tuple(self.board.workers.here.values())

    def use_samples(self) -> tuple[UseSample, ...]:
        """What the driver has sampled of them, oldest first."""
        with self._lock:
            return tuple(self.board.workers.samples)

    def memory_of(self, worker: Worker) -> int:
        """Bytes that a process holds."""
        instance = worker.process.gpu_instance
        found = self.mig.instance(instance) if instance is not None else None
        if found is not None:
            return int(found.profile.memory_mib * MIB * worker.work.memory)
        return self.bytes_of(worker.work.memory)

    def bytes_of(self, share: float) -> int:
        """A share of the memory that there is for processes."""
        return int((self.model.memory_mib - self.model.reserved_mib) * MIB * share)

    def memory_total(self) -> int:
        """Bytes."""
        return self.model.memory_mib * MIB

    def margin(self, t: float) -> int:
        """Degrees down to T.Limit 0."""
        return round(self.model.hottest) - (self.reading("temperature", t) or 0)
