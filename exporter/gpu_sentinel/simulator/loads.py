"""What simulated GPUs work on: shares of the whole, as functions of the time since it began."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpu_sentinel import durations
from gpu_sentinel.simulator import parsing


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one moment.

    Attributes:
        intensity: how much power busy units take, 1 at most.
        sent, received: over PCIe, as shares of what it can carry.
        exchanged: over NVLink, likewise.
    """

    utilization: float = 0.0
    intensity: float = 1.0
    memory: float = 0.0
    memory_utilization: float = 0.0
    encoder: float = 0.0
    decoder: float = 0.0
    jpeg: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    exchanged: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A kind of work with its numbers.

    Attributes:
        kind: one of `KINDS`.
        utilization: share of the time in which it computes.
        memory: share of the memory that it takes.
        period: seconds after which it repeats itself.
    """

    kind: str = "idle"
    utilization: float = 0.0
    memory: float = 0.0
    period: float = 60.0

    def at(self, t: float, noise: float) -> Work:
        """The work `t` seconds after it began; `noise` is normally distributed around 0."""
        return KINDS[self.kind](self, t, noise)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _idle(load: Load, t: float, noise: float) -> Work:
    del t, noise
    return Work(memory=load.memory)


def _steady(load: Load, t: float, noise: float) -> Work:
    del t
    utilization = _share(load.utilization + 0.01 * noise)
    return Work(
        utilization,
        memory=load.memory,
        memory_utilization=_share(0.5 * utilization),
        sent=0.01 * utilization,
        received=0.02 * utilization,
        exchanged=0.25 * utilization,
    )


def _training(load: Load, t: float, noise: float) -> Work:
    """Loading, then steps of computing and exchanging, with a checkpoint now and then."""
    loading = 4.0
    if t < loading:
        return Work(_share(0.05 + 0.02 * noise), memory=load.memory * t / loading, received=0.4)
    checkpoint = 0.08 * load.period
    if (t - loading) % load.period > load.period - checkpoint:
        return Work(
            _share(0.04 + 0.02 * noise), memory=load.memory, memory_utilization=0.02, sent=0.45
        )
    step = (t - loading) % 1.6 / 1.6
    exchanging = step > 0.85
    utilization = _share(load.utilization + (0.01 if not exchanging else 0.03) * noise)
    return Work(
        utilization,
        intensity=0.55 if exchanging else _share(0.97 + 0.02 * noise),
        # Activations grow through the forward pass and are freed in the backward pass.
        memory=_share(load.memory * (1 - 0.04 * abs(math.cos(math.pi * step)))),
        memory_utilization=_share((0.25 if exchanging else 0.55) + 0.03 * noise),
        sent=0.004,
        received=0.02,
        # Gradients are exchanged at the end of a step, some of them while it still computes.
        exchanged=_share((0.7 if exchanging else 0.1) * load.utilization),
    )


def _inference(load: Load, t: float, noise: float) -> Work:
    """Requests come in waves; some of them are video."""
    wave = 0.5 + 0.5 * math.sin(2 * math.pi * t / load.period)
    utilization = _share(load.utilization * (0.2 + 0.8 * wave) + 0.12 * noise)
    return Work(
        utilization,
        intensity=0.7,
        memory=load.memory,
        memory_utilization=_share(0.6 * utilization),
        decoder=_share(0.3 * wave),
        encoder=_share(0.15 * wave),
        jpeg=_share(0.2 * wave),
        sent=0.02 * wave,
        received=0.06 * wave,
        exchanged=0.1 * utilization,
    )


def _leak(load: Load, t: float, noise: float) -> Work:
    """Memory grows until there is none left; then the process dies and starts again."""
    grown = t % load.period / load.period
    utilization = _share(load.utilization + 0.02 * noise)
    memory = load.memory + (1.0 - load.memory) * grown
    return Work(
        utilization,
        0.8,
        memory=memory,
        memory_utilization=_share(0.4 * utilization),
        received=0.03 * utilization,
    )


KINDS: Mapping[str, Callable[[Load, float, float], Work]] = {
    "idle": _idle,
    "steady": _steady,
    "training": _training,
    "inference": _inference,
    "leak": _leak,
}


def parse(value: object) -> Load:
    """A load of a scenario file."""
    found = parsing.fields(
        value,
        {
            "kind": parsing.choice(*KINDS),
            "utilization": parsing.number(0, 1),
            "memory": parsing.number(0, 1),
            "period": durations.seconds,
        },
        required=("kind",),
    )
    if found.get("period", 1.0) < 1.0:
        raise ValueError("period: is shorter than 1s")
    return Load(**found)
