"""Simulated machines below pynvml, whose time is the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pynvml
import pytest
from asking import Clock

from gpu_sentinel.nvml import library
from gpu_sentinel.simulator import Scenario, Simulation, load_scenario
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import MODELS, Model

TRAINING = Load("training", 0.95, 0.8)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(clock: Clock) -> Iterator[Callable[[Scenario], Simulation]]:
    def start(scenario: Scenario) -> Simulation:
        library.detach()  # pynvml keeps the functions of an earlier one
        simulation = Simulation(scenario, clock)
        library.attach(simulation.library)
        pynvml.nvmlInit()
        return simulation

    yield start
    library.detach()


@pytest.fixture
def simulate(run) -> Callable[[str], Simulation]:
    """Runs a scenario of this name."""
    return lambda name: run(load_scenario(name))


@pytest.fixture
def machine(run) -> Callable[..., Simulation]:
    """Runs GPUs of these models (or names of models), with the driver of the first."""

    def start(*models: str | Model, load: Load = TRAINING, driver: str | None = None) -> Simulation:
        gpus = [MODELS[model] if isinstance(model, str) else model for model in models]
        version = driver or gpus[0].driver
        return run(Scenario("test", "", tuple((gpu, load) for gpu in gpus), version))

    return start
