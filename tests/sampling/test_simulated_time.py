"""What leaves the sampler, against what the simulated board really did."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.pace import IDLE_SECONDS

ENERGY, BUSY = "energy.total", "integral(utilization.gpu)"
OBSERVED = "observed(power.draw.instant)"
FAST = Pace(fast=0.05)


def without_buffers(machine) -> None:
    machine.simulation.fail(0, "nvmlDeviceGetSamples", "NOT_SUPPORTED")


def without_counter(machine) -> None:
    """No counter of energy: what is shown is integrated."""
    for function in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues"):
        machine.simulation.fail(0, function, "NOT_SUPPORTED")


class Truth:
    """What a board did, summed up step by step."""

    def __init__(self, machine) -> None:
        self._gpu = machine.simulation.gpus[0]
        self._step = -1
        self.busy = 0.0
        self.joules = 0.0

    def follow(self, now: float) -> None:
        self._gpu.state(now)
        for past in self._gpu.past():
            if past.step > self._step:
                self._step = past.step
                self.busy += 0.1 * round(past.utilization * 100) / 100
                self.joules += 0.1 * past.watts


@pytest.mark.parametrize("bursts", [15, pytest.param(200, marks=pytest.mark.long)])
def test_each_burst_of_60_ms_is_in_the_maximum(simulated, bursts: int):
    """At random moments, each seen for the minute after it (20 Hz, no buffers)."""
    machine = simulated("steady", FAST, 0)
    without_buffers(machine)
    chance = random.Random(4)
    begin = end = height = 0.0

    def burst(now: float) -> None:
        if begin <= now < end:
            machine.simulation.set(0, "power", round(height * 1e3))
        else:
            machine.simulation.unset(0, "power")

    machine.between = burst
    for trial in range(bursts):
        begin = 61.0 * trial + 1.0 + chance.uniform(0.0, 59.3)
        end, height = begin + 0.06, 1000.0 + trial
        machine.run(end + 0.6)
        assert machine.number("max(power.draw.instant)") == height
        machine.run(61.0 * (trial + 1))
        expected = height if 61.0 * (trial + 1) - end < 59.0 else None
        assert expected is None or machine.number("max(power.draw.instant)") == height


@pytest.mark.parametrize("buffers", [True, False])
def test_integrals_equal_what_the_board_did(simulated, buffers: bool):
    machine = simulated("old-driver", Pace(), 0)
    without_counter(machine)
    if not buffers:
        without_buffers(machine)
    truth = Truth(machine)
    machine.between = truth.follow
    machine.run(5.0)
    first = {key: machine.number(key) for key in (ENERGY, BUSY)}
    joules, busy = truth.joules, truth.busy
    machine.run(305.0)
    assert machine.values()["energy.source.integrated"] == 1.0
    assert machine.number(ENERGY) - first[ENERGY] == pytest.approx(truth.joules - joules, rel=0.01)
    assert machine.number(BUSY) - first[BUSY] == pytest.approx(truth.busy - busy, rel=0.01)


def test_energy_of_the_hardware_is_shown_as_it_is(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(60.0)
    assert machine.values()["energy.source.hardware"] == 1.0
    assert machine.number(ENERGY) == pytest.approx(
        machine.simulation.gpus[0].board.joules(60.0), 1e-6
    )


def test_counter_of_energy_never_falls(simulated):
    """Not when it begins anew with the driver, and not for one reading that is wrong."""
    machine = simulated("steady", Pace(), 0)
    machine.run(30.0)
    before = machine.number(ENERGY)
    board = machine.simulation.gpus[0].board
    board.state.joules -= before  # as after the driver was loaded
    machine.run(32.0)
    assert machine.number(ENERGY) >= before
    machine.run(40.0)
    assert machine.number(ENERGY) - before == pytest.approx(10 * 600, rel=0.15)


FAULTS = ("empty", "backward", "foreign", "garbage")


@pytest.mark.parametrize("fault", [*FAULTS, "repeated"])
def test_broken_buffer_moves_nothing_wrongly(simulated, fault: str):
    machine = simulated("steady", Pace(), 0)
    truth = Truth(machine)
    machine.between = truth.follow
    machine.run(10.0)
    machine.simulation.buffers(0, fault)
    machine.run(60.0)
    machine.simulation.buffers(0, None)
    machine.run(90.0)
    observed = machine.number(OBSERVED)
    # Each change of the source is a gap of some seconds, and no more.
    assert 78.0 < observed <= 90.0
    mean = machine.number("integral(utilization.gpu)") / machine.number("observed(utilization.gpu)")
    assert mean == pytest.approx(truth.busy / 90.0, rel=0.02)
    assert machine.number("max(power.draw.instant)") < 700
    rejected = machine.stats.total().rejected["samples.power.draw.instant"]
    assert bool(rejected) == (fault != "empty")


def test_one_source_at_a_time(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(10.0)
    key = "integral(power.draw.instant)"
    assert OBSERVED in machine.gpu().tiers[Tier.BUFFERS].values
    assert OBSERVED not in machine.gpu().tiers[Tier.FAST].values
    machine.simulation.buffers(0, "empty")
    machine.run(20.0)
    assert OBSERVED in machine.gpu().tiers[Tier.FAST].values
    assert OBSERVED not in machine.gpu().tiers[Tier.BUFFERS].values
    assert key not in machine.values(), "nobody asked for it by itself"


@pytest.mark.parametrize("value", [4_000_000_000, 2**31])
def test_rejected_reading_does_not_poison_a_window(simulated, value: int):
    machine = simulated("steady", Pace(), 0)
    without_buffers(machine)
    machine.run(10.0)
    machine.simulation.set(0, "power", value)
    machine.simulation.set(0, "utilization", value)
    machine.run(12.0)
    assert "power.draw.instant" not in machine.values()
    assert machine.number("max(power.draw.instant)") < 700, "the peak of before is still shown"
    observed = machine.stats.total().rejected
    assert observed["power.draw.instant"] >= 8
    machine.simulation.unset(0, "power")
    machine.simulation.unset(0, "utilization")
    machine.run(20.0)
    assert machine.number("max(power.draw.instant)") < 700
    assert machine.number(OBSERVED) == pytest.approx(20.0 - 2.25, abs=0.5), "a gap, not bridged"


def test_slow_driver_costs_ticks_and_piles_nothing_up(simulated, monkeypatch):
    from gpu_sentinel.simulator.library import Library  # noqa: PLC0415 - of this test alone

    machine = simulated("steady", FAST, 0)
    machine.run(1.0)
    history = machine.samplers[0].known.history
    before = history.overruns
    reach = Library.reach
    calls = [0]  # of each pass

    def slowly(library, gpu, name):
        machine.clock.now += 0.03
        calls[-1] += 1
        reach(library, gpu, name)

    machine.between = lambda _: calls.append(0)

    monkeypatch.setattr(Library, "reach", slowly)
    machine.run(11.0)
    during, passes = history.overruns, history.samples
    monkeypatch.undo()
    # The ticks that a pass costs are counted at its end; the longest one reads all tiers.
    most = 0.03 / 0.05 * max(calls)
    assert during - before + passes == pytest.approx(11.0 / 0.05, abs=most)
    machine.run(21.0)
    assert history.overruns == during
    assert 200 - most <= history.samples - passes <= 206, "none is caught up"


def test_idle_gpu_is_asked_less_often(simulated):
    machine = simulated("steady", Pace(idle=5.0), 0)
    machine.simulation.set(0, "utilization", 0)
    machine.run(IDLE_SECONDS + 5.0)
    assert machine.gpu().interval == 5.0
    before = machine.stats.total().costs["utilization"].calls
    machine.run(IDLE_SECONDS + 105.0)
    assert machine.stats.total().costs["utilization"].calls - before == pytest.approx(20, abs=2)
    assert "power.draw.instant" in machine.values(), "still shown"
    machine.simulation.unset(0, "utilization")
    machine.run(IDLE_SECONDS + 120.0)
    assert machine.gpu().interval == 0.25


def test_stretched_query_is_asked_less_often_and_still_shown(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(10.0)
    machine.governor.factors = {"temperature": 32}
    machine.governor.version += 1
    machine.run(40.0)
    before = machine.stats.total().costs["temperature"].calls
    machine.run(200.0)
    assert machine.stats.total().costs["temperature"].calls - before == 10
    assert "temperature.gpu" in machine.values()
    assert machine.gpu().interval == 0.25, "the others go on"


def test_distribution_adds_up_to_what_was_observed(simulated):
    machine = simulated("training", Pace(distributions=True), 0)
    machine.run(120.0)
    for key in ("utilization.gpu", "power.draw.instant"):
        seconds = machine.values()[f"levels({key})"]
        assert isinstance(seconds, tuple)
        assert len(seconds) == 12
        assert list(seconds) == sorted(seconds)
        assert seconds[-1] == pytest.approx(machine.number(f"observed({key})"))
    machine.pace = Pace()
    machine.run(125.0)
    assert "levels(utilization.gpu)" not in machine.values()


@pytest.mark.parametrize("until", [350.0, pytest.param(1000.0, marks=pytest.mark.long)])
def test_nothing_grows_with_time(simulated, until: float):
    """After the window is full, memory stays what it is."""
    machine = simulated("training", FAST, 0)
    machine.run(200.0)
    tracemalloc.start()
    machine.run(210.0)
    before = traced_in_use()
    machine.run(until)
    after = traced_in_use()
    tracemalloc.stop()
    assert after - before < 100_000


def traced_in_use() -> int:
    """Bytes that are in use: what awaits the garbage collector depends on when it last ran."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_reset_is_told_with_its_time_and_no_reading_is_rejected_for_it(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(10.0)
    assert "reset.time" not in machine.values()
    machine.simulation.gpus[0].reset_energy(10.0)
    machine.samplers[0].look_again()
    machine.run(20.0)
    assert machine.number("reset.time") == pytest.approx(10.25, abs=0.3)
    assert not machine.stats.total().rejected["energy.total"]
    before = machine.number("reset.time")
    machine.run(60.0)
    assert machine.number("reset.time") == before
