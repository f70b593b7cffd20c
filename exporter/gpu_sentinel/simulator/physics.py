"""How a simulated GPU's load, power, heat and clocks move, on a fixed grid of time.

Every step depends on the step before and on the seed alone, so two runs are equal however often
the driver is asked.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import pynvml

from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import MIB, Model
from gpu_sentinel.simulator.traffic import Traffic
from gpu_sentinel.simulator.workers import Workers

#: Seconds of one step.
STEP = 0.1
KEPT_STEPS = 240
#: Power follows the load, and heat the power, with these time constants in seconds.
_POWER_LAG = 0.15
_HEAT_LAG = 12.0
_AVERAGE_SECONDS = 1.0
_COOLEST = 20.0

GPU_IDLE, SW_POWER_CAP, SW_THERMAL, HW_THERMAL = 0x1, 0x4, 0x20, 0x40
HW_SLOWDOWN = 0x8
_SLOWDOWN = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN


@dataclass(slots=True)
class State:
    """What the board is doing; units as in `models.Point`, shares from 0 to 1."""

    watts: float
    average_watts: float
    celsius: float
    memory_celsius: float
    utilization: float = 0.0
    memory_utilization: float = 0.0
    encoder: float = 0.0
    decoder: float = 0.0
    jpeg: float = 0.0
    memory_bytes: int = 0
    sm_mhz: float = 0.0
    working: bool = False
    reasons: int = GPU_IDLE
    joules: float = 0.0
    power_capped_seconds: float = 0.0
    sw_thermal_seconds: float = 0.0
    hw_thermal_seconds: float = 0.0


class Done(NamedTuple):
    """Work since the start, in seconds of the whole board: busy, times intensity, of memory."""

    busy: float = 0.0
    effort: float = 0.0
    memory: float = 0.0


class Past(NamedTuple):
    """What a board did in one step; as in `State`."""

    step: int
    watts: float
    utilization: float
    memory_utilization: float
    encoder: float
    decoder: float
    working: bool


class Board:
    """One GPU's physics.

    Attributes:
        load: what it works on.
        limit: power limit in watts.
        cooling: 1 as designed, less where the air does not flow.
        past: the last `KEPT_STEPS` steps.
        traffic: what goes over its links.
        workers: the processes that use it.
    """

    def __init__(self, model: Model, load: Load, seed: str) -> None:
        self.model = model
        self.load = load
        self.load_since = 0.0
        self.limit = model.limits[1]
        self.cooling = 1.0
        idle, busy = model.idle, model.busy
        self._per_watt = (busy.celsius - idle.celsius) / (busy.watts - idle.watts)
        self._ambient = idle.celsius - self._per_watt * idle.watts
        self._random = random.Random(seed)  # noqa: S311 - noise that can be repeated
        self._steps = 0
        self._done = self._rate = Done()
        self.past: deque[Past] = deque(maxlen=KEPT_STEPS)
        self.traffic = Traffic(model.pcie_generation, model.pcie_width, model.facts.nvlink)
        self.state = State(idle.watts, idle.watts, idle.celsius, idle.memory_celsius or 0.0)
        self.state.sm_mhz = idle.sm_mhz
        self.workers = Workers(seed)

    @property
    def time(self) -> float:
        """Seconds up to which the state is known."""
        return self._steps * STEP

    def advance(self, t: float) -> State:
        """The state at `t` seconds after the start."""
        while self.time + STEP <= t:
            self._steps += 1
            self._step(self.time)
        return self.state

    def ahead(self, t: float) -> float:
        """Seconds since the last step, which goes on until the next."""
        return max(t - self.time, 0.0)

    def joules(self, t: float) -> float:
        """Energy used up to `t`."""
        return self.state.joules + self.state.watts * self.ahead(t)

    def reset(self) -> None:
        """Count energy anew, as after a reset, or with a driver that was loaded anew."""
        self.state.joules = 0.0

    def done(self, t: float) -> Done:
        """Work done up to `t`, that of the last step going on."""
        rest = max(t - self.time, 0.0)
        return Done(*(d + r * rest for d, r in zip(self._done, self._rate, strict=True)))

    def set_load(self, load: Load, t: float) -> None:
        """Work on something else from `t` on."""
        self.load, self.load_since = load, t

    def _step(self, t: float) -> None:
        state, model = self.state, self.model
        # One number a step, whatever the load, so that a change of load changes nothing else.
        noise = self._random.gauss(0.0, 1.0)
        work = self.workers.step(self.load.at(t - self.load_since, noise), t)
        state.working = work.utilization > 0.005
        state.utilization = work.utilization
        state.memory_utilization = work.memory_utilization
        state.encoder, state.decoder, state.jpeg = work.encoder, work.decoder, work.jpeg
        self.traffic.step(work, STEP)
        # What it works on holds until the next step.
        self._done = Done(*(d + r * STEP for d, r in zip(self._done, self._rate, strict=True)))
        self._rate = Done(
            work.utilization, work.utilization * work.intensity, work.memory_utilization
        )
        free = (model.memory_mib - model.reserved_mib) * MIB
        state.memory_bytes = max(int(free * work.memory), model.idle_memory_mib * MIB)
        slowed = self._slowdown()
        wanted = self._wanted_watts(work.utilization * work.intensity, noise) * slowed**2
        capped = wanted > self.limit
        wanted = min(wanted, self.limit)
        # The power of the last step held until now, as `joules` says in between.
        state.joules += state.watts * STEP
        state.watts += (wanted - state.watts) * (1 - math.exp(-STEP / _POWER_LAG))
        state.average_watts += (state.watts - state.average_watts) * STEP / _AVERAGE_SECONDS
        self._heat()
        self._clocks(slowed, capped)
        self.past.append(
            Past(
                self._steps,
                state.watts,
                state.utilization,
                state.memory_utilization,
                state.encoder,
                state.decoder,
                state.working,
            )
        )

    def _wanted_watts(self, activity: float, noise: float) -> float:
        idle, busy = self.model.idle, self.model.busy
        swing = busy.watts - idle.watts
        spread = (0.003 + 0.008 * activity) * busy.watts
        return idle.watts + swing * float(activity**0.9) + noise * spread

    def _heat(self) -> None:
        state, idle, busy = self.state, self.model.idle, self.model.busy
        share = 1 - math.exp(-STEP / _HEAT_LAG)
        rise = self._per_watt * state.watts / self.cooling
        state.celsius += (max(self._ambient + rise, _COOLEST) - state.celsius) * share
        if idle.memory_celsius is not None and busy.memory_celsius is not None:
            activity = (state.watts - idle.watts) / (busy.watts - idle.watts)
            target = idle.memory_celsius + (busy.memory_celsius - idle.memory_celsius) * activity
            target += max(state.celsius - busy.celsius, 0.0)
            state.memory_celsius += (target - state.memory_celsius) * share

    def _slowdown(self) -> float:
        """By how much heat slows the clocks down: 1 not at all."""
        over = self.state.celsius - self.model.hottest
        if over <= 0:
            return 1.0
        return 0.5 if over >= self.slowdown_over else 1.0 - 0.02 * over

    @property
    def slowdown_over(self) -> float:
        """Degrees above `hottest` at which the hardware slows itself down."""
        model = self.model
        if model.t_limits is not None:
            return -float(model.t_limits[1])
        # A board that tells no threshold has one all the same.
        return model.thresholds.get(_SLOWDOWN, model.hottest + 3) - model.hottest

    def _clocks(self, slowed: float, capped: bool) -> None:
        state, model = self.state, self.model
        full = model.busy.sm_mhz if state.working else model.idle.sm_mhz
        state.sm_mhz = full * slowed * ((self.limit / model.busy.watts) ** 0.3 if capped else 1.0)
        state.sm_mhz = min(state.sm_mhz, model.max_mhz[0])
        state.reasons = 0 if state.working else GPU_IDLE
        if capped:
            state.reasons |= SW_POWER_CAP
            state.power_capped_seconds += STEP
        if slowed > 0.5:
            if slowed < 1.0:
                state.sw_thermal_seconds += STEP
                state.reasons |= SW_THERMAL
        else:
            state.hw_thermal_seconds += STEP
            state.reasons |= HW_THERMAL | HW_SLOWDOWN
