"""A host with sick GPUs, in simulated time: what a scrape shows of it, and what it was asked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from critical import asked_by_critical

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.exposition import DeviceRenderer
from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.nvml.gpm import GPM_KEYS
from gpu_sentinel.nvml.probing import GPM
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.sampling import Pace
from gpu_sentinel.simulator.oddanswers import OddAnswers
from simulatedhost import SimulatedHost

#: A pass costs real time, and what is asserted here does not need four in a second.
PACE = Pace(fast=5.0, slow=30.0, buffers=10.0, profiling=30.0)

Page = dict[str, str]
#: The asked query and the moment of each call of a function, by GPU and function.
Asked = dict[tuple[int, str], set[tuple[str, float]]]


class Ear(OddAnswers):
    """Answers as it is told, and notes what it was asked.

    Attributes:
        gpu: the index of the GPU; -1 for the driver as a whole.
    """

    def __init__(self, host: SimulatedHost, gpu: int, asked: Asked) -> None:
        super().__init__()
        self._host, self._gpu, self._asked = host, gpu, asked

    def __bool__(self) -> bool:
        """Never thrown away."""
        return True

    def code(self, function: str | int) -> int:
        if isinstance(function, str):
            self._asked[self._gpu, function].add((self._host.query(), self._host.clock.now))
        return super().code(function)


class SickHost(SimulatedHost):
    """A host whose GPUs and driver have an `Ear`."""

    def __init__(self, board: str, gpus: int, folder: Path) -> None:
        super().__init__(str(scenario(board, gpus, folder)), PACE)
        names = asked_by_critical()
        self._few = DeviceRenderer(tuple(m for m in METRICS if m.name in names))
        self.asked: Asked = defaultdict(set)
        self.simulation.odd = Ear(self, -1, self.asked)
        for gpu in self.simulation.gpus:
            gpu.odd = Ear(self, gpu.index, self.asked)

    def ask_again(self) -> None:
        """As the inventory does it after the machine was suspended."""
        if self._watched is not None:
            self._watched.ask_again()

    def query(self) -> str:
        """What a sampler asks for now; empty outside of them."""
        return next((s.asked for s in self._samplers if getattr(s, "inside", False)), "")

    def page(self, *, critical: bool = False) -> Page:
        """The series of a scrape with their values; only those that critical alerts ask for."""
        if not critical:
            return parsed(self.body())
        now, snapshot = self.clock.now, self.store.current
        device, _ = self._few.render(snapshot, now, TEXT)
        return parsed(device + self._own.render(snapshot, now, TEXT))


def parsed(body: str) -> Page:
    """The series of a body with their values."""
    lines = (line.rpartition(" ") for line in body.splitlines() if not line.startswith("#"))
    return {series: value for series, _, value in lines}


def scenario(board: str, gpus: int, folder: Path) -> Path:
    """Boards of a kind that compute without a pause."""
    path = folder / f"{board}-{gpus}.yml"
    if not path.exists():
        load = "{kind: steady, utilization: 0.9, memory: 0.6}"
        path.write_text(
            f"description: boards\ngpus:\n- {{model: {board}, count: {gpus}, load: {load}}}\n"
        )
    return path


_GPU = re.compile(r'[{,]gpu="([^"]*)"')


def of_gpu(page: Page, gpu: str) -> Page:
    """The part of a page that is about a GPU."""
    return {
        series: value
        for series, value in page.items()
        if (found := _GPU.search(series)) and found[1] == gpu
    }


def value(page: Page, name: str, *labels: str) -> float | None:
    """The one value of a metric that has these labels (as `gpu="0"`); None where there is none."""
    found = [
        number
        for series, number in page.items()
        if series.partition("{")[0] == name and all(label in series for label in labels)
    ]
    assert len(found) <= 1, (name, labels, found)
    return float(found[0]) if found else None


@contextmanager
def running(board: str, gpus: int, folder: Path) -> Iterator[SickHost]:
    """A host whose exporter is stopped at the end."""
    host = SickHost(board, gpus, folder)
    try:
        yield host
    finally:
        host.stop_exporter()


@cache
def _metrics() -> dict[str, frozenset[str]]:
    return {m.name: frozenset({*m.series.values(), *m.needs}) for m in METRICS}


def keys_of_metric(name: str) -> frozenset[str]:
    """The readings from which a metric is made."""
    return _metrics().get(name, frozenset())


def keys_of_queries(names: set[str]) -> set[str]:
    """The readings that these queries answer."""
    found = {key for query in QUERIES if query.name in names for key in query.keys}
    found |= {name.removeprefix("samples.") for name in names if name.startswith("samples.")}
    return found | (set(GPM_KEYS) if GPM in names else set())
