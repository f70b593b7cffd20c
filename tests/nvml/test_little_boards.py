"""What boards that tell little have: what public outputs of real ones show, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats, Driver
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.simulator import Simulation, load_scenario

#: Of every board: how it is set up, and what it reaches.
_ALWAYS = ["persistence_mode", "compute_mode", "confidential_compute", "cuda_cores", "p2p."]
_CODING = ["utilization.encoder", "utilization.decoder", "encoder.stats.", "fbc.stats."]
_UTILIZATION = ["utilization.gpu", "utilization.memory"]
_WORKING = [*_UTILIZATION, *_CODING, "clocks.current.", "pstate"]
_SLOWED = ["clocks_event_reasons.", "violation.", "slowdown."]
_DESK = ["display_active", "accounting.mode", "virtualization_mode"]

#: Start of each key that a board has.
PRESENT = {
    "vgpu-guest": [
        *(*_ALWAYS, *_WORKING, *_DESK),
        *("memory.", "bar1.", "protected_memory.", "ecc.mode.", "mig.mode.", "vgpu.license"),
        *("ecc.errors.corrected.", "ecc.errors.uncorrected."),
    ],
    "wsl2": [
        *(*_ALWAYS, *_WORKING, *_SLOWED, *_DESK),
        *("utilization.jpeg", "utilization.ofa", "memory.", "bar1.", "fan.", "pcie.", "power."),
        *("energy.total", "temperature.gpu", "temperature.margin", "temperature.threshold."),
        "clocks.max.",
    ],
    "gb10": [
        *(*_ALWAYS, *_WORKING, *_SLOWED, *_DESK),
        *("utilization.jpeg", "utilization.ofa", "pcie.link.", "power.draw.instant"),
        *("energy.total", "temperature.gpu", "clocks.max."),
    ],
    "jetson-thor": [*_ALWAYS, *_UTILIZATION, "mig.mode."],
}
#: Which of those families it has not.
ABSENT = {
    "vgpu-guest": [".sram", ".l1_cache", ".l2_cache", ".register_file", ".texture", ".cbu"],
    "wsl2": ["memory.reserved", "memory.power", "pcie.tx", "pcie.rx", "power.draw.average"],
    "gb10": [],
    "jetson-thor": [],
}
#: Calls that answer an error for ever, as on the real ones.
ERRORS = {"wsl2": {("memory", "unknown")}}


@pytest.fixture(params=PRESENT)
def board(request: pytest.FixtureRequest) -> Iterator[tuple[str, set[str], CallStats]]:
    """A board by name, what it has, and what was counted."""
    times = iter([0.0])
    simulation = Simulation(load_scenario(request.param), lambda: next(times, 60.0))
    stats = CallStats()
    driver = Driver(stats, simulation.library)
    driver.open()
    device = driver.device(0)
    device.probe()
    yield request.param, {key for tier in Tier for key in device.read(tier)}, stats
    nvml_library.detach()


def test_a_board_has_what_public_outputs_show(board):
    name, have, stats = board
    starts = PRESENT[name]
    assert not [key for key in have if not key.startswith(tuple(starts))]
    assert not [start for start in starts if not any(key.startswith(start) for key in have)]
    assert not [key for key in have for part in ABSENT[name] if part in key]
    assert set(stats.total().errors) == ERRORS.get(name, set())
    assert not stats.total().rejected
