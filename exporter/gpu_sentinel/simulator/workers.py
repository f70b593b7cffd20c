"""The processes that use a simulated GPU: what each does, and what the driver notes of it."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gpu_sentinel.simulator.loads import Load, Work

#: The driver takes so many samples a second, and keeps so many (open-gpu-kernel-modules,
#: NV2080_CTRL_PERF_GPUMON_SAMPLE_COUNT_PERFMON_UTIL).
SAMPLES_PER_SECOND, KEPT_SAMPLES = 6, 72
#: What shares are told of a process, in the order of nvmlProcessUtilizationInfo_v1_t.
_ENGINES = ("utilization", "memory_utilization", "encoder", "decoder", "jpeg")

#: A process, and the GPU instance and compute instance that it uses.
Place = tuple[int, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as a scenario has it.

    Attributes:
        cgroup: its path in version 2, or all lines of /proc/PID/cgroup.
        load: what it does with the GPU, or with its MIG device.
        types: of contexts: `compute`, `graphics`, `mps`.
        container: as the kubelet's link to its log has it: `POD_NAMESPACE_CONTAINER`.
    """

    pid: int
    name: str = "python3"
    user: str = "root"
    uid: int = 0
    cgroup: str = "/"
    environ: Mapping[str, str] = field(default_factory=dict)
    load: Load = field(default_factory=Load)
    types: tuple[str, ...] = ("compute",)
    gpu_instance: int | None = None
    compute_instance: int | None = None
    container: str = ""

    @property
    def place(self) -> Place:
        """It, and the part of the GPU that it uses."""
        return self.pid, self.gpu_instance, self.compute_instance


@dataclass(slots=True)
class Worker:
    """A process on a GPU.

    Attributes:
        since: when it began, in seconds since the start of the simulation.
        work: what it does at the moment.
        zombie: it has ended, and its memory is still taken.
    """

    process: Process
    since: float
    noise: random.Random
    work: Work
    zombie: bool = False


@dataclass(frozen=True, slots=True)
class UseSample:
    """One sample of the driver: percent of each engine that processes used, at a time."""

    at: float
    used: Mapping[int, tuple[float, ...]]


class Workers:
    """The processes of one GPU.

    Attributes:
        here: by what they use.
        samples: the last ones that the driver took, oldest first.
    """

    def __init__(self, seed: str) -> None:
        self.here: dict[Place, Worker] = {}
        self.samples: deque[UseSample] = deque(maxlen=KEPT_SAMPLES)
        self._places: defaultdict[int, set[Place]] = defaultdict(set)
        self._seed = seed
        self._taken = 0

    def has(self, pid: int) -> bool:
        """Whether a process uses it."""
        return bool(self._places.get(pid))

    def start(self, process: Process, t: float) -> None:
        """It has a context from now on."""
        noise = random.Random(f"{self._seed}/{process.pid}/{t}")  # noqa: S311 - to be repeated
        work = process.load.at(0.0, 0.0)
        self.here[process.place] = Worker(process, t, noise, work)
        self._places[process.pid].add(process.place)

    def end(self, pid: int, *, zombie: bool = False) -> None:
        """It ends; as a zombie, it keeps its memory."""
        for place in tuple(self._places.get(pid, ())):
            worker = self.here[place]
            if zombie:
                worker.zombie = True
                worker.work = Work(memory=worker.work.memory)
            else:
                del self.here[place]
                self._places[pid].discard(place)
        if not self.has(pid):
            self._places.pop(pid, None)

    def step(self, load: Work, t: float) -> Work:
        """Let them work until `t`; returns what the GPU does, which is `load` at least."""
        for worker in self.here.values():
            if not worker.zombie:
                age = max(t - worker.since, 0.0)
                worker.work = worker.process.load.at(age, worker.noise.gauss(0.0, 1.0))
        # What is in a GPU instance is a part of that one's work.
        whole = [w for w in self.here.values() if w.process.gpu_instance is None]
        busy = sum(w.work.utilization for w in whole)
        if busy > 1.0:  # they take turns
            for worker in whole:
                share = worker.work.utilization / busy
                worker.work = replace(worker.work, utilization=share)
        self._sample(whole, t)
        return _joined(load, [w.work for w in whole]) if whole else load

    def _sample(self, workers: Iterable[Worker], t: float) -> None:
        while (at := (self._taken + 1) / SAMPLES_PER_SECOND) <= t + 1e-9:
            self._taken += 1
            used = {}
            for worker in workers:
                shares = tuple(100.0 * getattr(worker.work, engine) for engine in _ENGINES)
                if any(share >= 0.5 for share in shares):
                    used[worker.process.pid] = shares
            self.samples.append(UseSample(at, used))


def _joined(load: Work, works: list[Work]) -> Work:
    """The work of processes together, or that of the load where this is more."""

    def more(name: str) -> float:
        together = sum(getattr(work, name) for work in works)
        return max(float(getattr(load, name)), min(float(together), 1.0))

    busy = sum(work.utilization for work in works)
    intensity = load.intensity
    if busy > load.utilization:
        intensity = sum(work.utilization * work.intensity for work in works) / busy
    return Work(
        more("utilization"),
        intensity,
        *(more(name) for name in ("memory", "memory_utilization", "encoder", "decoder", "jpeg")),
        *(more(name) for name in ("sent", "received", "exchanged")),
    )
